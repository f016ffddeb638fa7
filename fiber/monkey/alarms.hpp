// alarm() and its handler, by which old code limits the time of a call.
//
// The signal comes to whatever the thread does at that moment: that may be the loop, or another
// task, on another stack than the one to which the handler may want to jump (siglongjmp). So while
// the task that set the alarm waits in a patched call, its handler is called by that call, on the
// task's own stack, and the call then fails with EINTR. While the task itself runs, the signal is
// what it is.
#pragma once

#include <fiber/monkey/waiting.hpp>

namespace fiber::monkey::detail {

// When the alarm comes that the task has set, on the loop's clock; kNever if there is none.
std::int64_t alarm_of(const TaskBase& task) noexcept;

// For the task that has set the alarm, when it has come: calls the program's handler, which may
// jump away. True if interrupted calls are to go on (SA_RESTART).
bool run_alarm_handler();

}  // namespace fiber::monkey::detail
