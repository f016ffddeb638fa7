// The unfinished tasks of a loop, and the making of tasks.
//
// Invariants
//  1. The loop owns a reference to every unfinished task: from add() until TaskBase::ended().
//  2. Features that only some programs use have no cost for others: they hang on one flag that is
//     tested anyway. `special_` makes creating a task take the long way (debug mode, task
//     factories, a closed loop).
//  3. A task that ends leaves the list before any code is told of its end.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/list.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace fiber::contextvars::detail {
struct ContextObject;
}  // namespace fiber::contextvars::detail

namespace fiber::asyncio {
class CoroutineRef;
class EventLoop;
class TaskRef;
struct TaskOptions;
using task_factory =
    std::function<TaskRef(const EventLoop&, const CoroutineRef&, const TaskOptions&)>;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

class LoopObject;
class TaskBase;

/// The arguments of a new task.
struct TaskArguments {
  std::string name = {};                                  ///< "": "Task-N"
  contextvars::detail::ContextObject* context = nullptr;  ///< borrowed
  bool own_context = true;  ///< a copy of the current one, in place of `context`
  std::optional<bool> eager_start = {};
  std::size_t stack_size = 0;  ///< bytes; 0: the default
  std::size_t guard_size = 0;  ///< bytes; 0: the default
  bool own_thread_state = false;
  bool slow_thread_state = false;
};

class FIBER_API TaskRegistry {
 public:
  explicit TaskRegistry(LoopObject& loop) noexcept : loop_(loop) {}
  TaskRegistry(const TaskRegistry&) = delete;
  TaskRegistry& operator=(const TaskRegistry&) = delete;

  /// Returns the unfinished tasks, oldest first.
  const core::List<TaskBase>& unfinished() const noexcept { return unfinished_; }
  bool empty() const noexcept { return unfinished_.empty(); }
  std::size_t size() const noexcept { return size_; }
  void add(TaskBase& task) noexcept;
  void remove(TaskBase& task) noexcept;

  /// Returns true if TaskBase::begin alone does not make the tasks.
  bool special() const noexcept { return special_; }
  void set_special(bool special) noexcept { special_ = special; }
  /// Makes a task the long way: through the factory, if there is one.
  void make(TaskBase& task, const TaskArguments& arguments);
  const std::shared_ptr<task_factory>& factory() const noexcept { return factory_; }
  void set_factory(std::shared_ptr<task_factory> factory);

  /// Ends all tasks, oldest first; suspended ones are unwound.
  void abandon_all() noexcept;
  /// Ends the tasks that are suspended on this thread, or all; ready entries stay.
  void end_here(bool all) noexcept;

 private:
  friend struct DebuggerFields;

  void report_pending(TaskBase& task) noexcept;

  core::List<TaskBase> unfinished_;
  std::size_t size_ = 0;
  std::shared_ptr<task_factory> factory_;
  bool special_ = false;
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
