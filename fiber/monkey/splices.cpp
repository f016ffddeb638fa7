// Moves bytes from one descriptor to another: sendfile, splice and related functions.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <climits>
#include <memory>
#include <new>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

mode_t type_of(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? status.st_mode & S_IFMT : 0;
}

// Copies by reading and writing, for a target that may block: sendfile() has no flag for not
// blocking. Sets errno if nothing was moved.
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

// Whether sendfile() may wait for its target. The kernel refuses at once a target that is not open
// for writing, one that appends and is no pipe, and one that is neither a file nor a socket, such
// as an eventfd.
bool may_wait_to_be_sent(int to) noexcept {
  const mode_t type = type_of(to);
  const int flags = ::fcntl(to, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) == 0 && (flags & O_ACCMODE) != O_RDONLY && type != 0 &&
         ((flags & O_APPEND) == 0 || type == S_IFIFO);
}

[[maybe_unused]] ssize_t sendfile_(int to, int from, off_t* offset, std::size_t count) noexcept {
  const Call call;
  if (!call || count == 0 || type_of(from) != S_IFREG || type_of(to) == S_IFREG)
    return real().sendfile(to, from, offset, count);
  if (!may_wait_to_be_sent(to) || !is_usable(offset) || count > SSIZE_MAX)
    return real().sendfile(to, from, offset, count);
  constexpr std::size_t kMost = 0x7ffff000;  // the kernel's own limit
  off_t at = offset != nullptr ? *offset : ::lseek(from, 0, SEEK_CUR);
  if (at < 0) return real().sendfile(to, from, offset, count);  // it says why not
  const ssize_t moved = copy_from_file(call, to, from, at, std::min(count, kMost));
  if (moved < 0) return moved;
  if (offset == nullptr)
    ::lseek(from, at, SEEK_SET);
  else if (!give(offset, at))
    return -1;
  return call.done(moved);
}

// One end of a splice.
struct End {
  int fd;
  const off64_t* offset;
  mode_t type = type_of(fd);
  bool is_pipe() const noexcept { return type == S_IFIFO; }
};

// Whether the kernel would refuse a splice at once, so that there is nothing to wait for. Not to be
// called for two pipes: for these the kernel itself is asked, without waiting.
bool is_refused(const End& from, const End& to, std::size_t size, unsigned flags) noexcept {
  constexpr unsigned kKnown = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
  const auto is_impossible = [](const End& end) {
    if (end.is_pipe()) return end.offset != nullptr;
    return end.type == 0 || (end.offset != nullptr && ::lseek(end.fd, 0, SEEK_CUR) < 0);
  };
  return (flags & ~kKnown) != 0 || size > SSIZE_MAX || from.is_pipe() == to.is_pipe() ||
         is_impossible(from) || is_impossible(to) || !is_open_for(from.fd, Direction::reading) ||
         !is_open_for(to.fd, Direction::writing) ||
         (!to.is_pipe() && (::fcntl(to.fd, F_GETFL) & O_APPEND) != 0);
}

// Waits for an end of a splice that is not a pipe: SPLICE_F_NONBLOCK does not cover it.
bool until_ready(Attempts& attempts, int fd, Direction direction) noexcept {
  while (!is_ready(fd, direction))
    if (!attempts.again()) return attempts.unwatchable();
  return true;
}

// Waits for one of two pipes after EAGAIN, which does not say which of them is not ready: for the
// source if it is empty, otherwise for the sink, which is full.
bool until_movable(Attempts& source, int from, Attempts& sink) noexcept {
  return is_ready(from, Direction::reading) ? sink.again() : source.again();
}

ssize_t splice_(int from, off64_t* from_offset, int to, off64_t* to_offset, std::size_t size,
                unsigned flags) noexcept {
  const Call call;
  if (!call || size == 0 || (flags & SPLICE_F_NONBLOCK) != 0)
    return real().splice(from, from_offset, to, to_offset, size, flags);
  const End begin{.fd = from, .offset = from_offset}, end{.fd = to, .offset = to_offset};
  const bool from_pipe = begin.is_pipe(), to_pipe = end.is_pipe();
  if (!(from_pipe && to_pipe) && is_refused(begin, end, size, flags))
    return real().splice(from, from_offset, to, to_offset, size, flags);
  // A writable socket takes a page without waiting, and perhaps no more.
  constexpr std::size_t kPage = 4096;
  const std::size_t most = to_pipe || end.type == S_IFREG ? size : kPage;
  Attempts source(call, from, Direction::reading), sink(call, to, Direction::writing);
  ssize_t total = 0;
  while (static_cast<std::size_t>(total) < size) {
    if ((!from_pipe && !until_ready(source, from, Direction::reading)) ||
        (!to_pipe && !until_ready(sink, to, Direction::writing)))
      return total > 0 ? call.done(total) : -1;
    // The end of a connection is reported by the next call, as the kernel does.
    if (total > 0 && !to_pipe && is_hung_up(to, Direction::writing)) break;
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
