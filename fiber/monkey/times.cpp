// sleep and its relatives: on the loop's clock.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>

namespace fiber::monkey::detail {
namespace {

timespec as_timespec(std::int64_t time) noexcept {
  return {.tv_sec = time / kSecond, .tv_nsec = time % kSecond};
}

// Sleeps, and returns the remaining time if cut short, else 0.
std::int64_t sleep_for(const Call& call, std::int64_t time) noexcept {
  const std::int64_t deadline = call.deadline_after(time);
  if (call.sleep_until(deadline) == Wake::timed_out) return call.done(0);
  const int error = errno;
  const std::int64_t rest = std::max<std::int64_t>(deadline - call.now(), 1);
  errno = error;
  return rest;
}

unsigned sleep_(unsigned seconds) noexcept {
  const Call call;
  if (!call) return real().sleep(seconds);
  const std::int64_t left = sleep_for(call, seconds * kSecond);
  // Whole seconds, as in glibc. An alarm that was due at a whole second wakes the task a little
  // later, which takes no second away.
  constexpr std::int64_t kLateness = kSecond / 100;
  return static_cast<unsigned>((left + kLateness) / kSecond);
}

int usleep_(useconds_t microseconds) noexcept {
  const Call call;
  if (!call) return real().usleep(microseconds);
  return sleep_for(call, std::int64_t{microseconds} * 1000) == 0 ? 0 : -1;
}

int nanosleep_(const timespec* time, timespec* rest) noexcept {
  const Call call;
  if (!call || !is_readable(time) || !is_valid(*time)) return real().nanosleep(time, rest);
  const std::int64_t left = sleep_for(call, nanoseconds(*time));
  if (left == 0) return 0;
  if (rest != nullptr) give(rest, as_timespec(left));
  return -1;
}

// Returns the error instead of setting errno.
int clock_nanosleep_(clockid_t clock, int flags, const timespec* time, timespec* rest) noexcept {
  const Call call;
  const bool known = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC ||
                     clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
  if (!call || !known || !is_readable(time) || !is_valid(*time))
    return real().clock_nanosleep(clock, flags, time, rest);
  std::int64_t length = nanoseconds(*time);
  const bool absolute = (flags & TIMER_ABSTIME) != 0;
  if (absolute) {
    timespec now{};
    ::clock_gettime(clock, &now);
    length = std::max<std::int64_t>(length - nanoseconds(now), 0);
  }
  const int before = errno;
  const std::int64_t left = sleep_for(call, length);
  if (left != 0 && rest != nullptr && !absolute) give(rest, as_timespec(left));
  const int error = errno;
  errno = before;
  return left == 0 ? 0 : error;
}

// Lets other tasks run: the caller may be spinning until another task has done something.
int sched_yield_() noexcept {
  const Call call;
  if (!call) return real().sched_yield();
  sleep_for(call, 0);
  return call.done(0);
}

int thrd_sleep_(const timespec* time, timespec* rest) noexcept {
  const int error = clock_nanosleep_(CLOCK_REALTIME, 0, time, rest);
  return error == 0 ? 0 : (error == EINTR ? -1 : -2);
}

void thrd_yield_() noexcept { sched_yield_(); }

}  // namespace

std::span<const Hook> time_hooks() noexcept {
  static const Hook hooks[] = {
      hook<sleep_>("sleep"),
      hook<usleep_>("usleep"),
      hook<nanosleep_>("nanosleep"),
      hook<nanosleep_>("__nanosleep"),
      hook<clock_nanosleep_>("clock_nanosleep"),
      hook<sched_yield_>("sched_yield"),
      hook<sched_yield_>("__sched_yield"),
      hook<sched_yield_>("pthread_yield"),
      hook<thrd_sleep_>("thrd_sleep"),
      hook<thrd_yield_>("thrd_yield"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
