// alarm() and its handler: old code limits the time of a call by them.
//
// The signal interrupts whatever the thread runs at that moment: perhaps the loop, or another task,
// on another stack than the one to which the handler may jump (siglongjmp). So while the task that
// set the alarm waits in a patched call, that call runs the handler, on the task's own stack, and
// then fails with EINTR. While the task itself runs, the signal is handled as usual.
#pragma once

#include <fiber/monkey/waiting.hpp>

namespace fiber::monkey::detail {

// Returns when the task's alarm rings, on the loop's clock; kNever if the task has no alarm.
std::int64_t alarm_of(const TaskBase& task) noexcept;

// Calls the program's handler, which may jump away. To be called in the task that has set the
// alarm, when the alarm rings. Returns true if interrupted calls should go on (SA_RESTART).
bool run_alarm_handler();

}  // namespace fiber::monkey::detail
