// Signals that interrupt the patched calls of one task, like the calls of a program's only
// thread: for a program that runs as a whole in that task. Their handlers run on the task's own
// stack, and may jump out of it.
#pragma once

#include <fiber/config.hpp>

#include <csignal>

namespace fiber::asyncio::detail {
class TaskBase;
}

namespace fiber::monkey::detail {

// Chooses the task whose calls signals interrupt; null, the default, for none. The task must live
// until another one is chosen. The signalfd that this needs gets a number of at least `first`.
FIBER_API void let_signals_interrupt(const asyncio::detail::TaskBase* task, int first) noexcept;
bool is_interrupted_by_signals(const asyncio::detail::TaskBase& task) noexcept;

// Blocks the signals of this thread while it lives, except those that the processor raises. Pending
// signals are delivered at its end.
class HeldSignals {
 public:
  HeldSignals() noexcept;
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals();

  // A descriptor that is readable when a signal is pending; -1 if there is none: then the thread
  // must not wait while this object lives.
  int descriptor() const noexcept;

  enum class Came {
    nothing,       // no pending signal has a handler
    restarting,    // all handlers have SA_RESTART
    interrupting,  // one handler has no SA_RESTART
  };
  // Delivers the pending signals.
  Came let_come() noexcept;

 private:
  void hold() noexcept;

  sigset_t before_;
};

}  // namespace fiber::monkey::detail
