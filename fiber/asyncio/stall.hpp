// Finds code that blocks a loop: a call that waits in the kernel, a mutex, a computation that does
// not end. gevent has its monitor thread; asyncio's debug mode tells only afterwards.
//
//   asyncio::run([] {
//     const asyncio::StallMonitor monitor({.limit = 50ms});
//     ...                        // a task that keeps the loop for longer is shown on stderr
//   });
#pragma once

#include <fiber/asyncio/events.hpp>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fiber::asyncio {

namespace detail {
FIBER_API void report_stubborn(const TaskBase& task) noexcept;
}

/// A loop that has not begun an iteration for a while, or a task that was cancelled and goes on
/// nevertheless.
struct Stall {
  nanoseconds duration{};                   ///< at least that long, so far
  std::string task = {};                    ///< the name of the task that runs; "" for a callback
  std::string coroutine = {};               ///< the task's coroutine, as its repr shows it
  std::vector<std::string> backtrace = {};  ///< the stack, innermost first; empty without an answer
  /// The task was cancelled while a library waited in a patched call (see monkey.hpp), and the
  /// library tries again and again. The loop turns meanwhile; `duration` is 0.
  bool cancelled = false;
};

/// A report of several lines.
FIBER_API std::string str(const Stall& stall);

/// Keyword arguments of StallMonitor.
struct StallOptions {
  /// The longest time from one iteration to the next.
  nanoseconds limit = std::chrono::milliseconds(100);
  /// Called once for each stall, on the monitor's thread. If empty, str(stall) goes to stderr. Must
  /// not throw.
  std::function<void(const Stall&)> hook = {};
  /// The signal that asks the loop's thread for the task and the backtrace; 0: both stay unknown.
  /// By default SIGURG, whose default action is none; Go uses it, too. Interrupted calls go on,
  /// except those that Linux never restarts after a handler (poll, nanosleep and others): these
  /// fail with EINTR.
  int signal = SIGURG;
};

/// Watches the running loop of the thread that makes the monitor, from a thread of its own. Must be
/// destroyed while the loop runs. A busy loop runs one more callback now and then; a sleeping loop,
/// and a program without a monitor, have no cost. Throws RuntimeError where no loop runs or the
/// signal cannot be caught, ValueError for a limit that is not positive.
class FIBER_API StallMonitor {
 public:
  explicit StallMonitor(StallOptions options = {});
  StallMonitor(const StallMonitor&) = delete;
  StallMonitor& operator=(const StallMonitor&) = delete;
  ~StallMonitor();

 private:
  friend void detail::report_stubborn(const detail::TaskBase& task) noexcept;
  class Watcher;
  std::unique_ptr<Watcher> watcher_;
};

}  // namespace fiber::asyncio
