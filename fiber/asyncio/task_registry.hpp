// The unfinished tasks of a loop, and how they are made.
//
// Invariants
//  1. The loop owns a reference to every unfinished task: from add() until TaskBase::ended().
//  2. What costs something only for those who asked for it hangs on one flag that is looked at
//     anyway: `special_` makes creating a task take the long way (debug mode, task factories, a
//     closed loop).
//  3. A task that ends is out of the list before anything is told of its end.
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

/// How a task is to begin.
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

  /// Oldest first.
  const core::List<TaskBase>& unfinished() const noexcept { return unfinished_; }
  bool empty() const noexcept { return unfinished_.empty(); }
  std::size_t size() const noexcept { return size_; }
  void add(TaskBase& task) noexcept;
  void remove(TaskBase& task) noexcept;

  /// True if they are not made by TaskBase::begin alone.
  bool special() const noexcept { return special_; }
  void set_special(bool special) noexcept { special_ = special; }
  /// The long way: through the factory, if there is one.
  void make(TaskBase& task, const TaskArguments& arguments);
  const std::shared_ptr<task_factory>& factory() const noexcept { return factory_; }
  void set_factory(std::shared_ptr<task_factory> factory);

  /// Ends all, oldest first, those that are suspended by unwinding them.
  void abandon_all() noexcept;
  /// Does so for those that are suspended on this thread, or for all; what is ready stays.
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
