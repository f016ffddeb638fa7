#include <fiber/monkey/descriptor.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>

namespace fiber::monkey::detail {

std::optional<Patience> Patience::of(const Call& call, int fd, Direction direction) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return std::nullopt;
  Patience found{.nonblocking = (flags & O_NONBLOCK) != 0};
  if (found.nonblocking) return found;
  timeval limit{};
  socklen_t size = sizeof limit;
  const int option = direction == Direction::reading ? SO_RCVTIMEO : SO_SNDTIMEO;
  if (::getsockopt(fd, SOL_SOCKET, option, &limit, &size) == 0 &&
      (limit.tv_sec != 0 || limit.tv_usec != 0))
    found.deadline = call.deadline_after(
        nanoseconds({.tv_sec = limit.tv_sec, .tv_nsec = limit.tv_usec * 1'000}));
  return found;
}

namespace {

bool is_shut_down_for_reading(int fd) noexcept {
  pollfd one{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return real().poll(&one, 1, 0) > 0 && (one.revents & POLLRDHUP) != 0;
}

}  // namespace

bool Attempts::again() noexcept {
  if (!patience_) patience_ = Patience::of(call_, fd_, direction_);
  if (!patience_) return false;
  if (patience_->nonblocking) {
    call_.would_wait();
    return false;
  }
  // Ready, but the attempt failed: several tasks wait for one descriptor, or the task sends to a
  // Unix datagram socket with a slow receiver, which is ready all the time.
  constexpr int kPatiently = 2;
  if (std::exchange(woken_, false)) {
    if (direction_ == Direction::reading && !shut_down_) {
      shut_down_ = is_shut_down_for_reading(fd_);
      if (shut_down_) return true;
    }
    if (++fruitless_ > kPatiently)
      return backoff_.pause(call_, patience_->deadline, patience_->restarts());
  }
  switch (call_.wait(fd_, direction_ == Direction::reading ? EPOLLIN : EPOLLOUT,
                     patience_->deadline, patience_->restarts())) {
    case Wake::ready: woken_ = true; return true;
    case Wake::timed_out: errno = EAGAIN; return false;
    case Wake::failed:
    case Wake::cancelled: return false;
    case Wake::unwatchable: unwatchable_ = true; return false;
  }
  return false;
}

const iovec* Buffers::data() noexcept {
  if (skip_ == 0) return rest_;
  std::copy_n(rest_, count(), copy_);
  copy_[0].iov_base = static_cast<char*>(copy_[0].iov_base) + skip_;
  copy_[0].iov_len -= skip_;
  return copy_;
}

void Buffers::advance(std::size_t bytes) noexcept {
  skip_ += bytes;
  for (; count_ > 0 && skip_ >= rest_->iov_len; ++rest_, --count_) skip_ -= rest_->iov_len;
}

NonBlocking::NonBlocking(int fd, int flags) noexcept : fd_(fd), flags_(flags) {
  ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
}
NonBlocking::~NonBlocking() {
  const int error = errno;
  ::fcntl(fd_, F_SETFL, flags_);
  errno = error;
}

bool is_stream_socket(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

bool is_hung_up(int fd, Direction direction) noexcept {
  pollfd one{.fd = fd, .events = 0, .revents = 0};
  int bytes = 0;
  return real().poll(&one, 1, 0) > 0 && (one.revents & POLLHUP) != 0 &&
         (direction == Direction::writing || ::ioctl(fd, FIONREAD, &bytes) != 0 || bytes == 0);
}

bool is_ready(int fd, Direction direction) noexcept {
  pollfd one{.fd = fd,
             .events = static_cast<short>(direction == Direction::reading ? POLLIN : POLLOUT),
             .revents = 0};
  return real().poll(&one, 1, 0) != 0;
}

bool has_writer(int fd, int scratch) noexcept {
  if (is_ready(fd, Direction::reading)) return true;  // bytes, or a writer that has come and gone
  const ssize_t copied = real().tee(fd, scratch, 1, SPLICE_F_NONBLOCK);
  return copied > 0 || (copied < 0 && errno == EAGAIN);
}

bool has_writer(int fd) noexcept {
  int ends[2];
  const int error = errno;
  bool has = true;
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
    const Descriptor scratch_end(ends[0]);
    const Descriptor scratch(ends[1]);
    has = has_writer(fd, scratch.get());
  }
  errno = error;
  return has;
}

bool is_open_for(int fd, Direction direction) noexcept {
  const iovec none{};
  // A call that moves no bytes does not reach the device.
  return (direction == Direction::reading ? real().readv(fd, &none, 1)
                                          : real().writev(fd, &none, 1)) >= 0;
}

}  // namespace fiber::monkey::detail
