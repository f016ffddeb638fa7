// What a task is, without the type of its result; and how tasks suspend.
//
// A coroutine object is a task that has not been scheduled: create_task gives the same object a
// loop, a name and a greenlet, so that a task costs one allocation.
#pragma once

#include <fiber/asyncio/detail/loop_object.hpp>
#include <fiber/greenlet.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <string>

namespace fiber::asyncio::detail {

struct TaskGreenlet final : fiber::detail::GreenletObject {
  TaskGreenlet(fiber::detail::GreenletThread& thread, TaskBase* owner)
      : GreenletObject(thread), task(owner) {
    is_task = true;
  }
  void dispose() noexcept override;
  std::string display_name() const override;
  TaskBase* task;
};

// Continues a task when the future it waits for is done.
struct TaskWakeup : Callback {
  explicit TaskWakeup(TaskBase* owner) noexcept : Callback(Kind::task), task(owner) {}
  TaskBase* task;
};

class FIBER_API TaskBase : public FutureBase {
 public:
  explicit TaskBase(const char* coroutine_name) noexcept;
  ~TaskBase() override;

  // Runs the callable and stores its result. Called once.
  virtual void run_body() = 0;
  // Ends the callable's life: what it captured and its arguments.
  virtual void destroy_callable() noexcept = 0;

  // Marks the coroutine object as used. Throws RuntimeError the second time.
  void consume();
  bool consumed() const noexcept { return consumed_; }
  // Makes it a task of the loop; its first step is queued. An empty name: "Task-N".
  void schedule(LoopObject& loop, std::string name);

  bool cancel(std::string message) override;
  int cancelling() const noexcept { return cancel_requests_; }
  int uncancel();
  std::string get_name() const;
  void set_name(std::string name) { name_ = std::make_unique<std::string>(std::move(name)); }
  std::string repr() const override;
  const char* class_name() const noexcept override { return "Task"; }
  const char* coroutine_name() const noexcept { return coroutine_name_; }
  FutureBase* waiting_on() const noexcept { return waiting_on_; }
  // Being unwound because its loop is gone: it may not wait any more.
  bool abandoned() const noexcept { return abandoned_; }
  bool has_started() const noexcept { return greenlet_ && greenlet_->started; }

  // --- for the code that suspends this task, while it runs ---
  // Called after a resumption: a cancellation that was asked for takes the place of any outcome.
  void check_cancelled() {
    if (must_cancel_ || abandoned_) [[unlikely]] throw_cancelled();
  }
  // Suspends until `future` is done.
  void wait(FutureBase* future);
  [[noreturn]] void throw_cancelled();

  TaskWakeup wakeup;
  fiber::detail::GreenletObject* resume_point = nullptr;
  TaskBase* previous_task = nullptr;  // in the loop's list
  TaskBase* next_task = nullptr;
  bool log_destroy_pending = true;

 private:
  friend class LoopObject;
  friend struct TaskGreenlet;

  void unreferenced() noexcept override;
  void run();             // the whole life of the body, on its own stack
  void end_unstarted();   // cancelled before its first step
  void ended() noexcept;  // gives up what the loop holds

  fiber::detail::GreenletObject& greenlet() noexcept { return *greenlet_; }

  std::optional<TaskGreenlet> greenlet_;
  FutureBase* waiting_on_ = nullptr;
  const char* coroutine_name_;
  std::unique_ptr<std::string> name_;
  std::uint64_t number_ = 0;
  int cancel_requests_ = 0;
  bool must_cancel_ = false;
  bool consumed_ = false;
  bool abandoned_ = false;
};

inline TaskBase* current_task_or_null() noexcept {
  const core::ThreadState* thread = core::tls_thread_state;
  if (thread == nullptr || thread->asyncio == nullptr) return nullptr;
  const LoopObject* loop = static_cast<const AsyncioThread*>(thread->asyncio)->running;
  return loop != nullptr ? loop->current_task : nullptr;
}

// The task that runs; throws RuntimeError where there is none.
[[noreturn]] FIBER_API void refuse_await();
inline TaskBase& task_for_await() {
  TaskBase* task = current_task_or_null();
  if (task == nullptr) [[unlikely]] refuse_await();
  return *task;
}

// The greenlet that is to run next: a task's, or the hub's when the next thing is a callback or the
// batch is over. Steps of the library's own are run on the way. Null: the task in `starting` is to
// be started.
FIBER_INLINE fiber::detail::GreenletObject* LoopObject::next_greenlet() {
  for (;;) {
    if (batch_ == 0 && !quick_turn()) [[unlikely]] break;
    const Entry entry = ready_.front();
    if (entry.kind() == Entry::Kind::task) [[likely]] {
      TaskBase* task = entry.task();
      ready_.pop();
      --batch_;
      if (task->resume_point != nullptr) [[likely]] {
        current_task = task;
        return task->resume_point;
      }
      starting = task;
      return nullptr;
    }
    if (entry.kind() == Entry::Kind::handle) break;
    ready_.pop();
    --batch_;
    Leaf* leaf = entry.leaf();
    current_task = nullptr;  // what it drops may run code of the user's
    leaf->run(leaf);
  }
  current_task = nullptr;
  return hub;
}

FIBER_INLINE void LoopObject::suspend(TaskBase* task) {
  fiber::detail::GreenletObject* self = greenlets->current;
  task->resume_point = self;
  self->waiting = true;
  fiber::detail::GreenletObject* next = next_greenlet();
  if (next == nullptr) [[unlikely]]
    start_task(starting);
  else if (next != self) [[likely]]
    greenlets->resume(next);
  self->waiting = false;
}

}  // namespace fiber::asyncio::detail
