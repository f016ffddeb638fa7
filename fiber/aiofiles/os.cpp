#include <fiber/aiofiles/os.hpp>

#include <fiber/aiofiles/backend.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include <dirent.h>
#include <unistd.h>

namespace fiber::aiofiles::os::detail {
namespace {

using aiofiles::detail::Operation;
using aiofiles::detail::Request;
using aiofiles::detail::RequestRef;
using asyncio::detail::refuse_null_bytes;
using asyncio::detail::UniqueFd;

std::string quoted(const std::string& path) { return "'" + path + "'"; }
std::string quoted(const std::string& from, const std::string& to) {
  return "'" + from + "' -> '" + to + "'";
}

[[noreturn]] void fail(const std::string& path) { raise_os_error(errno, quoted(path)); }

RequestRef request(Operation operation, const std::string& path) {
  refuse_null_bytes(path);
  RequestRef made(new Request(operation));
  made->path = path;
  return made;
}

void carry_through(const RequestRef& request) {
  const long result = aiofiles::detail::carry_out(request);
  if (result >= 0) return;
  raise_os_error(static_cast<int>(-result), request->operation == Operation::rename
                                                ? quoted(request->path, request->path2)
                                                : quoted(request->path));
}

// For operations that io_uring does not have, or that take several system calls.
template <class F>
auto on_thread(const F& call) {
  return asyncio::await(asyncio::get_running_loop().run_in_executor(nullptr, call));
}

}  // namespace

// --- one call -----------------------------------------------------------------------------------

struct ::stat stat(const std::string& path, bool follow) {
  const RequestRef asked = request(Operation::stat, path);
  asked->flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  carry_through(asked);
  return asked->status;
}

std::optional<struct ::stat> look(const std::string& path, bool follow) {
  const RequestRef asked = request(Operation::stat, path);
  asked->flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  if (aiofiles::detail::carry_out(asked) < 0) return std::nullopt;
  return asked->status;
}

void unlink(const std::string& path) { carry_through(request(Operation::unlink, path)); }

void rmdir(const std::string& path) {
  const RequestRef asked = request(Operation::unlink, path);
  asked->flags = AT_REMOVEDIR;
  carry_through(asked);
}

void rename(const std::string& from, const std::string& to) {
  refuse_null_bytes(to);
  const RequestRef asked = request(Operation::rename, from);
  asked->path2 = to;
  carry_through(asked);
}

void mkdir(const std::string& path, mode_t mode) {
  const RequestRef asked = request(Operation::mkdir, path);
  asked->mode = mode;
  carry_through(asked);
}

void makedirs(const std::string& path, const MakedirsOptions& options) {
  std::size_t end = path.find_last_not_of('/');
  const std::size_t slash = end == std::string::npos ? end : path.rfind('/', end);
  const std::string above =
      slash == std::string::npos ? "" : path.substr(0, path.find_last_not_of('/', slash) + 1);
  if (!above.empty() && !look(above, true)) {
    try {
      makedirs(above, {.mode = 0777, .exist_ok = options.exist_ok});
    } catch (const FileExistsError&) {
      // Another process has made the folder meanwhile, or it is a link to nothing: mkdir() tells.
    }
    if (path.substr(slash + 1, end - slash) == ".") return;  // above/. has been made with above/
  }
  try {
    detail::mkdir(path, options.mode);
  } catch (const OSError&) {
    if (!options.exist_ok) throw;
    const auto found = look(path, true);
    if (!found || !S_ISDIR(found->st_mode)) throw;
  }
}

// --- on a thread --------------------------------------------------------------------------------

void link(const std::string& from, const std::string& to) {
  refuse_null_bytes(from);
  refuse_null_bytes(to);
  on_thread([from, to] {
    if (::link(from.c_str(), to.c_str()) != 0) raise_os_error(errno, quoted(from, to));
  });
}

void symlink(const std::string& from, const std::string& to) {
  refuse_null_bytes(from);
  refuse_null_bytes(to);
  on_thread([from, to] {
    if (::symlink(from.c_str(), to.c_str()) != 0) raise_os_error(errno, quoted(from, to));
  });
}

std::string readlink(const std::string& path) {
  refuse_null_bytes(path);
  return on_thread([path] {
    std::string target(256, '\0');
    for (;;) {
      const std::ptrdiff_t size = ::readlink(path.c_str(), target.data(), target.size());
      if (size < 0) fail(path);
      if (static_cast<std::size_t>(size) < target.size()) {
        target.resize(static_cast<std::size_t>(size));
        return target;
      }
      target.resize(target.size() * 2);
    }
  });
}

void chmod(const std::string& path, mode_t mode) {
  refuse_null_bytes(path);
  on_thread([path, mode] {
    if (::chmod(path.c_str(), mode) != 0) fail(path);
  });
}

bool access(const std::string& path, int mode) {
  refuse_null_bytes(path);
  return on_thread([path, mode] { return ::access(path.c_str(), mode) == 0; });
}

void truncate(const std::string& path, std::int64_t size) {
  refuse_null_bytes(path);
  on_thread([path, size] {
    if (::truncate(path.c_str(), size) != 0) fail(path);
  });
}

// --- directories --------------------------------------------------------------------------------

namespace {

DirEntry entry_of(DIR* directory, const dirent& found, const std::string& above) {
  mode_t type = DTTOIF(found.d_type);
  if (found.d_type == DT_UNKNOWN || found.d_type == DT_LNK) {
    struct ::stat status {};
    const int fd = ::dirfd(directory);
    const bool known = ::fstatat(fd, found.d_name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    const bool link = found.d_type == DT_LNK || (known && S_ISLNK(status.st_mode));
    const bool followed = !link || ::fstatat(fd, found.d_name, &status, 0) == 0;
    type = known && followed ? status.st_mode & mode_t{S_IFMT} : 0;
    return {found.d_name, above + found.d_name, found.d_ino, type, link};
  }
  return {found.d_name, above + found.d_name, found.d_ino, type, false};
}

std::vector<DirEntry> list(const std::string& path) {
  struct Close {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir(path.c_str()));
  if (directory == nullptr) fail(path);
  const std::string above = path.ends_with('/') ? path : path + "/";
  std::vector<DirEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* found = ::readdir(directory.get());
    if (found == nullptr) break;
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") entries.push_back(entry_of(directory.get(), *found, above));
  }
  if (errno != 0) fail(path);
  return entries;
}

}  // namespace

std::vector<DirEntry> scandir(const std::string& path) {
  refuse_null_bytes(path);
  return on_thread([path] { return list(path); });
}

std::vector<std::string> listdir(const std::string& path) {
  std::vector<std::string> names;
  for (const DirEntry& entry : detail::scandir(path)) names.push_back(entry.name());
  return names;
}

// --- replacing ----------------------------------------------------------------------------------

namespace {

// Makes a system call, and again if a signal has interrupted it.
template <class Call>
int uninterrupted(Call call) noexcept {
  int result = 0;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

// A new file beside the file that it will replace; the destructor removes a draft that has replaced
// nothing.
class Draft {
 public:
  explicit Draft(const std::string& path) : path_(path) {
    std::string name = path + ".XXXXXX";
    fd_ = UniqueFd(::mkostemp(name.data(), O_CLOEXEC));
    if (fd_.get() < 0) fail(path);
    name_ = std::move(name);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  void permit(mode_t permissions) const {
    if (::fchmod(fd_.get(), permissions) != 0) fail(path_);
  }
  void write(std::string_view data) const {
    while (!data.empty()) {
      const std::ptrdiff_t count = ::write(fd_.get(), data.data(), data.size());
      if (count < 0 && errno != EINTR) fail(path_);
      data.remove_prefix(static_cast<std::size_t>(std::max<std::ptrdiff_t>(count, 0)));
    }
  }
  void sync() const {
    if (uninterrupted([this] { return ::fsync(fd_.get()); }) != 0) fail(path_);
  }
  void put_in_place() {
    if (::rename(name_.c_str(), path_.c_str()) != 0) fail(path_);
    name_.clear();
  }

 private:
  const std::string& path_;
  std::string name_;
  UniqueFd fd_;
};

UniqueFd directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd directory(uninterrupted(
      [&above] { return ::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (directory.get() < 0) fail(path);
  return directory;
}

}  // namespace

void atomic_write(const std::string& path, std::string data, const AtomicWriteOptions& options) {
  refuse_null_bytes(path);
  on_thread([path, data = std::move(data), options] {
    struct ::stat old {};
    const bool exists = ::stat(path.c_str(), &old) == 0;
    if (!exists && errno != ENOENT) fail(path);
    if (exists && S_ISDIR(old.st_mode)) raise_os_error(EISDIR, quoted(path));
    const UniqueFd directory = options.durable ? directory_of(path) : UniqueFd();
    Draft draft(path);
    draft.permit(exists ? old.st_mode & 07777 : options.permissions & ~platform::current_umask());
    draft.write(data);
    if (options.durable) draft.sync();
    draft.put_in_place();
    if (!options.durable) return;
    if (uninterrupted([&directory] { return ::fsync(directory.get()); }) != 0) fail(path);
  });
}

}  // namespace fiber::aiofiles::os::detail
