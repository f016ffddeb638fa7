// The part of a task that does not depend on the type of its result; and how tasks suspend.
//
// A coroutine object is a task that has not been scheduled: create_task gives the same object a
// loop, a name and a greenlet, so that a task costs one allocation.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/detail/coroutine_name.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/greenlet.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <string>

namespace fiber::asyncio::detail {

struct TaskGreenlet final : fiber::detail::GreenletObject {
  TaskGreenlet(fiber::detail::GreenletThread& thread, TaskBase* its_task, Listed where)
      : GreenletObject(thread, where), task(its_task) {
    scheduled = true;
  }
  void dispose() noexcept override;
  std::string display_name() const override;
  TaskBase* task;
};

/// Continues a task when the future it waits for is done.
struct TaskWakeup : Callback {
  explicit TaskWakeup(TaskBase* owner) noexcept : Callback(Kind::task), task(owner) {}
  TaskBase* task;
};

class FIBER_API TaskBase : public FutureBase {
 private:
  /// A switch to the task touches two cache lines: this one and that of its greenlet.
  bool must_cancel_ = false;
  bool abandoned_ = false;
  bool consumed_ : 1 = false;
  bool told_library_ : 1 = false;
  bool own_thread_state_ : 1 = false;
  bool slow_thread_state_ : 1 = false;
  bool in_cancel_ : 1 = false;  ///< ends the recursion when tasks wait for each other in a circle
  mutable bool in_repr_ : 1 = false;

 public:
  bool log_destroy_pending : 1 = true;

 private:
  CoroutineName::Kind coroutine_kind_;  ///< of coroutine_name_
  int cancel_requests_ = 0;

 public:
  fiber::detail::GreenletObject* resume_point = nullptr;
  TaskWakeup wakeup;

  explicit TaskBase(CoroutineName coroutine) noexcept;
  ~TaskBase() override;

  static void* operator new(std::size_t size, std::align_val_t alignment) {
    return core::allocate_block(size, alignment);
  }
  static void operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
    core::release_block(memory, size, alignment);
  }

  /// Runs the callable and stores its result. Called once.
  virtual void run_body() = 0;
  /// Destroys the callable with its captures and arguments.
  virtual void destroy_callable() noexcept = 0;

  /// Marks the coroutine object as used. Throws RuntimeError the second time.
  void consume() {
    if (consumed_) [[unlikely]]
      refuse_reuse();
    consumed_ = true;
  }
  bool consumed() const noexcept { return consumed_; }
  /// Closes a coroutine object of which the caller, a call that fails for want of memory, has the
  /// only handle: no other code could run it.
  void close_if_last() noexcept;
  /// Makes the object a task of the loop; its first step is queued. An empty name: "Task-N".
  void schedule(LoopObject& loop, const std::string& name);
  /// Makes the object a task without regard for the loop's task factory. An eager start takes the
  /// first step here and now, if the loop runs.
  void begin(LoopObject& loop, const TaskArguments& arguments);

  bool cancel(std::string message) override;
  int cancelling() const noexcept { return cancel_requests_; }
  int uncancel();
  /// Requests cancellation again: a CancelledError was caught where it could not be let through, as
  /// in a function of C. It is thrown again at the next wait.
  void cancel_again(const std::string& message) noexcept {
    must_cancel_ = true;
    keep_cancel_message(message);
  }

  // --- for calls that must not throw, such as the replacements of libc's (see monkey.hpp) ---
  // Notes that a call of this kind has caught a CancelledError, and returns an error to the library
  // that made the call. Whatever the library does with the error, returns or throws, the task is
  // cancelled: at its next wait, at the end of the scope that limits its time, or at its own end.
  void told_library(const std::string& message) noexcept {
    cancel_again(message);
    told_library_ = true;
  }
  bool has_told_library() const noexcept { return told_library_; }
  /// Returns the exception for the end of a scope or of the task, which `error` (or null) leaves:
  /// the CancelledError of which a library was told, with `error` as its context, or else `error`
  /// itself. To be called once.
  std::exception_ptr overdue_cancellation(std::exception_ptr error);
  /// Suspends and restores the request, for a call that must not throw and waits although the task
  /// is cancelled. To be called only after told_library().
  void put_cancellation_off() noexcept { must_cancel_ = false; }
  void put_cancellation_back() noexcept { must_cancel_ = told_library_; }
  /// The data that monkey keeps in a task.
  struct LibraryCalls {
    bool shielded = false;       ///< cancellation waits for the end of a scope
    std::uint8_t fruitless = 0;  ///< calls since the library was told
    std::uint16_t grace = 0;     ///< centiseconds for which calls wait although it is cancelled
    std::uint32_t alarm = 0;     ///< the number of the alarm that the task has set last
  };
  LibraryCalls& library_calls() noexcept { return library_calls_; }

