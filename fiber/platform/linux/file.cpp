// Open files by /proc, files without a name by O_TMPFILE.
#include <fiber/platform/file.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

// The path by which the kernel shows a descriptor.
struct Link {
  explicit Link(int fd) noexcept { std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd); }
  char path[40];
};

}  // namespace

// Not by std::filesystem, whose iterators end the program when memory is short.
std::vector<OpenFile> open_files() {
  std::vector<OpenFile> open;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (folder == nullptr) return open;
  while (const dirent* entry = ::readdir(folder.get())) {
    const int fd = std::atoi(entry->d_name);
    // Skips ".", "..", and the descriptor through which this loop itself reads.
    if (entry->d_name[0] == '.' || fd == ::dirfd(folder.get())) continue;
    open.push_back({fd, path_of(fd, "")});
  }
  return open;
}

// Returns a link that leads to the program's file even if the file was renamed; argv[0] may name
// another file by now. A container may be without /proc.
const char* program_file() noexcept {
  constexpr const char* kLink = "/proc/self/exe";
  return ::access(kLink, R_OK) == 0 ? kLink : nullptr;
}

std::string path_of(int fd, const std::string& /*path*/) {
  char target[4096];
  const ssize_t size = ::readlink(Link(fd).path, target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

// Reads /proc: umask(2) tells the mask only by changing it, for all threads.
mode_t current_umask() noexcept {
  constexpr mode_t kUsual = 022;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> status(
      std::fopen("/proc/self/status", "re"), std::fclose);
  char line[128];
  while (status != nullptr && std::fgets(line, sizeof line, status.get()) != nullptr) {
    unsigned mask = 0;
    if (std::sscanf(line, "Umask: %o", &mask) == 1) return static_cast<mode_t>(mask);
  }
  return kUsual;
}

int open_nameless(int directory, mode_t mode) noexcept {
  // name_file() links the file by its path in this directory.
  if (::access("/proc/self/fd", X_OK) != 0) return -1;
  return ::openat(directory, ".", O_WRONLY | O_APPEND | O_TMPFILE | O_CLOEXEC, mode);
}

int name_file(int fd, int directory, const char* name) noexcept {
  return ::linkat(AT_FDCWD, Link(fd).path, directory, name, AT_SYMLINK_FOLLOW);
}

}  // namespace fiber::platform
