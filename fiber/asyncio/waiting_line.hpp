// Tasks that wait in line, each on its own stack: what locks and queues are made of.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

class TaskInLine;

/// First come, first served. The waiters leave by themselves.
class WaitingLine {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept;
  TaskInLine* first() const noexcept { return first_; }
  void append(TaskInLine& waiter) noexcept;
  void remove(TaskInLine& waiter) noexcept;
  /// True if someone is in line who was not cancelled.
  bool any_wanting() const noexcept;

 private:
  TaskInLine* first_ = nullptr;
  TaskInLine* last_ = nullptr;
};

/// The future of one task's wait.
class TaskInLine final : public FutureBase {
 public:
  /// Goes to the end of the line.
  TaskInLine(WaitingLine& line, LoopObject& loop) noexcept : FutureBase(on_stack(), loop) {
    line.append(*this);
  }
  ~TaskInLine() override { leave(); }

  /// Waits in the current task until it is woken; throws CancelledError.
  void wait(TaskBase& task) {
    task.wait(this);
    check_result();
  }
  void leave() noexcept {
    if (line_ != nullptr) line_->remove(*this);
  }
  TaskInLine* next() const noexcept { return after_; }

 private:
  friend class WaitingLine;
  WaitingLine* line_ = nullptr;
  TaskInLine* before_ = nullptr;
  TaskInLine* after_ = nullptr;
};

inline void WaitingLine::append(TaskInLine& waiter) noexcept {
  waiter.line_ = this;
  waiter.before_ = last_;
  waiter.after_ = nullptr;
  (last_ != nullptr ? last_->after_ : first_) = &waiter;
  last_ = &waiter;
}

inline void WaitingLine::remove(TaskInLine& waiter) noexcept {
  (waiter.before_ != nullptr ? waiter.before_->after_ : first_) = waiter.after_;
  (waiter.after_ != nullptr ? waiter.after_->before_ : last_) = waiter.before_;
  waiter.line_ = nullptr;
}

inline std::size_t WaitingLine::size() const noexcept {
  std::size_t count = 0;
  for (const TaskInLine* at = first_; at != nullptr; at = at->next()) ++count;
  return count;
}

inline bool WaitingLine::any_wanting() const noexcept {
  for (const TaskInLine* at = first_; at != nullptr; at = at->next())
    if (!at->cancelled()) return true;
  return false;
}

/// Belongs to the loop of the first task that has to wait. Python: mixins._LoopBoundMixin.
class LoopBound {
 protected:
  /// The current task. Throws RuntimeError if it runs in another loop than earlier ones did.
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
