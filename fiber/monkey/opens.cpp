// Opening a FIFO, which waits for its other end.
//
// No event reports that somebody opens it: the task tries again, after 25 ms at most. Other files
// are opened by libc.
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>

namespace fiber::monkey::detail {
namespace {

bool is_fifo(int directory, const char* path) noexcept {
  struct stat status {};
  const int error = errno;
  const bool is =
      path != nullptr && ::fstatat(directory, path, &status, 0) == 0 && S_ISFIFO(status.st_mode);
  errno = error;
  return is;
}

// Returns false with errno if the task must not wait; true, too, if the descriptor has been lost.
bool until_written(const Call& call, HeldDescriptor& held) noexcept {
  Backoff backoff;
  for (;;) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    HeldDescriptor scratch_end(call, ends[0]);
    HeldDescriptor scratch(call, ends[1]);
    for (bool lost = false; !lost; lost = scratch_end.has_lost() || scratch.has_lost()) {
      if (has_writer(held.get(), scratch.get())) return true;
      if (!backoff.pause(call)) return false;
      if (held.has_lost()) return true;
    }
  }
}

// The kernel opens an end for writing only if there is a reader.
int open_to_write(const Call& call, int directory, const char* path, int flags,
                  mode_t mode) noexcept {
  Backoff backoff;
  for (;;) {
    const int fd = real().openat(directory, path, flags | O_NONBLOCK, mode);
    if (fd >= 0 || errno != ENXIO || !backoff.pause(call)) return fd;
  }
}

// The program does not know the descriptor yet: if other code has closed it, it is opened again.
int open_fifo(const Call& call, int directory, const char* path, int flags, mode_t mode) noexcept {
  const bool reads = (flags & O_ACCMODE) == O_RDONLY;
  for (;;) {
    const int fd = reads ? real().openat(directory, path, flags | O_NONBLOCK, mode)
                         : open_to_write(call, directory, path, flags, mode);
    if (fd < 0) return fd;
    HeldDescriptor held(call, fd);
    if (reads && !until_written(call, held)) return -1;
    if (held.has_lost() || held.get() < 0) continue;
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return call.done(held.release());
  }
}

// Whether the kernel would wait.
bool waits(int directory, const char* path, int flags) noexcept {
  const int access = flags & O_ACCMODE;
  return (access == O_RDONLY || access == O_WRONLY) &&
         (flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) == 0 && is_in_task() &&
         is_fifo(directory, path);
}

int open_under(Cancel how, int directory, const char* path, int flags, mode_t mode) noexcept {
  const PolicyOfCall policy(how);
  const Call call;
  return open_fifo(call, directory, path, flags, mode);
}

// Like libc, take a mode, even if there is none.
template <Cancel How>
int open_(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = va_arg(list, mode_t);
  va_end(list);
  if (!waits(AT_FDCWD, path, flags)) return real().open(path, flags, mode);
  return open_under(How, AT_FDCWD, path, flags, mode);
}
template <Cancel How>
int openat_(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = va_arg(list, mode_t);
  va_end(list);
  if (!waits(directory, path, flags)) return real().openat(directory, path, flags, mode);
  return open_under(How, directory, path, flags, mode);
}
template <Cancel How>
int creat_(const char* path, mode_t mode) {
  return open_<How>(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

// Returns the flags of open() for a mode of fopen() that does not both read and write.
int flags_of(const char* mode) noexcept {
  int flags = O_WRONLY;
  if (mode[0] == 'r') flags = O_RDONLY;
  if (std::strchr(mode, 'e') != nullptr) flags |= O_CLOEXEC;
  return flags;
}

// Whether the mode asks for a new file, which a FIFO is not: libc's refuses it at once.
bool is_exclusive(const char* mode) noexcept {
  return mode[0] != 'r' && std::strchr(mode, 'x') != nullptr;
}

FILE* fopen_(const char* path, const char* mode) noexcept {
  if (mode == nullptr || std::strchr("rwa", mode[0]) == nullptr ||
      std::strchr(mode, '+') != nullptr || is_exclusive(mode) ||
      !waits(AT_FDCWD, path, flags_of(mode)))
    return real().fopen(path, mode);
  const Call call;
  const int fd = open_fifo(call, AT_FDCWD, path, flags_of(mode), 0);
  if (fd < 0) return nullptr;
  FILE* stream = ::fdopen(fd, mode);
  if (stream == nullptr) const Descriptor closed(fd);
  return stream;
}

}  // namespace

std::span<const Hook> open_hooks() noexcept {
  static const Hook hooks[] = {
      by_policy("open", []<Cancel How> { return open_<How>; }),
      by_policy("open64", []<Cancel How> { return open_<How>; }),
      by_policy("__open_2", []<Cancel How> { return open_<How>; }),
      by_policy("__open64_2", []<Cancel How> { return open_<How>; }),
      by_policy("openat", []<Cancel How> { return openat_<How>; }),
      by_policy("openat64", []<Cancel How> { return openat_<How>; }),
      by_policy("__openat_2", []<Cancel How> { return openat_<How>; }),
      by_policy("__openat64_2", []<Cancel How> { return openat_<How>; }),
      by_policy("creat", []<Cancel How> { return creat_<How>; }),
      by_policy("creat64", []<Cancel How> { return creat_<How>; }),
      hook<fopen_>("fopen"),
      hook<fopen_>("fopen64"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
