// Waiting for many descriptors: poll, select, epoll_wait.
//
// The real call, with a time limit of 0, decides and fills in the results; the loop only reports
// when to repeat the call.
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <sys/select.h>

namespace fiber::monkey::detail {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
// The interval at which the real call is repeated so that signals of a mask are delivered.
constexpr std::int64_t kSignalInterval = 20 * kMillisecond;

// The descriptors to wait for; a small number needs no allocation.
class Waits {
 public:
  // Throws std::bad_alloc.
  Waits(const Call& call, std::size_t most) {
    if (most > std::size(few_)) all_ = many_.make(call, most);
  }
  void add(int fd, std::uint32_t events) noexcept {
    all_[count_].fd = fd;
    all_[count_++].events = events;
  }
  std::span<DescriptorWait> all() noexcept { return {all_, count_}; }

 private:
  DescriptorWait few_[8];
  HeldMemory<DescriptorWait> many_;
  DescriptorWait* all_ = few_;
  std::size_t count_ = 0;
};

// Repeats `now()`, the call that does not wait and has returned 0, until it returns another value
// or the time is over.
template <class Ask>
int ask_again(const Call& call, Waits& waits, std::int64_t timeout, bool has_mask,
              Ask now) noexcept {
  const std::int64_t deadline = timeout < 0 ? kNever : call.deadline_after(timeout);
  for (;;) {
    const std::int64_t until =
        has_mask ? std::min(deadline, call.deadline_after(kSignalInterval)) : deadline;
    const Wake wake = call.wait(waits.all(), until);
    // The real call reports a descriptor that was closed meanwhile.
    if (wake == Wake::failed && errno != EBADF) return -1;
    const int result = now();
    if (result != 0) return result > 0 ? call.done(result) : result;
    if ((wake == Wake::timed_out && until == deadline) || wake == Wake::unwatchable)
      return call.done(0);
    if (wake == Wake::failed) {
      errno = EBADF;
      return -1;
    }
  }
}

// Like ask_again(), but begins with the first call of `now()`.
template <class Ask>
int until_ready(const Call& call, Waits& waits, std::int64_t timeout, bool has_mask,
                Ask now) noexcept {
  const int result = now();
  if (result != 0 || timeout == 0) return result >= 0 ? call.done(result) : result;
  return ask_again(call, waits, timeout, has_mask, now);
}

template <class Ask>
int poll_with(const Call& call, const pollfd* descriptors, nfds_t count, std::int64_t timeout,
              bool has_mask, Ask now) noexcept {
  // First of all the real call, which refuses a count that is too large.
  const int result = now();
  if (result != 0 || timeout == 0) return result >= 0 ? call.done(result) : result;
  try {
    Waits waits(call, count);
    for (nfds_t i = 0; i < count; ++i)
      if (descriptors[i].fd >= 0)
        waits.add(descriptors[i].fd, static_cast<std::uint16_t>(descriptors[i].events));
    return ask_again(call, waits, timeout, has_mask, now);
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
    return -1;
  }
}

// libc's functions read their time limits themselves.
int fault() noexcept {
  errno = EFAULT;
  return -1;
}

// The kernel looks at 32 bits of the count.
nfds_t looked_at(nfds_t count) noexcept { return static_cast<unsigned>(count); }

int poll_(pollfd* descriptors, nfds_t count, int timeout) noexcept {
  const Call call;
  count = looked_at(count);
  if (!call || timeout == 0) return real().poll(descriptors, count, timeout);
  if (descriptors == nullptr && count != 0) return real().poll(descriptors, count, 0);
  return poll_with(call, descriptors, count, timeout < 0 ? -1 : timeout * kMillisecond, false,
                   [=] { return real().poll(descriptors, count, 0); });
}

int ppoll_(pollfd* descriptors, nfds_t count, const timespec* timeout,
           const sigset_t* mask) noexcept {
  const Call call;
  if (call && !is_usable(timeout)) return fault();
  count = looked_at(count);
  if (!call || (timeout != nullptr && !is_valid(*timeout)) ||
      (descriptors == nullptr && count != 0))
    return real().ppoll(descriptors, count, timeout, mask);
  return poll_with(call, descriptors, count, timeout == nullptr ? -1 : nanoseconds(*timeout),
                   mask != nullptr, [=] {
                     const timespec none{};
                     return real().ppoll(descriptors, count, &none, mask);
                   });
}

int poll_chk_(pollfd* descriptors, nfds_t count, int timeout, std::size_t room) noexcept {
  if (room / sizeof(pollfd) < count) return real().poll_chk(descriptors, count, timeout, room);
  return poll_(descriptors, count, timeout);
}

int ppoll_chk_(pollfd* descriptors, nfds_t count, const timespec* timeout, const sigset_t* mask,
               std::size_t room) noexcept {
  if (room / sizeof(pollfd) < count)
    return real().ppoll_chk(descriptors, count, timeout, mask, room);
  return ppoll_(descriptors, count, timeout, mask);
}

// --- select -------------------------------------------------------------------------------------

// The three sets of a select, with as many words as the kernel reads: programs may have larger sets
// than FD_SETSIZE.
class Sets {
 public:
  // Whether the kernel can read a set of so many descriptors.
  static bool is_readable(int count, const fd_set* set) noexcept {
    return set == nullptr || detail::is_readable(set, words_of(count) * sizeof(unsigned long));
  }
  // Throws std::bad_alloc.
  Sets(const Call& call, int count, fd_set* reading, fd_set* writing, fd_set* except)
      : words_(words_of(count)), users_{reading, writing, except} {
    if (count > FD_SETSIZE) asked_ = many_.make(call, 3 * words_);
    for (std::size_t i = 0; i < 3; ++i)
      if (users_[i] != nullptr)
        std::copy_n(reinterpret_cast<const unsigned long*>(users_[i]), words_, part(i));
  }
  // Fills the caller's sets again after a call that found nothing and emptied them: while the task
  // waits, and after a failure or a jump out of a signal handler, the sets are unchanged.
  void restore() noexcept {
    for (std::size_t i = 0; i < 3; ++i)
      if (users_[i] != nullptr)
        std::copy_n(part(i), words_, reinterpret_cast<unsigned long*>(users_[i]));
  }
  // Empties the caller's sets, at the end of the time limit.
  void clear() noexcept {
    for (fd_set* set : users_)
      if (set != nullptr) std::fill_n(reinterpret_cast<unsigned long*>(set), words_, 0UL);
  }
  std::size_t size() const noexcept {
    std::size_t bits = 0;
    for (std::size_t i = 0; i < 3 * words_; ++i)
      bits += static_cast<std::size_t>(__builtin_popcountl(asked_[i]));
    return bits;
  }
  void add_to(Waits& waits, int count) noexcept {
    constexpr std::uint32_t kEvents[] = {EPOLLIN, EPOLLOUT, EPOLLPRI};
    for (std::size_t i = 0; i < 3; ++i) {
      if (users_[i] == nullptr) continue;
      for (int fd = 0; fd < count; ++fd) {
        const auto at = static_cast<std::size_t>(fd);
        if ((part(i)[at / kBits] >> (at % kBits) & 1U) != 0) waits.add(fd, kEvents[i]);
      }
    }
  }

