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

 private:
  friend class TaskInLine;
};

/// The future of one task's wait.
class TaskInLine final : public FutureBase {
 public:
  /// Enters at the end of the line.
  TaskInLine(WaitingLine& line, LoopObject& loop) noexcept
      : FutureBase(on_stack(), loop), line_(&line) {
    line.append(*this);
  }
  ~TaskInLine() override { leave(); }

  /// Waits in the current task until this is woken; throws CancelledError.
  void wait(TaskBase& task) {
    task.wait(this);
    check_result();
  }
  void leave() noexcept {
    if (WaitingLine* line = core::take(line_)) line->remove(*this);
  }

  core::Links<TaskInLine> links;

 private:
  WaitingLine* line_;  ///< null once the waiter has left
};

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
