#include <fiber/aiofiles/path.hpp>

#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/with.hpp>

#include <algorithm>
#include <cerrno>
#include <ostream>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::aiofiles {
namespace {

// The number of slashes before the first part: POSIX gives exactly two a meaning of their own.
std::size_t root_of(std::string_view text) {
  const std::size_t slashes = std::min(text.find_first_not_of('/'), text.size());
  return slashes > 2 ? 1 : slashes;
}

// Where the suffix of a name begins; its size for none.
std::size_t suffix_at(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == name.npos || dot == 0 || dot + 1 == name.size() ? name.size() : dot;
}

}  // namespace

namespace detail {

std::string pure_path(std::string_view text) {
  std::string pure(root_of(text), '/');
  const std::size_t root = pure.size();
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('/'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty() || part == ".") continue;
    if (pure.size() > root) pure += '/';
    pure += part;
  }
  return pure.empty() ? "." : pure;
}

std::string read_file(const std::string& path) {
  return asyncio::with(asyncio::await(aiofiles::open(path)),
                       [](const File& file) { return asyncio::await(file.read()); });
}

std::size_t write_file(const std::string& path, std::string data) {
  return asyncio::with(asyncio::await(aiofiles::open(path, "w")), [&](const File& file) {
    return asyncio::await(file.write(std::move(data)));
  });
}

void unlink_path(const std::string& path, bool missing_ok) {
  try {
    os::detail::unlink(path);
  } catch (const FileNotFoundError&) {
    if (!missing_ok) throw;
  }
}

void make_path(const std::string& path, const PathMkdirOptions& options) {
  if (options.parents)
    return os::detail::makedirs(path, {.mode = options.mode, .exist_ok = options.exist_ok});
  try {
    os::detail::mkdir(path, options.mode);
  } catch (const OSError&) {
    if (!options.exist_ok) throw;
    const auto found = os::detail::look(path, true);
    if (!found || !S_ISDIR(found->st_mode)) throw;
  }
}

void touch(const std::string& path, const PathTouchOptions& options) {
  asyncio::await(asyncio::get_running_loop().run_in_executor(nullptr, [path, options] {
    if (options.exist_ok && ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) return;
    const int flags = O_CREAT | O_WRONLY | O_CLOEXEC | (options.exist_ok ? 0 : O_EXCL);
    const asyncio::detail::UniqueFd fd(::open(path.c_str(), flags, options.mode));
    if (fd.get() < 0) raise_os_error(errno, "'" + path + "'");
  }));
}

std::vector<Path> entries_of(const std::string& path) {
  std::vector<Path> paths;
  for (const std::string& name : os::detail::listdir(path)) paths.push_back(Path(path) / name);
  return paths;
}

}  // namespace detail

std::string Path::name() const {
  const std::string& text = path_.native();
  return text == "." ? std::string() : text.substr(text.rfind('/') + 1);
}

std::string Path::stem() const {
  const std::string whole = name();
  return whole.substr(0, suffix_at(whole));
}

std::string Path::suffix() const {
  const std::string whole = name();
  return whole.substr(suffix_at(whole));
}

Path Path::parent() const {
  const std::string& text = path_.native();
  const std::size_t slash = text.rfind('/');
  if (slash == text.npos) return {};
  return text.substr(0, std::max(slash, root_of(text)));
}

Path Path::with_name(std::string_view name) const {
  if (this->name().empty()) throw ValueError(repr(*this) + " has an empty name");
  if (name.empty() || name == "." || name.find('/') != name.npos)
    throw ValueError("Invalid name '" + std::string(name) + "'");
  return parent() / name;
}

Path Path::with_suffix(std::string_view suffix) const {
  const bool valid = suffix.empty() || (suffix.starts_with('.') && suffix.size() > 1);
  if (!valid || suffix.find('/') != suffix.npos)
    throw ValueError("Invalid suffix '" + std::string(suffix) + "'");
  return with_name(stem().append(suffix));
}

Path operator/(const Path& a, const Path& b) {
  if (b.is_absolute()) return b;
  std::string text = a.str();
  if (!text.ends_with('/')) text += '/';
  return text + b.path_.native();
}

std::strong_ordering operator<=>(const Path& a, const Path& b) noexcept {
  // A slash ends a part, and comes before every character.
  const auto rank = [](char c) { return c == '/' ? -1 : static_cast<unsigned char>(c); };
  const std::string& left = a.path_.native();
  const std::string& right = b.path_.native();
  const auto [x, y] = std::ranges::mismatch(left, right);
  if (x == left.end() || y == right.end()) return left.size() <=> right.size();
  return rank(*x) <=> rank(*y);
}

std::string repr(const Path& path) { return "Path('" + path.str() + "')"; }

std::ostream& operator<<(std::ostream& out, const Path& path) { return out << path.str(); }

}  // namespace fiber::aiofiles
