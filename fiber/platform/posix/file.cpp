#include <fiber/platform/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

const char* kind_of(mode_t mode) noexcept {
  if (S_ISSOCK(mode)) return "socket";
  if (S_ISFIFO(mode)) return "pipe";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISREG(mode)) return "file";
  return "device";
}

}  // namespace

// Tries each number up to a limit. New files get the lowest free numbers, and no process that is
// tested has as many files open at once.
std::vector<OpenFile> open_files() {
  constexpr long kMost = 65536;
  const long limit = ::sysconf(_SC_OPEN_MAX);
  const int last = static_cast<int>(limit < 0 ? kMost : std::min(limit, kMost));
  std::vector<OpenFile> open;
  for (int fd = 0; fd < last; ++fd) {
    struct stat file {};
    if (::fstat(fd, &file) != 0) continue;
    open.push_back({fd, std::string(kind_of(file.st_mode)) + ":[" + std::to_string(file.st_dev) +
                            ":" + std::to_string(file.st_ino) + "]"});
  }
  return open;
}

const char* program_file() noexcept { return nullptr; }

// Returns "" if the path by which the file was opened leads to another file by now.
std::string path_of(int fd, const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  struct stat opened {};
  struct stat named {};
  if (real == nullptr || ::fstat(fd, &opened) != 0 || ::lstat(real.get(), &named) != 0 ||
      opened.st_dev != named.st_dev || opened.st_ino != named.st_ino)
    return {};
  return real.get();
}

mode_t current_umask() noexcept { return 022; }

int open_nameless(int /*directory*/, mode_t /*mode*/) noexcept {
  errno = ENOTSUP;
  return -1;
}

int name_file(int /*fd*/, int /*directory*/, const char* /*name*/) noexcept {
  errno = ENOTSUP;
  return -1;
}

}  // namespace fiber::platform