  std::string get_name() const;
  /// Returns the given name, for a signal handler: null if there is none; then number() is the N of
  /// "Task-N".
  const std::string* given_name() const noexcept { return name_.get(); }
  std::uint64_t number() const noexcept { return number_; }
  void set_name(std::string name) { name_ = core::make_owner<std::string>(std::move(name)); }
  std::string repr() const override;
  const char* class_name() const noexcept override { return "Task"; }
  CoroutineName coroutine_name() const noexcept { return {coroutine_name_, coroutine_kind_}; }
  FutureBase* waiting_on() const noexcept { return waiting_on_; }
  /// Returns true while the task is being unwound because its loop is gone: it must not wait any
  /// more.
  bool abandoned() const noexcept { return abandoned_; }
  bool has_started() const noexcept { return greenlet_ && greenlet_->started; }
  /// Returns the context variables; null: empty, or not a task yet.
  contextvars::detail::ContextObject* context_variables() const noexcept {
    return greenlet_ ? contextvars::detail::context_of(*greenlet_) : nullptr;
  }
  /// Returns a handle of context_variables().
  contextvars::Context context_handle() const noexcept;
  /// Returns the context, never null: made if it must be.
  contextvars::Context get_context();
  /// Returns the greenlet that waits on the task's behalf while the task is suspended: its own, or
  /// one to which its body has switched.
  fiber::detail::GreenletObject* suspended_greenlet() const noexcept { return resume_point; }
  fiber::detail::GreenletObject* own_greenlet() noexcept {
    return greenlet_ ? &*greenlet_ : nullptr;
  }

  // --- for the code that suspends this task, while it runs ---
  // Called after a resumption: a requested cancellation takes the place of any outcome.
  void check_cancelled() {
    if (must_cancel_ || abandoned_) [[unlikely]]
      throw_cancelled();
  }
  /// Suspends until `future` is done. Throws CancelledError.
  FIBER_INLINE void wait(FutureBase* future);
  /// Gives way for exactly one iteration, in a greenlet of the user's own. Throws CancelledError.
  void give_way_elsewhere();
  [[noreturn]] void throw_cancelled();
  /// Throws if the task is abandoned. Called after a call that may have let the loop end.
  void check_abandoned() {
    if (abandoned_) [[unlikely]]
      throw_cancelled();
  }

  core::Links<TaskBase> links;  ///< in the loop's list

 private:
  friend class Cancellation;
  friend struct DebuggerFields;
  friend class Home;
  friend struct TaskGreenlet;
  friend class TaskRegistry;
  friend class Turns;

  [[noreturn]] static void refuse_reuse();
  void count_cancellation() noexcept;
  void cancellation_delivered() noexcept { must_cancel_ = told_library_ = false; }
  std::string repr_before_wait() const;
  std::string repr_after_wait() const;
  void wait_slow(FutureBase* future);
  void check_awakening(FutureBase* future);
  void unreferenced() noexcept override;
  void run();  ///< the whole life of the body, on its own stack
  void run_with_own_thread_state();
  template <class MakeContext>
  void bind(LoopObject& loop, const std::string& name, MakeContext make_context);
  void end_unstarted() noexcept;  ///< cancelled before its first step
  void ended() noexcept;          ///< gives up the loop's references

  fiber::detail::GreenletObject& greenlet() noexcept { return *greenlet_; }
  /// Returns the place of the task's frames; null before its first step. A guess: it may wait
  /// elsewhere.
  const void* resume_sp() const noexcept { return greenlet_->context.sp; }

  FutureBase* waiting_on_ = nullptr;
  const void* coroutine_name_;
  core::Owner<std::string> name_;
  std::uint64_t number_ = 0;
  LibraryCalls library_calls_;
  FutureBase* cancelled_for_ = nullptr;  ///< see Cancellation

  alignas(core::kCacheLine) std::optional<TaskGreenlet> greenlet_;
};

inline void TaskRegistry::add(TaskBase& task) noexcept {
  unfinished_.append(task);
  ++size_;
}

inline void TaskRegistry::remove(TaskBase& task) noexcept {
  unfinished_.remove(task);
  --size_;
}

/// The loop and the task that run on this thread: both null outside of a loop.
struct Running {
  LoopObject* loop = nullptr;
  TaskBase* task = nullptr;
};
inline Running running() noexcept {
  LoopObject* loop = running_loop_or_null();
  if (loop == nullptr) return {};
  return {loop, loop->turns().current_task};
}
inline TaskBase* current_task_or_null() noexcept { return running().task; }