 private:
  static constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  static std::size_t words_of(int count) noexcept {
    return (static_cast<std::size_t>(count) + kBits - 1) / kBits;
  }
  unsigned long* part(std::size_t i) noexcept { return asked_ + i * words_; }

  std::size_t words_;
  fd_set* users_[3];
  unsigned long few_[3 * FD_SETSIZE / kBits]{};
  HeldMemory<unsigned long> many_;
  unsigned long* asked_ = few_;
};

// The kernel looks at no more bits than its table of this process has places; programs that pass
// getdtablesize() have shorter sets.
int looked_at(int count) noexcept {
  if (count <= FD_SETSIZE) return count;
  char text[1024];
  const int fd = real().open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return count;
  const ssize_t size = real().read(fd, text, sizeof text - 1);
  real().close(fd);
  if (size <= 0) return count;
  text[size] = 0;
  const char* found = std::strstr(text, "\nFDSize:");
  const int places = found != nullptr ? std::atoi(found + std::strlen("\nFDSize:")) : 0;
  return places > 0 ? std::min(count, places) : count;
}

bool are_readable(int count, const fd_set* reading, const fd_set* writing,
                  const fd_set* except) noexcept {
  return Sets::is_readable(count, reading) && Sets::is_readable(count, writing) &&
         Sets::is_readable(count, except);
}

template <class Ask>
int select_with(const Call& call, int count, fd_set* reading, fd_set* writing, fd_set* except,
                std::int64_t timeout, bool has_mask, Ask now) noexcept {
  try {
    Sets sets(call, count, reading, writing, except);
    Waits waits(call, sets.size());
    sets.add_to(waits, count);
    const int result = until_ready(call, waits, timeout, has_mask, [&] {
      const int found = now();
      if (found == 0) sets.restore();
      return found;
    });
    if (result == 0) sets.clear();
    return result;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
    return -1;
  }
}

int select_(int count, fd_set* reading, fd_set* writing, fd_set* except,
            timeval* timeout) noexcept {
  const Call call;
  if (call && !is_usable(timeout)) return fault();
  if (!call || count < 0 || (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
    return real().select(count, reading, writing, except, timeout);
  count = looked_at(count);
  if (!are_readable(count, reading, writing, except)) return fault();
  const std::int64_t limit =
      timeout == nullptr ? -1
                         : nanoseconds({.tv_sec = timeout->tv_sec + timeout->tv_usec / 1'000'000,
                                        .tv_nsec = timeout->tv_usec % 1'000'000 * 1000});
  const std::int64_t end = limit > 0 ? call.deadline_after(limit) : 0;
  const int result = select_with(call, count, reading, writing, except, limit, false, [=] {
    timeval none{};
    return real().select(count, reading, writing, except, &none);
  });
  // Linux writes the remaining time to `timeout`.
  if (timeout != nullptr && limit > 0) {
    const std::int64_t rest = std::max<std::int64_t>(end - call.now(), 0) / 1000;
    timeout->tv_sec = rest / 1'000'000;
    timeout->tv_usec = rest % 1'000'000;
  }
  return result;
}

int pselect_(int count, fd_set* reading, fd_set* writing, fd_set* except, const timespec* timeout,
             const sigset_t* mask) noexcept {
  const Call call;
  if (call && !is_usable(timeout)) return fault();
  if (!call || count < 0 || (timeout != nullptr && !is_valid(*timeout)))
    return real().pselect(count, reading, writing, except, timeout, mask);
  count = looked_at(count);
  if (!are_readable(count, reading, writing, except)) return fault();
  return select_with(call, count, reading, writing, except,
                     timeout == nullptr ? -1 : nanoseconds(*timeout), mask != nullptr, [=] {
                       const timespec none{};
                       return real().pselect(count, reading, writing, except, &none, mask);
                     });
}

// --- epoll --------------------------------------------------------------------------------------

// The kernel's epoll_pwait takes no signal of its mask if it does not wait; ppoll does.
int ready_now(int fd, epoll_event* events, int most, const sigset_t* mask) noexcept {
  const int result = real().epoll_pwait(fd, events, most, 0, mask);
  const timespec none{};
  return result == 0 && mask != nullptr ? real().ppoll(nullptr, 0, &none, mask) : result;
}

int epoll_pwait_(int fd, epoll_event* events, int most, int timeout,
                 const sigset_t* mask) noexcept {
  const Call call;
  if (!call || timeout == 0 || most <= 0)
    return real().epoll_pwait(fd, events, most, timeout, mask);
  Waits waits(call, 1);
  waits.add(fd, EPOLLIN);
  return until_ready(call, waits, timeout < 0 ? -1 : timeout * kMillisecond, mask != nullptr,
                     [=] { return ready_now(fd, events, most, mask); });
}

int epoll_pwait2_(int fd, epoll_event* events, int most, const timespec* timeout,
                  const sigset_t* mask) noexcept {
  const Call call;
  if (!call || most <= 0 || !is_usable(timeout) || (timeout != nullptr && !is_valid(*timeout)))
    return real().epoll_pwait2(fd, events, most, timeout, mask);
  Waits waits(call, 1);
  waits.add(fd, EPOLLIN);
  return until_ready(call, waits, timeout == nullptr ? -1 : nanoseconds(*timeout), mask != nullptr,
                     [=] { return ready_now(fd, events, most, mask); });
}

int epoll_wait_(int fd, epoll_event* events, int most, int timeout) noexcept {
  const Call call;
  if (!call) return real().epoll_wait(fd, events, most, timeout);
  return epoll_pwait_(fd, events, most, timeout, nullptr);
}

}  // namespace

std::span<const Hook> poll_hooks() noexcept {
  static const Hook hooks[] = {
      hook<poll_>("poll"),
      hook<poll_>("__poll"),
      hook<poll_chk_>("__poll_chk"),
      hook<ppoll_>("ppoll"),
      hook<ppoll_chk_>("__ppoll_chk"),
      hook<select_>("select"),
      hook<select_>("__select"),
      hook<pselect_>("pselect"),
      hook<epoll_wait_>("epoll_wait"),
      hook<epoll_pwait_>("epoll_pwait"),
      hook<epoll_pwait2_>("epoll_pwait2"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
