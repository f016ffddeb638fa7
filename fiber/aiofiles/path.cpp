#include <fiber/aiofiles/path.hpp>

#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/with.hpp>

#include <cerrno>
#include <ostream>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::aiofiles {
namespace detail {

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

std::string repr(const Path& path) { return "Path('" + path.str() + "')"; }

std::ostream& operator<<(std::ostream& out, const Path& path) { return out << path.str(); }

}  // namespace fiber::aiofiles
