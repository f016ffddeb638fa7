// Waiting for a signal that is blocked.
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <csignal>

#include <sys/signalfd.h>

namespace fiber::monkey::detail {
namespace {

// The signalfd is only watched: the real sigtimedwait takes the signal.
int sigtimedwait_(const sigset_t* set, siginfo_t* info, const timespec* timeout) noexcept {
  const Call call;
  if (!call || set == nullptr || !is_usable(timeout) || (timeout != nullptr && !is_valid(*timeout)))
    return real().sigtimedwait(set, info, timeout);
  const std::int64_t deadline =
      timeout != nullptr ? call.deadline_after(nanoseconds(*timeout)) : kNever;
  const auto attempt = [=] {
    const timespec none{};
    return real().sigtimedwait(set, info, &none);
  };
  int signal = attempt();
  if (signal >= 0) return call.done(signal);
  if (timeout != nullptr && nanoseconds(*timeout) == 0) return signal;  // a question, no wait
  HeldDescriptor pending(call, ::signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC));
  Backoff backoff;
  for (; signal < 0; signal = attempt()) {
    if (errno != EAGAIN && errno != EINTR) return signal;
    if (pending.get() < 0) {
      if (!backoff.pause(call, deadline, false)) return -1;
      continue;
    }
    switch (call.wait(pending.get(), EPOLLIN, deadline, false)) {
      case Wake::timed_out: errno = EAGAIN; return -1;
      case Wake::failed:
        if (!pending.has_failed_as_lost()) return -1;
        break;
      default: pending.has_lost(); break;
    }
  }
  return call.done(signal);
}

int sigwaitinfo_(const sigset_t* set, siginfo_t* info) noexcept {
  return sigtimedwait_(set, info, nullptr);
}

// Returns the error instead of setting errno. As in libc no handler ends it.
int sigwait_(const sigset_t* set, int* signal) noexcept {
  const Call call;
  if (!call || set == nullptr || signal == nullptr) return real().sigwait(set, signal);
  const int before = errno;
  int found = -1;
  do found = sigtimedwait_(set, nullptr, nullptr);
  while (found < 0 && errno == EINTR && !call.task().has_told_library());
  const int error = found < 0 ? errno : 0;
  if (found >= 0) *signal = found;
  errno = before;
  return error;
}

}  // namespace

std::span<const Hook> signal_hooks() noexcept {
  static const Hook hooks[] = {
      hook<sigtimedwait_>("sigtimedwait"),
      hook<sigwaitinfo_>("sigwaitinfo"),
      hook<sigwait_>("sigwait"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