/// Returns the running task and its loop; throws RuntimeError where there is none.
[[noreturn]] FIBER_API void refuse_await();
inline Running running_for_await() {
  const Running now = running();
  if (now.task == nullptr) [[unlikely]]
    refuse_await();
  return now;
}
inline TaskBase& task_for_await() { return *running_for_await().task; }

// Returns the greenlet that runs next: a task's, or the hub's when the next entry is a callback or
// the batch is over. Runs leaves (steps of the library's own) on the way. Null: the task in
// `starting_` is to be started.
FIBER_INLINE fiber::detail::GreenletObject* Turns::next_greenlet(bool fiber_has_ended) {
  for (;;) {
    if (batch_ >= kManyReady)
      fetch_ahead();
    else if (batch_ == 0 && !quick_turn()) [[unlikely]]
      break;
    const Entry entry = ready.front();
    if (entry.kind() == Entry::Kind::task) [[likely]] {
      TaskBase* task = entry.task();
      ready.pop();
      --batch_;
      if (task->resume_point != nullptr) [[likely]] {
        current_task = task;
        return task->resume_point;
      }
      starting_ = task;
      return nullptr;
    }
    if (entry.kind() == Entry::Kind::handle) break;
    ready.take();
    --batch_;
    Leaf* leaf = entry.leaf();
    current_task = nullptr;  // a destructor that the leaf runs may be the user's
    if (entry.kind() == Entry::Kind::leaf) {
      leaf->run(leaf);
    } else if (fiber_has_ended) {
      const Interlude interlude(greenlets->current, between_fibers);
      leaf->run(leaf);
    } else {
      fiber::detail::GreenletObject* const outer = between_fibers;
      between_fibers = greenlets->current;
      greenlets->current->waiting = false;
      leaf->run(leaf);
      greenlets->current->waiting = true;
      between_fibers = outer;
    }
  }
  current_task = nullptr;
  return hub;
}

/// Prefetches the memory of tasks a few switches before they run, first the task, then its frames:
/// with many tasks their memory has left the nearest cache since they ran last.
FIBER_INLINE void Turns::fetch_ahead() noexcept {
  constexpr std::size_t kTask = 6;
  constexpr std::size_t kFrames = 3;
  static_assert(kTask < kManyReady);
  const Entry late = ready.at(kTask);
  if (late.kind() == Entry::Kind::leaf) {
    // The leaf may lie at the end of a future on a stack.
    const auto end = reinterpret_cast<std::uintptr_t>(late.leaf());
    __builtin_prefetch(late.leaf());
    __builtin_prefetch(reinterpret_cast<const void*>(end - 2 * core::kCacheLine));
  }
  if (late.kind() != Entry::Kind::task) return;
  const TaskBase* later = late.task();
  __builtin_prefetch(&later->resume_point);
  __builtin_prefetch(&later->greenlet_);
  const Entry soon = ready.at(kFrames);
  if (soon.kind() != Entry::Kind::task) return;
  const void* frames = soon.task()->resume_sp();  // may be null
  __builtin_prefetch(frames);
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(frames) + core::kCacheLine));
}

FIBER_INLINE Entry Turns::take() noexcept {
  if (batch_ >= kManyReady) fetch_ahead();
  --batch_;
  return ready.take();
}

FIBER_INLINE void Turns::suspend(TaskBase* task) {
  fiber::detail::GreenletObject* self = greenlets->current;
  task->resume_point = self;
  self->waiting = true;
  fiber::detail::GreenletObject* next = next_greenlet();
  if (next == nullptr) [[unlikely]]
    start_task(starting_);
  else if (next != self) [[likely]]
    greenlets->resume(next);
  self->waiting = false;
}

FIBER_INLINE void TaskBase::wait(FutureBase* future) {
  LoopObject& loop = *loop_;
  if (future->loop() != &loop || future == this || must_cancel_ || abandoned_ ||
      loop.turns().greenlets->current != &*greenlet_) [[unlikely]] {
    wait_slow(future);
    return;
  }
  future->add(&wakeup);
  waiting_on_ = future;
  loop.turns().suspend(this);
  waiting_on_ = nullptr;
  if (must_cancel_ || abandoned_ || wakeup.future != nullptr) [[unlikely]]
    check_awakening(future);
  else
    future->set_log_traceback(false);
}

/// Gives way for exactly one iteration.
FIBER_INLINE void yield_now() {
  const Running now = running_for_await();
  Turns& turns = now.loop->turns();
  if (turns.greenlets->current != now.task->own_greenlet()) [[unlikely]] {
    now.task->give_way_elsewhere();
    return;
  }
  now.loop->push(Entry(now.task));
  turns.suspend(now.task);
  now.task->check_cancelled();
}

}  // namespace fiber::asyncio::detail
