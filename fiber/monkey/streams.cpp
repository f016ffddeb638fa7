// read, write and their vectors, for sockets, pipes and all other descriptors.
#include <fiber/monkey/descriptor.hpp>
#include <fiber/monkey/files.hpp>
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// The kinds of descriptors other than sockets.
enum class Kind : unsigned char {
  pipe,
  waits,  // a terminal, an eventfd and similar
  disk,
  other,  // never blocks for long
};
Kind kind_of(int fd) noexcept {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Kind::other;
  if (S_ISFIFO(status.st_mode)) return Kind::pipe;
  if (S_ISCHR(status.st_mode) || (status.st_mode & S_IFMT) == 0) return Kind::waits;
  return is_on_disk(status.st_mode) ? Kind::disk : Kind::other;
}

bool is_unsupported(int error) noexcept {
  return error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

constexpr std::string_view kEvent = "anon_inode:[eventfd]";

// Returns the smallest size with which a call on a descriptor of this name waits in the kernel: the
// kernel refuses smaller ones at once.
std::size_t least_bytes(std::string_view name) noexcept {
  if (name == kEvent) return sizeof(eventfd_t);
  if (name == "anon_inode:[timerfd]") return sizeof(std::uint64_t);
  if (name == "anon_inode:[signalfd]") return sizeof(signalfd_siginfo);
  return 0;
}

// Whether the kernel would wait if `value` were written to a full eventfd. The accepted sizes
// depend on the kernel's version, and only the kernel can tell whether the memory is readable: so
// `value` is written to a full eventfd that does not block.
bool full_event_waits(const iovec& value) noexcept {
  const int error = errno;
  const Descriptor full(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  constexpr eventfd_t kMost = ~eventfd_t{1};
  const bool waits =
      real().write(full.get(), &kMost, sizeof kMost) == sizeof kMost
          ? real().write(full.get(), value.iov_base, value.iov_len) < 0 && errno == EAGAIN
          : value.iov_len >= sizeof kMost;  // no descriptor is left
  errno = error;
  return waits;
}

// Whether the vectors point to memory that no program can have: makes a call with an unknown flag,
// since the kernel checks the vectors before it refuses the flag.
bool is_no_memory(int fd, Direction direction, const iovec* vectors, int count) noexcept {
  constexpr int kUnknown = 1 << 30;
  const bool reads = direction == Direction::reading;
  if (reads ? real().preadv2 == nullptr : real().pwritev2 == nullptr) return false;
  const ssize_t result = reads ? real().preadv2(fd, vectors, count, kPosition, kUnknown)
                               : real().pwritev2(fd, vectors, count, kPosition, kUnknown);
  return result < 0 && errno == EFAULT;
}

// Whether the kernel ends a call at once although the descriptor is not ready: the descriptor is
// not open in this direction or does not block, the FIFO has no writer, the size is too small, or
// the value cannot be added to the eventfd.
bool ends_at_once(int fd, Direction direction, const iovec* vectors, int count) noexcept {
  if (!is_open_for(fd, direction) || is_no_memory(fd, direction, vectors, count)) return true;
  if ((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 ||
      (direction == Direction::reading && kind_of(fd) == Kind::pipe && !has_writer(fd)))
    return true;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  char text[32];
  const ssize_t length = ::readlink(path, text, sizeof text);
  const std::string_view name(text, length > 0 ? static_cast<std::size_t>(length) : 0);
  // Vectors are written one by one, and read as a whole.
  if (direction == Direction::writing && name == kEvent) return !full_event_waits(vectors[0]);
  std::size_t size = vectors[0].iov_len;
  if (direction == Direction::reading)
    for (int i = 1; i < count && size < sizeof(signalfd_siginfo); ++i) size += vectors[i].iov_len;
  return size < least_bytes(name);
}

// Returns, for a terminal whose reads may end without a byte (VMIN is 0), the time in tenths of a
// second after which they do (VTIME); nothing for any other descriptor. No event reports the end of
// this time.
std::optional<int> patience_of_terminal(int fd) noexcept {
  termios settings{};
  const int error = errno;
  const bool is_terminal = ::tcgetattr(fd, &settings) == 0;
  errno = error;
  if (!is_terminal || (settings.c_lflag & ICANON) != 0 || settings.c_cc[VMIN] != 0)
    return std::nullopt;
  return settings.c_cc[VTIME];
}

template <class F>
ssize_t read_terminal(const Call& call, int fd, int tenths, F plain) noexcept {
  if (tenths > 0 && (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0) {
    constexpr std::int64_t kTenth = kSecond / 10;
    switch (call.wait(fd, EPOLLIN, call.deadline_after(tenths * kTenth))) {
      case Wake::timed_out: return call.done(0);
      case Wake::failed: return -1;
      default: break;
    }
  }
  const ssize_t result = plain();
  return result >= 0 ? call.done(result) : result;
}

// For descriptors that have no call which does not block: calls poll() first. If another process
// takes the bytes in between, the thread blocks.
template <class F>
ssize_t after_polling(const Call& call, int fd, Direction direction, const iovec* vectors,
                      int count, F plain) noexcept {
  if (!is_ready(fd, direction) && !ends_at_once(fd, direction, vectors, count)) {
    if (direction == Direction::reading)
      if (const auto tenths = patience_of_terminal(fd))
        return read_terminal(call, fd, *tenths, plain);
    Attempts attempts(call, fd, direction);
    do {
      if (attempts.again()) continue;
      if (attempts.unwatchable()) break;
      return -1;
    } while (!is_ready(fd, direction));
  }
  const ssize_t result = plain();
  return result >= 0 ? call.done(result) : call.tried(result);
}

// Terminals that cannot be opened a second time: /dev/tty, the console and the masters of
// pseudo-terminals are other terminals when they are opened again.
bool is_one_of_a_kind(int fd) noexcept {
  constexpr unsigned kMajor = 5;
  struct stat status {};
  return ::fstat(fd, &status) != 0 || major(status.st_rdev) == kMajor;
}

// Writes to a terminal. A terminal is ready when it has room for a byte, and then blocks the writer
// until it has taken all bytes. So the bytes are written through a second descriptor that does not
// block; the mode of the first one, which other processes may share, stays unchanged. (A terminal
// that is_one_of_a_kind() is made non-blocking for the length of each call.) Returns nothing if the
// descriptor is no terminal, or if it cannot be opened again.
std::optional<ssize_t> write_terminal(const Call& call, int fd, const iovec* vectors,
                                      int count) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & (O_NONBLOCK | O_PATH)) != 0 || (flags & O_ACCMODE) == O_RDONLY ||
      ::isatty(fd) == 0)
    return std::nullopt;
  const bool opens = !is_one_of_a_kind(fd);
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const HeldDescriptor second(
      call, opens ? real().open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1);
  if (opens && second.get() < 0) return std::nullopt;
  Buffers buffers(vectors, static_cast<std::size_t>(count));
  return whole(call, fd, Direction::writing, buffers, [&](Buffers& rest) {
    const auto left = static_cast<int>(rest.count());
    if (opens) return real().writev(second.get(), rest.data(), left);
    const NonBlocking scope(fd, flags);
    return real().writev(fd, rest.data(), left);
  });
}

template <class F>
ssize_t read_file(const Call& call, int fd, const iovec* vectors, int count, F plain) noexcept {
  const Kind kind = kind_of(fd);
  if (kind == Kind::other) return call.done(plain());
  if (kind == Kind::disk) return call.done(read_file_at(fd, vectors, count, kPosition));
  if (kind == Kind::pipe && real().preadv2 != nullptr) {
    const ssize_t result = when_possible(call, fd, Direction::reading, [&] {
      return real().preadv2(fd, vectors, count, -1, RWF_NOWAIT);
    });
    if (result >= 0 || !is_unsupported(errno)) return result;
  }
  return after_polling(call, fd, Direction::reading, vectors, count, plain);
}

template <class F>
ssize_t write_file(const Call& call, int fd, const iovec* vectors, int count, F plain) noexcept {
  const Kind kind = kind_of(fd);
  if (kind == Kind::other) return call.done(plain());
  if (kind == Kind::disk) return call.done(write_file_at(fd, vectors, count, kPosition));
  if (kind == Kind::pipe && real().pwritev2 != nullptr) {
    Buffers buffers(vectors, static_cast<std::size_t>(count));
    const ssize_t result = whole(call, fd, Direction::writing, buffers, [fd](Buffers& rest) {
      return real().pwritev2(fd, rest.data(), static_cast<int>(rest.count()), -1, RWF_NOWAIT);
    });
    if (result >= 0 || !is_unsupported(errno)) return result;
  }
  if (kind == Kind::waits)
    if (const auto written = write_terminal(call, fd, vectors, count)) return *written;
  return after_polling(call, fd, Direction::writing, vectors, count, plain);
}

// Whether the kernel refuses the size at once.
bool is_too_large(std::size_t size) noexcept { return size > SSIZE_MAX; }

// Whether the kernel may wait: there are bytes to move, and nothing is wrong with the vectors.
bool may_move(const iovec* vectors, int count) noexcept {
  if (count <= 0 || count > IOV_MAX ||
      !is_readable(vectors, static_cast<std::size_t>(count) * sizeof *vectors))
    return false;
  const auto all = std::span(vectors, static_cast<std::size_t>(count));
  return std::any_of(all.begin(), all.end(), [](const iovec& its) { return its.iov_len != 0; }) &&
         std::none_of(all.begin(), all.end(),
                      [](const iovec& its) { return is_too_large(its.iov_len); });
}

ssize_t read_(int fd, void* buffer, std::size_t size) noexcept {
  const Call call;
  const auto plain = [=] { return real().read(fd, buffer, size); };
  if (!call || size == 0 || is_too_large(size)) return plain();
  const ssize_t result = when_possible(call, fd, Direction::reading,
                                       [=](int how) { return real().recv(fd, buffer, size, how); });
  if (result >= 0 || errno != ENOTSOCK) return result;
  const iovec one{.iov_base = buffer, .iov_len = size};
  return read_file(call, fd, &one, 1, plain);
}

ssize_t send_vectors(const Call& call, int fd, const iovec* vectors, int count) noexcept {
  Buffers buffers(vectors, static_cast<std::size_t>(count));
  return whole(call, fd, Direction::writing, buffers, [fd](Buffers& rest, int how) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(rest.data());
    message.msg_iovlen = rest.count();
    return real().sendmsg(fd, &message, how);
  });
}

