// Moves bytes from one descriptor to another: sendfile, splice and related functions.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <memory>
#include <new>

#include <fcntl.h>
#include <sys/stat.h>

namespace fiber::monkey::detail {
namespace {

mode_t type_of(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? status.st_mode & S_IFMT : 0;
}

// Copies from a file to a descriptor that may block, which sendfile() cannot avoid, by reading and
// writing. Sets errno if nothing was moved.
ssize_t copy_from_file(const Call& call, int to, int from, off_t& at, std::size_t count) noexcept {
  constexpr std::size_t kPart = 64 * 1024;
  const std::size_t room = std::min(count, kPart);
  const std::unique_ptr<char[]> buffer(new (std::nothrow) char[room]);
  if (buffer == nullptr) {
    errno = ENOMEM;
    return -1;
  }
  ssize_t total = 0;
  while (static_cast<std::size_t>(total) < count) {
    const ssize_t got =
        ::pread(from, buffer.get(), std::min(room, count - static_cast<std::size_t>(total)), at);
    if (got == 0) break;
    if (got < 0) return total > 0 ? total : -1;
    const ssize_t put = write_all(call, to, buffer.get(), static_cast<std::size_t>(got));
    if (put < 0) return total > 0 ? total : -1;
    total += put;
    at += put;
    if (put < got) break;
  }
  return total;
}

[[maybe_unused]] ssize_t sendfile_(int to, int from, off_t* offset, std::size_t count) noexcept {
  const Call call;
  if (!call || count == 0 || type_of(from) != S_IFREG || type_of(to) == S_IFREG)
    return real().sendfile(to, from, offset, count);
  const int flags = ::fcntl(to, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return real().sendfile(to, from, offset, count);
  constexpr std::size_t kMost = 0x7ffff000;  // the kernel's own limit
  off_t at = offset != nullptr ? *offset : ::lseek(from, 0, SEEK_CUR);
  if (at < 0) {
    errno = EINVAL;
    return -1;
  }
  const ssize_t moved = copy_from_file(call, to, from, at, std::min(count, kMost));
  if (moved < 0) return moved;
  if (offset != nullptr)
    *offset = at;
  else
    ::lseek(from, at, SEEK_SET);
  return call.done(moved);
}

// Waits for an end of a splice that is not a pipe: SPLICE_F_NONBLOCK does not cover it.
bool until_ready(Attempts& attempts, int fd, Direction direction) noexcept {
  while (!is_ready(fd, direction))
    if (!attempts.again()) return attempts.unwatchable();
  return true;
}

// Waits for one of two pipes. EAGAIN does not say which: the source if it is empty, or else the
// sink, which is full.
bool until_movable(Attempts& source, int from, Attempts& sink) noexcept {
  return is_ready(from, Direction::reading) ? sink.again() : source.again();
}

ssize_t splice_(int from, off64_t* from_offset, int to, off64_t* to_offset, std::size_t size,
                unsigned flags) noexcept {
  const Call call;
  if (!call || size == 0 || (flags & SPLICE_F_NONBLOCK) != 0)
    return real().splice(from, from_offset, to, to_offset, size, flags);
  const bool from_pipe = type_of(from) == S_IFIFO, to_pipe = type_of(to) == S_IFIFO;
  if (!from_pipe && !to_pipe) return real().splice(from, from_offset, to, to_offset, size, flags);
  // A writable socket takes a page without waiting, and perhaps no more.
  constexpr std::size_t kPage = 4096;
  const std::size_t most = to_pipe || type_of(to) == S_IFREG ? size : kPage;
  Attempts source(call, from, Direction::reading), sink(call, to, Direction::writing);
  ssize_t total = 0;
  while (static_cast<std::size_t>(total) < size) {
    if ((!from_pipe && !until_ready(source, from, Direction::reading)) ||
        (!to_pipe && !until_ready(sink, to, Direction::writing)))
      return total > 0 ? call.done(total) : -1;
    const ssize_t moved = real().splice(from, from_offset, to, to_offset,
                                        std::min(most, size - static_cast<std::size_t>(total)),
                                        flags | SPLICE_F_NONBLOCK);
    if (moved > 0) {
      total += moved;
      if (most != kPage) break;
      sink.progress();
      continue;
    }
    if (moved == 0) break;
    if (errno == EINTR) continue;
    if (total > 0) break;
    if (errno != EAGAIN || !until_movable(source, from, sink)) return -1;
  }
  return call.done(total);
}

ssize_t tee_(int from, int to, std::size_t size, unsigned flags) noexcept {
  const Call call;
  if (!call || (flags & SPLICE_F_NONBLOCK) != 0) return real().tee(from, to, size, flags);
  Attempts source(call, from, Direction::reading), sink(call, to, Direction::writing);
  for (;;) {
    const ssize_t copied = real().tee(from, to, size, flags | SPLICE_F_NONBLOCK);
    if (copied >= 0) return call.done(copied);
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !until_movable(source, from, sink)) return copied;
  }
}

ssize_t vmsplice_(int fd, const iovec* vectors, std::size_t count, unsigned flags) noexcept {
  const Call call;
  const int mode = call ? ::fcntl(fd, F_GETFL) : -1;
  if (mode < 0 || (flags & SPLICE_F_NONBLOCK) != 0)
    return real().vmsplice(fd, vectors, count, flags);
  return when_possible(
      call, fd, (mode & O_ACCMODE) == O_RDONLY ? Direction::reading : Direction::writing,
      [=] { return real().vmsplice(fd, vectors, count, flags | SPLICE_F_NONBLOCK); });
}

}  // namespace

std::span<const Hook> splice_hooks() noexcept {
  static const Hook hooks[] = {
    hook<sendfile_>("sendfile64"),
#if defined(__LP64__)  // elsewhere sendfile has shorter offsets
    hook<sendfile_>("sendfile"),
#endif
    hook<splice_>("splice"),
    hook<tee_>("tee"),
    hook<vmsplice_>("vmsplice"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
