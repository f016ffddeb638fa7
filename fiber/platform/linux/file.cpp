// Open files by /proc, files without a name by O_TMPFILE.
#include <fiber/platform/file.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

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

std::vector<OpenFile> open_files() {
  std::vector<OpenFile> open;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", none)) {
    std::string target = std::filesystem::read_symlink(entry.path(), none).string();
    // Skips the descriptor through which this loop itself reads.
    if (target.starts_with("/proc/") && target.ends_with("/fd")) continue;
    open.push_back({std::atoi(entry.path().filename().c_str()), std::move(target)});
  }
  return open;
}

// The name of the link stays, and argv[0] may name another file by now. Containers may be without
// /proc.
const char* program_file() noexcept {
  constexpr const char* kLink = "/proc/self/exe";
  return ::access(kLink, R_OK) == 0 ? kLink : nullptr;
}

std::string path_of(int fd, const std::string& /*path*/) {
  char target[4096];
  const ssize_t size = ::readlink(Link(fd).path, target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

// umask(2) cannot be asked for without being set, for all threads.
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
  // By this way the file gets its name.
  if (::access("/proc/self/fd", X_OK) != 0) return -1;
  return ::openat(directory, ".", O_WRONLY | O_APPEND | O_TMPFILE | O_CLOEXEC, mode);
}

int name_file(int fd, int directory, const char* name) noexcept {
  return ::linkat(AT_FDCWD, Link(fd).path, directory, name, AT_SYMLINK_FOLLOW);
}

}  // namespace fiber::platform
