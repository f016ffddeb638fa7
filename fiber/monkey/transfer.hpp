// Moves bytes as a blocking call does, by calls that do not block.
#pragma once

#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

namespace fiber::monkey::detail {

enum class Direction : bool { reading, writing };

// How long a call may wait, by the descriptor's settings in the kernel (O_NONBLOCK, SO_RCVTIMEO,
// SO_SNDTIMEO).
struct Patience {
  bool nonblocking = false;
  std::int64_t deadline = kNever;

  // Returns nothing, with errno set, if the descriptor is invalid.
  static std::optional<Patience> of(const Call& call, int fd, Direction direction) noexcept;
  // Whether the call goes on after a handler with SA_RESTART: not with a limit of its own.
  bool restarts() const noexcept { return deadline == kNever; }
};

// Waits between attempts at one call.
class Attempts {
 public:
  Attempts(const Call& call, int fd, Direction direction) noexcept
      : call_(call), fd_(fd), direction_(direction) {}

  // Waits after an attempt that failed with EAGAIN. Returns true if the caller should try again;
  // otherwise errno is set, or unwatchable() is true.
  bool again() noexcept;
  bool unwatchable() const noexcept { return unwatchable_; }
  // The flag of the next attempt to receive: MSG_DONTWAIT, or 0 for a socket that is shut down for
  // reading: a datagram socket reports its end only to a call that may block.
  int flag() const noexcept { return shut_down_ ? 0 : MSG_DONTWAIT; }
  // Notes that bytes have moved.
  void progress() noexcept {
    fruitless_ = 0;
    call_.progress();
  }

 private:
  const Call& call_;
  int fd_;
  Direction direction_;
  bool unwatchable_ = false;
  bool woken_ = false;
  bool shut_down_ = false;
  int fruitless_ = 0;
  std::optional<Patience> patience_;
  Backoff backoff_;
};

// Repeats `attempt`, a call that does not block, until it succeeds or fails for good. An attempt to
// receive takes a flag, see Attempts::flag().
template <class F>
auto when_possible(const Call& call, int fd, Direction direction, F attempt) noexcept {
  Attempts attempts(call, fd, direction);
  for (;;) {
    const auto result = [&] {
      if constexpr (std::is_invocable_v<F&, int>)
        return attempt(attempts.flag());
      else
        return attempt();
    }();
    if (result >= 0) return call.done(result);
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !attempts.again()) return result;
  }
}

// An array of buffers of which the first bytes are done. Does not write to the user's array.
class Buffers {
 public:
  Buffers() noexcept : Buffers(nullptr, 0) {}
  Buffers(const iovec* vectors, std::size_t count) noexcept : rest_(vectors), count_(count) {}
  void begin(const iovec* vectors, std::size_t count) noexcept {
    rest_ = vectors;
    count_ = count;
  }
  // The remaining buffers; after a part of a buffer, perhaps only the first of them.
  const iovec* data() noexcept;
  std::size_t count() const noexcept { return skip_ == 0 ? count_ : std::min(kMost, count_); }
  bool empty() noexcept {
    advance(0);
    return count_ == 0;
  }
  void advance(std::size_t bytes) noexcept;
  // Marks all buffers as done.
  void end() noexcept { count_ = 0; }

 private:
  static constexpr std::size_t kMost = 64;
  const iovec* rest_;
  std::size_t count_;
  std::size_t skip_ = 0;  // bytes of the first buffer that are done
  iovec copy_[kMost];
};

// Whether the socket's connection is over, and nothing is left to be read.
bool is_hung_up(int fd, Direction direction) noexcept;

// Repeats `attempt(buffers)` until all buffers are done, or an attempt fails after some bytes. An
// attempt of a socket takes flags, too. A call that has moved bytes returns their number; a signal,
// or the error of a connection that ends meanwhile, is reported by the next call.
template <class F>
ssize_t whole(const Call& call, int fd, Direction direction, Buffers& buffers, F attempt) noexcept {
  constexpr bool kIsSocket = std::is_invocable_v<F&, Buffers&, int>;
  ssize_t total = 0;
  Attempts attempts(call, fd, direction);
  for (;;) {
    const ssize_t count = [&] {
      if constexpr (kIsSocket)
        return attempt(buffers, total > 0 && direction == Direction::writing
                                    ? MSG_DONTWAIT | MSG_NOSIGNAL
                                    : MSG_DONTWAIT);
      else
        return attempt(buffers);
    }();
    if (count > 0) {
      total += count;
      attempts.progress();
      buffers.advance(static_cast<std::size_t>(count));
      if (!buffers.empty()) continue;
      return call.done(total);
    }
    if (count == 0) return call.done(total);
    if (errno == EINTR) continue;
    if (errno == EAGAIN && attempts.again() &&
        !(kIsSocket && total > 0 && is_hung_up(fd, direction)))
      continue;
    return total > 0 ? call.done(total) : -1;
  }
}

// Sets O_NONBLOCK while it lives, for a call that has no flag for not blocking. Other processes may
// share the setting: to live as long as one system call takes.
class NonBlocking {
 public:
  NonBlocking(int fd, int flags) noexcept;
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;
  ~NonBlocking();

 private:
  int fd_;
  int flags_;
};

bool is_stream_socket(int fd) noexcept;

// Whether the descriptor is ready at this moment; true for files on disks.
bool is_ready(int fd, Direction direction) noexcept;

// Whether the pipe has a writer or unread bytes: without either the kernel's read returns 0 at
// once, while poll() waits for the first writer. `scratch` is the write end of another pipe, to
// which a byte may be copied.
bool has_writer(int fd, int scratch) noexcept;
// Like has_writer() above, with a scratch pipe of its own; true if no descriptor is left for one.
bool has_writer(int fd) noexcept;

// Whether the descriptor is open for reading, or for writing.
bool is_open_for(int fd, Direction direction) noexcept;

// Writes like write().
ssize_t write_all(const Call& call, int fd, const void* data, std::size_t size) noexcept;

}  // namespace fiber::monkey::detail