ssize_t write_(int fd, const void* buffer, std::size_t size) noexcept {
  const Call call;
  if (!call || size == 0 || is_too_large(size)) return real().write(fd, buffer, size);
  return write_all(call, fd, buffer, size);
}

// libc's versions call read and write internally, where no import can be patched.
int eventfd_read_(int fd, eventfd_t* value) noexcept {
  return read_(fd, value, sizeof *value) == sizeof *value ? 0 : -1;
}
int eventfd_write_(int fd, eventfd_t value) noexcept {
  return write_(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

ssize_t read_chk_(int fd, void* buffer, std::size_t size, std::size_t room) noexcept {
  if (size > room) return real().read_chk(fd, buffer, size, room);
  return read_(fd, buffer, size);
}

}  // namespace

ssize_t read_vectors(int fd, const iovec* vectors, int count) noexcept {
  const Call call;
  const auto plain = [=] { return real().readv(fd, vectors, count); };
  if (!call || !may_move(vectors, count)) return plain();
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors);
  message.msg_iovlen = static_cast<std::size_t>(count);
  const ssize_t result = when_possible(call, fd, Direction::reading, [fd, &message](int how) {
    return real().recvmsg(fd, &message, how);
  });
  if (result >= 0 || errno != ENOTSOCK) return result;
  return read_file(call, fd, vectors, count, plain);
}

ssize_t write_vectors(int fd, const iovec* vectors, int count) noexcept {
  const Call call;
  const auto plain = [=] { return real().writev(fd, vectors, count); };
  if (!call || !may_move(vectors, count)) return plain();
  const ssize_t result = send_vectors(call, fd, vectors, count);
  if (result >= 0 || errno != ENOTSOCK) return result;
  return write_file(call, fd, vectors, count, plain);
}

ssize_t write_all(const Call& call, int fd, const void* data, std::size_t size) noexcept {
  const iovec one{.iov_base = const_cast<void*>(data), .iov_len = size};
  const ssize_t result = send_vectors(call, fd, &one, 1);
  if (result >= 0 || errno != ENOTSOCK) return result;
  return write_file(call, fd, &one, 1, [=] { return real().write(fd, data, size); });
}

std::span<const Hook> stream_hooks() noexcept {
  static const Hook hooks[] = {
      hook<read_>("read"),
      hook<read_>("__read"),
      hook<read_chk_>("__read_chk"),
      hook<read_vectors>("readv"),
      hook<write_>("write"),
      hook<write_>("__write"),
      hook<write_vectors>("writev"),
      hook<eventfd_read_>("eventfd_read"),
      hook<eventfd_write_>("eventfd_write"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
