// Who waits for whom, and where: the frames of a task, and of those that wait for it, as a tree.
// Python 3.14: asyncio.graph.
//
//   asyncio::print_call_graph(task);
//
//   * Task(name='read', id=0x55…)
//     + Call stack:
//     |   File '/usr/bin/app', in read_line(Connection&)+0x21
//     + Awaited by:
//       * Task(name='Task-1', id=0x55…)
//         + Call stack:
//         |   File '/usr/bin/app', in serve()+0x9d
//
// A task waits for another directly, or through gather, wait, wait_for, shield or a TaskGroup. The
// library's own frames are left out. Nothing is recorded for it while a program runs: it costs when
// it is asked for. Only for futures of the calling thread's loops.
#pragma once

#include <fiber/asyncio/tasks.hpp>
#include <fiber/traceback.hpp>

#include <cstddef>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace fiber::asyncio {

/// One frame of a task.
struct FrameCallGraphEntry {
  traceback::FrameSummary frame;
};

/// A future or task, and those that wait for it.
struct FutureCallGraph {
  FutureRef future;
  std::vector<FrameCallGraphEntry> call_stack;  ///< innermost first; empty for what is not a task
  std::vector<FutureCallGraph> awaited_by;
  bool more = false;  ///< others await it: a graph ends at 100 levels
};

/// Keyword arguments of the functions below.
struct CallGraphOptions {
  std::size_t depth = 0;          ///< frames of the current task to leave out
  std::optional<int> limit = {};  ///< frames per task: the innermost, or, below 0, the outermost
};

/// Of the current task; nothing in a callback. Throws RuntimeError outside of a running loop.
FIBER_API std::optional<FutureCallGraph> capture_call_graph(CallGraphOptions options = {});
FIBER_API FutureCallGraph capture_call_graph(const FutureRef& future,
                                             CallGraphOptions options = {});

/// The call graph as text, without a line end; "" in a callback.
FIBER_API std::string format_call_graph(CallGraphOptions options = {});
FIBER_API std::string format_call_graph(const FutureRef& future, CallGraphOptions options = {});

/// Writes that text, to stderr if no stream is given.
FIBER_API void print_call_graph(CallGraphOptions options = {});
FIBER_API void print_call_graph(const FutureRef& future, CallGraphOptions options = {});
FIBER_API void print_call_graph(const FutureRef& future, std::ostream& out,
                                CallGraphOptions options = {});

/// Every unfinished task of the loop, each at least once: the graphs of those that wait for no
/// other task, then of those that wait for each other in a circle.
FIBER_API std::string format_all_call_graphs(const EventLoop& loop);

/// From now on, until the loop is closed, the signal writes format_all_call_graphs() to stderr: a
/// program that hangs shows where. If the loop does not come round to it within half a second, as
/// one whose thread is blocked, then a report like StallMonitor's says where that thread is; SIGURG
/// asks it. Throws as add_signal_handler does, and RuntimeError if no thread can be started.
FIBER_API void print_call_graphs_on_signal(const EventLoop& loop, int signal);

namespace detail {

/// The task's frames, innermost first: those of a generator that waits come before its consumer's,
/// those of a greenlet that the task has switched to before its own.
FIBER_API std::vector<const void*> frames_of(TaskBase& task);
/// Where a suspended task waits, as far as the program's own frames tell; "" if they do not.
FIBER_API std::string place_of_wait(TaskBase& task);

}  // namespace detail

}  // namespace fiber::asyncio
