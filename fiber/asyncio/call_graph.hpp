// Call graphs: which tasks wait for which, and where. The frames of a task, and of the tasks that
// wait for it, as a tree. Python 3.14: asyncio.graph.
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
// library's own frames are left out. Nothing is recorded while a program runs: only a request has a
// cost. Only for futures of the calling thread's loops.
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
  traceback::FrameSummary frame;  ///< where it stands
};

/// A future or task, and the tasks that wait for it.
struct FutureCallGraph {
  FutureRef future;                             ///< whose graph this is
  std::vector<FrameCallGraphEntry> call_stack;  ///< innermost first; empty unless it is a task
  std::vector<FutureCallGraph> awaited_by;      ///< the tasks that wait for it
  bool more = false;                            ///< more tasks await it: a graph ends at 100 levels
  bool repeated = false;  ///< only named: its frames and awaiters are where the graph has it first
};

/// Keyword arguments of the functions below.
struct CallGraphOptions {
  std::size_t depth = 0;          ///< frames of the current task to leave out
  std::optional<int> limit = {};  ///< frames per task: the innermost; below 0: the outermost
};

/// Returns the call graph of the current task, or of `future`; nullopt in a callback. Throws
/// RuntimeError outside of a running loop.
FIBER_API std::optional<FutureCallGraph> capture_call_graph(CallGraphOptions options = {});
FIBER_API FutureCallGraph capture_call_graph(const FutureRef& future,
                                             CallGraphOptions options = {});

/// Returns the call graph as text, without a line end; "" in a callback. A task is shown once: where
/// it awaits another one as well, it is named with "(shown above)".
FIBER_API std::string format_call_graph(CallGraphOptions options = {});
FIBER_API std::string format_call_graph(const FutureRef& future, CallGraphOptions options = {});

/// Writes the text of format_call_graph(), to stderr if no stream is given.
FIBER_API void print_call_graph(CallGraphOptions options = {});
FIBER_API void print_call_graph(const FutureRef& future, CallGraphOptions options = {});
FIBER_API void print_call_graph(const FutureRef& future, std::ostream& out,
                                CallGraphOptions options = {});

/// Returns the graphs of every unfinished task of the loop, each at least once: first those of the
/// tasks that wait for no other task, then those of tasks that wait for each other in a circle, or
/// that others await over more than 100 levels. "(shown above)" refers to the whole text.
FIBER_API std::string format_all_call_graphs(const EventLoop& loop);

/// Makes the signal write format_all_call_graphs() to stderr, until the loop is closed: a program
/// that hangs shows where. If the loop does not handle the signal within half a second, for
/// instance because its thread is blocked, a report like StallMonitor's says where that thread is;
/// it is interrupted by SIGURG. Throws as add_signal_handler does, and RuntimeError if no thread
/// can be started.
FIBER_API void print_call_graphs_on_signal(const EventLoop& loop, int signal);

namespace detail {

/// Returns the task's frames, innermost first: those of a waiting generator come before its
/// consumer's, those of a greenlet to which the task has switched before its own.
FIBER_API std::vector<const void*> frames_of(TaskBase& task);
/// Returns the place where a suspended task waits, by the program's own frames; "" without such
/// frames.
FIBER_API std::string place_of_wait(TaskBase& task);

}  // namespace detail

}  // namespace fiber::asyncio
