// Tasks that wait in line, each on its own stack: the base of locks and queues.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/take.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

class TaskInLine;

/// First come, first served. Each waiter leaves by itself; no other code takes it out.
class WaitingLine : private core::List<TaskInLine> {
 public:
  using List::begin;
  using List::empty;
  using List::end;
  using List::first;
  using List::size;
  /// Returns true if a task in line was not cancelled.
  bool any_wanting() const noexcept;
  /// Returns the first task that is still to be woken; null if there is none. Any number of calls
  /// looks at each task once.
  TaskInLine* first_pending() noexcept;
  /// In debug mode, throws RuntimeError if tasks wait in line and their loop runs on another
  /// thread: to be called before the state for which they wait changes.
  void check_thread() const;

 private:
  friend class TaskInLine;
  void enter(TaskInLine& waiter) noexcept;
  void leave(TaskInLine& waiter) noexcept;

  TaskInLine* pending_ = nullptr;  ///< all tasks before this one are done; null: all are
};

/// The future of one task's wait.
class TaskInLine final : public FutureBase {
 public:
  /// Enters at the end of the line.
  TaskInLine(WaitingLine& line, LoopObject& loop) noexcept
      : FutureBase(on_stack(), loop), line_(&line) {
    line.enter(*this);
  }
  ~TaskInLine() override { leave(); }

  /// Waits in the current task until this is woken; throws CancelledError.
  void wait(TaskBase& task) {
    task.wait(this);
    check_result();
  }
  void leave() noexcept {
    if (WaitingLine* line = core::take(line_)) line->leave(*this);
  }

  core::Links<TaskInLine> links;

 private:
  WaitingLine* line_;  ///< null once the waiter has left
};

inline void WaitingLine::enter(TaskInLine& waiter) noexcept {
  append(waiter);
  if (pending_ == nullptr) pending_ = &waiter;
}

inline void WaitingLine::leave(TaskInLine& waiter) noexcept {
  if (pending_ == &waiter) pending_ = next(waiter);
  remove(waiter);
}

inline TaskInLine* WaitingLine::first_pending() noexcept {
  while (pending_ != nullptr && pending_->done()) pending_ = next(*pending_);
  return pending_;
}

inline void WaitingLine::check_thread() const {
  if (const TaskInLine* waiter = first(); waiter != nullptr && waiter->loop()->debug()) [[unlikely]]
    waiter->loop()->home().check_thread();
}

inline bool WaitingLine::any_wanting() const noexcept {
  for (const TaskInLine& waiter : *this)
    if (!waiter.cancelled()) return true;
  return false;
}

/// An object that belongs to the loop of the first task that has to wait. Python:
/// mixins._LoopBoundMixin.
class LoopBound {
 protected:
  /// Returns the current task. Throws RuntimeError if it runs in another loop than earlier ones
  /// did.
  template <class Object>
  TaskBase& task_that_waits(const Object& object) {
    TaskBase& task = task_for_await();
    const std::uint64_t serial = task.loop()->serial;
    if (serial_ != serial) [[unlikely]] {
      if (serial_ != 0) throw RuntimeError(object.repr() + " is bound to a different event loop");
      serial_ = serial;
    }
    return task;
  }

 private:
  std::uint64_t serial_ = 0;  ///< of the loop; 0: none yet
};

}  // namespace fiber::asyncio::detail
