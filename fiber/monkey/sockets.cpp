// accept, connect, and the functions that close descriptors.
#include <fiber/asyncio/selectors.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <limits>

#include <fcntl.h>

namespace fiber::monkey::detail {
namespace {

bool listens(int fd) noexcept {
  int yes = 0;
  socklen_t size = sizeof yes;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

// accept has no flag for a single call without blocking, so poll() is called first. If another
// process takes the connection in between, the thread blocks until the next one.
bool until_acceptable(const Call& call, int fd) noexcept {
  Attempts attempts(call, fd, Direction::reading);
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  while (real().poll(&one, 1, 0) == 0) {
    if (!listens(fd)) return true;  // the call fails at once with the right error
    if (!attempts.again()) return attempts.unwatchable();
  }
  return true;
}

int accept_(int fd, sockaddr* address, socklen_t* length) noexcept {
  const Call call;
  if (call && !until_acceptable(call, fd)) return -1;
  const int result = real().accept(fd, address, length);
  return call ? call.done(result) : result;
}

int accept4_(int fd, sockaddr* address, socklen_t* length, int flags) noexcept {
  const Call call;
  const bool is_valid = (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == 0;
  if (call && is_valid && !until_acceptable(call, fd)) return -1;
  const int result = real().accept4(fd, address, length, flags);
  return call ? call.done(result) : result;
}

int begin_connect(int fd, int flags, const sockaddr* address, socklen_t length) noexcept {
  const NonBlocking scope(fd, flags);
  return real().connect(fd, address, length);
}

// Waits until the kernel has finished a connect(). The caller then calls connect() once more, which
// returns the result and makes the socket connected, or free for another connect().
bool until_connected(const Call& call, int fd, const Patience& patience, int& begun) noexcept {
  if (begun == 0) {
    begun = errno;
  } else if (errno == EINPROGRESS) {  // a protocol that lets a failed connect() be repeated
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0) {
      errno = error;
      return false;
    }
  }
  const Wake wake = call.wait(fd, EPOLLOUT, patience.deadline, patience.restarts());
  if (wake == Wake::timed_out) errno = begun;
  return wake != Wake::timed_out && wake != Wake::failed;
}

int connect_(int fd, const sockaddr* address, socklen_t length) noexcept {
  const Call call;
  if (!call) return real().connect(fd, address, length);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return real().connect(fd, address, length);
  const auto patience = Patience::of(call, fd, Direction::writing);
  if (!patience) return -1;
  Backoff backoff;
  int begun = 0;  // the error of the first call that left the kernel at work
  for (;;) {
    if (begin_connect(fd, flags, address, length) == 0) return call.done(0);
    if (begun != 0 && errno == EISCONN) return call.done(0);  // connected meanwhile
    if (errno == EINPROGRESS || errno == EALREADY) {
      if (!until_connected(call, fd, *patience, begun)) return -1;
    } else if (errno != EAGAIN || !backoff.pause(call, patience->deadline, patience->restarts())) {
      return -1;  // EAGAIN: the backlog of a Unix server is full, and nothing reports room there
    }
  }
}

// Wakes tasks of this thread's loop that wait for the descriptor: its number may be reused at once.
void tell_waiters(int fd) noexcept {
  asyncio::detail::LoopObject* loop = own_loop();
  if (loop == nullptr || !loop->selector().must_know_of_closing(fd) || in_foreign_process()) return;
  const int error = errno;
  loop->selector().closing(fd);
  errno = error;
}

// Whether a loop of this process owns the descriptor: code that closes all unknown descriptors must
// not close it.
bool is_kept(int fd) noexcept {
  return asyncio::detail::Selector::is_own(fd) && !in_foreign_process();
}

// Closes the numbers that are the program's, and wakes the tasks that wait for them.
int close_all_of(unsigned first, unsigned last, int flags) noexcept {
  const unsigned end = std::min(last, own_loop()->selector().highest());
  for (unsigned fd = first; fd <= end; ++fd) tell_waiters(static_cast<int>(fd));
  return real().close_range(first, last, flags);
}

int close_between(unsigned first, unsigned last, int flags) noexcept {
  using asyncio::detail::Selector;
  constexpr unsigned kMost = std::numeric_limits<int>::max();
  unsigned begin = first;
  while (begin <= std::min(last, kMost)) {
    const int next = Selector::next_own(static_cast<int>(begin));
    const auto kept = static_cast<unsigned>(next);
    if (next < 0 || kept > last) break;
    if (kept > begin) close_all_of(begin, kept - 1, flags);
    begin = kept + 1;
  }
  return begin <= last ? close_all_of(begin, last, flags) : 0;
}

int close_range_(unsigned first, unsigned last, int flags) noexcept {
  constexpr int kCloseOnExec = 4;
  if (own_loop() == nullptr || in_foreign_process() || first > last || (flags & kCloseOnExec) != 0)
    return real().close_range(first, last, flags);
  return close_between(first, last, flags);
}

void closefrom_(int first) noexcept {
  if (own_loop() == nullptr || in_foreign_process() || real().close_range == nullptr)
    real().closefrom(first);
  else
    close_between(static_cast<unsigned>(std::max(first, 0)), ~0U, 0);
}

// Not noexcept: pthread_cancel() unwinds a thread from here.
int close_(int fd) {
  if (own_loop() != nullptr && is_kept(fd)) {
    errno = EBADF;
    return -1;
  }
  tell_waiters(fd);
  return real().close(fd);
}

// Prepares `to` for becoming a duplicate of `from`: wakes tasks that wait for `to`, and makes a
// loop that owns `to` take another number. Returns false, with errno, if there is no other number.
bool vacate(int from, int to) noexcept {
  if (from == to || ::fcntl(from, F_GETFD) < 0) return true;
  tell_waiters(to);
  if (own_loop() == nullptr || !is_kept(to)) return true;
  const int error = asyncio::detail::Selector::make_way(to);
  if (error != 0) errno = error;
  return error == 0;
}

int dup2_(int from, int to) noexcept {
  if (!vacate(from, to)) return -1;
  return real().dup2(from, to);
}

int dup3_(int from, int to, int flags) noexcept {
  if (!vacate(from, to)) return -1;
  return real().dup3(from, to, flags);
}

}  // namespace

std::span<const Hook> socket_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<closefrom_>("closefrom"),
      plain_hook<close_range_>("close_range"),
      hook<accept_>("accept"),
      hook<accept4_>("accept4"),
      hook<connect_>("connect"),
      hook<connect_>("__connect"),
      plain_hook<close_>("close"),
      plain_hook<close_>("__close"),
      plain_hook<dup2_>("dup2"),
      plain_hook<dup2_>("__dup2"),
      plain_hook<dup3_>("dup3"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
