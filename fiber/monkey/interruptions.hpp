// Signals that interrupt the patched calls of one task, as they interrupt those of a program's only
// thread: for a program that runs as a whole in that task. Their handlers run on the task's own
// stack, out of which they may jump.
#pragma once

#include <fiber/config.hpp>

#include <signal.h>

namespace fiber::asyncio::detail {
class TaskBase;
}

namespace fiber::monkey::detail {

// Null, as at first: none. The task must live until it is another one. What this needs takes its
// descriptor from the numbers from `first` on.
FIBER_API void let_signals_interrupt(const asyncio::detail::TaskBase* task, int first) noexcept;
bool is_interrupted_by_signals(const asyncio::detail::TaskBase& task) noexcept;

// Signals of this thread wait while it lives. Those that have come meanwhile come at its end, but
// for those that the processor raises.
class HeldSignals {
 public:
  HeldSignals() noexcept;
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals();

  // Readable when one has come; -1 if there is no descriptor for it: then nobody may wait while
  // this lives.
  int descriptor() const noexcept;

  enum class Came {
    nothing,       // what has come has no handler
    restarting,    // all handlers have SA_RESTART
    interrupting,  // one has not
  };
  // Lets come what has come.
  Came let_come() noexcept;

 private:
  void hold() noexcept;

  sigset_t before_;
};

}  // namespace fiber::monkey::detail
