// Futexes: what std::atomic::wait, std::latch, std::counting_semaphore, GLib's GMutex and GCond and
// the locks of other languages wait for, by syscall().
//
// A task that waited in the kernel would stop its thread, and with it the task that is to change
// the word. So it looks at the word again, after 25 ms at most. Wake-ups without a reason are part
// of the interface; a cancelled wait is interrupted (EINTR).
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/syscalls.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>

namespace fiber::monkey::detail {

#if defined(SYS_futex) && defined(__LP64__)
namespace {

// Whether the kernel waits: it refuses a wait for no bit, and a length of time by the time of day.
bool is_wait(long operation, long bits) noexcept {
  const long command = operation & FUTEX_CMD_MASK;
  if (command == FUTEX_WAIT) return (operation & FUTEX_CLOCK_REALTIME) == 0;
  return command == FUTEX_WAIT_BITSET && static_cast<std::uint32_t>(bits) != 0;
}

// A limit of FUTEX_WAIT is a length of time, one of FUTEX_WAIT_BITSET a time of day or of the
// monotonic clock.
std::int64_t deadline_of(const Call& call, long operation, const timespec& limit) noexcept {
  if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT) return call.deadline_after(nanoseconds(limit));
  const bool is_of_day = (operation & FUTEX_CLOCK_REALTIME) != 0;
  return call.deadline_at(is_of_day ? CLOCK_REALTIME : CLOCK_MONOTONIC, limit);
}

long wait_for_change(const std::uint32_t* word, long operation, std::uint32_t value,
                     const timespec* limit) noexcept {
  const PolicyOfCall policy(PolicyOfCall::get() == Cancel::never ? Cancel::never
                                                                 : Cancel::interrupt);
  const Call call;
  const auto has_changed = [=] { return __atomic_load_n(word, __ATOMIC_ACQUIRE) != value; };
  if (has_changed()) {
    errno = EAGAIN;
    return -1;
  }
  // A wake-up without a change of the word is not seen: there is one after a while.
  constexpr std::int64_t kLongest = kSecond;
  const std::int64_t deadline = limit != nullptr ? deadline_of(call, operation, *limit) : kNever;
  const std::int64_t end = std::min(deadline, call.deadline_after(kLongest));
  Backoff backoff;
  while (!has_changed()) {
    // A wait with a time limit is never restarted after a handler.
    if (backoff.pause(call, end, limit == nullptr)) continue;
    if (errno != EAGAIN) return -1;
    if (end != deadline) break;
    errno = ETIMEDOUT;
    return -1;
  }
  return call.done(0L);
}

}  // namespace

bool is_futex_wait(const SyscallArguments& given) noexcept {
  const auto* limit = reinterpret_cast<const timespec*>(given[3]);
  const auto* word = reinterpret_cast<const std::uint32_t*>(given[0]);
  return is_wait(given[1], given[5]) && given[0] % alignof(std::uint32_t) == 0 &&
         is_readable(word) && is_usable(limit) && (limit == nullptr || is_valid(*limit));
}

long wait_for_futex(const SyscallArguments& given) noexcept {
  return wait_for_change(reinterpret_cast<const std::uint32_t*>(given[0]), given[1],
                         static_cast<std::uint32_t>(given[2]),
                         reinterpret_cast<const timespec*>(given[3]));
}
#endif

}  // namespace fiber::monkey::detail
