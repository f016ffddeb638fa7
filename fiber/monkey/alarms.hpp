// alarm() and its handler: old code limits the time of a call by them.
//
// The signal interrupts whatever the thread runs at that moment: perhaps the loop, or another task,
// on another stack than the one to which the handler may jump (siglongjmp). So while the task that
// set the alarm waits in a patched call, the kernel's timer (ITIMER_REAL) is put away: the wait
// ends at the moment at which the alarm would have rung, and the signal is raised then, on the
// task's own stack. The handler, the mask and the flags are the program's and the kernel's: none is
// kept here. At all other times the kernel's timer runs.
#pragma once

#include <fiber/monkey/waiting.hpp>

namespace fiber::monkey::detail {

// The alarm during one wait of the task, if the task has set it. The kernel's timer runs on with
// the time that is left when the wait ends.
class AlarmOfWait {
 public:
  explicit AlarmOfWait(const Call& call) noexcept;
  AlarmOfWait(const AlarmOfWait&) = delete;
  AlarmOfWait& operator=(const AlarmOfWait&) = delete;
  ~AlarmOfWait();

  // When the alarm rings, on the loop's clock; kNever if there is none.
  std::int64_t due() const noexcept { return due_; }
  // Returns whether the alarm rings now: it does so once. Its next time, if it repeats, is given to
  // the kernel. Returns false if other code has changed the timer meanwhile.
  bool rings() noexcept;

 private:
  friend struct RealTimer;
  const Call& call_;
  std::int64_t due_ = kNever;
  std::int64_t since_ = 0;     // of the monotonic clock
  std::int64_t left_ = 0;      // then
  std::int64_t interval_ = 0;  // 0: it rings once
};

// How a raised signal affects the call during which it is raised.
enum class Interruption : std::uint8_t { none, restarts, interrupts };
// Raises SIGALRM in this thread, whose handler may jump away.
Interruption raise_alarm() noexcept;

// In a forked child, which has no alarm.
void forget_alarm() noexcept;

}  // namespace fiber::monkey::detail
