// The event loop behind the `EventLoop` handles.
//
// Invariants
//  1. An iteration runs exactly the entries that were ready when its batch was counted; what they
//     append waits for the next one. `batch_` is what is left of the current one.
//  2. A fiber that suspends takes the next entry itself and, if that is a fiber, switches to it
//     directly. The hub (the greenlet that called run_forever) is entered to run callbacks, timers
//     and the selector, and to end.
//  3. `current_task` is set before control reaches a task and is null while the hub runs.
//  4. The loop owns a reference to every unfinished task.
//  5. What costs something only for those who asked for it hangs on two flags that are looked at
//     anyway: `through_hub_` sends every entry through the hub (debug mode, observers, shuffling,
//     an eager step), `special_tasks_` makes creating a task take the long way (debug mode, task
//     factories, a closed loop).
#pragma once

#include <fiber/asyncio/base_futures.hpp>
#include <fiber/asyncio/base_handles.hpp>
#include <fiber/asyncio/detail/ready_queue.hpp>
#include <fiber/asyncio/embedding.hpp>
#include <fiber/asyncio/interlude.hpp>
#include <fiber/asyncio/loop_dependent.hpp>
#include <fiber/asyncio/mailbox.hpp>
#include <fiber/asyncio/observation.hpp>
#include <fiber/asyncio/parked_fibers.hpp>
#include <fiber/asyncio/timers.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/core/float_modes.hpp>
#include <fiber/core/list.hpp>
#include <fiber/standard.hpp>
#include <fiber/greenlet/object.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fiber::concurrent::futures {
class Executor;
class ThreadPoolExecutor;
}  // namespace fiber::concurrent::futures

namespace fiber::asyncio {
class CoroutineRef;
class EventLoop;
class FutureRef;
class TaskRef;
struct ExceptionContext;
struct TaskOptions;
using exception_handler = std::function<void(EventLoop, const ExceptionContext&)>;
using task_factory =
    std::function<TaskRef(const EventLoop&, const CoroutineRef&, const TaskOptions&)>;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

class Selector;
class SignalHandlers;

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

class FIBER_API LoopObject {
 public:
  LoopObject();
  LoopObject(const LoopObject&) = delete;
  LoopObject& operator=(const LoopObject&) = delete;
  ~LoopObject();

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

  /// Of this loop alone, among all that this process ever had.
  const std::uint64_t serial;

  // --- the parts that have files of their own ---
  ReadyQueue& ready_queue() noexcept { return ready_; }
  Selector& selector() noexcept { return *selector_; }
  Embedding& embedding() noexcept { return embedding_; }
  Observation& observation() noexcept { return observation_; }
  bool debug() const noexcept { return observation_.debug(); }
  /// In the selector, from any thread: the loop has nothing to do.
  bool sleeping() const noexcept { return mailbox_.sleeping(); }

  // --- what is ready ---
  /// Of what has a claim; see ReadyQueue.
  void push(Entry entry) noexcept {
    if (mailbox_.any()) [[unlikely]]
      take_posted();
    ready_.push(entry);
  }
  void push(Callback* callback) noexcept;
  /// Queues a handle. Throws RuntimeError when the loop is closed, and on another thread than its
  /// own; std::bad_alloc.
  void call_soon(core::Ref<HandleObject> handle);
  /// From any thread. Throws RuntimeError when the loop is closed.
  void call_soon_threadsafe(core::Ref<HandleObject> handle);
  /// From any thread. A closed loop drops the handle: it lets go on this thread of what it holds.
  void post(core::Ref<HandleObject> handle) noexcept {
    mailbox_.put(handle, Mailbox::State::closing);
  }
  void wake() noexcept { mailbox_.wake(); }

  // --- timers ---
  std::int64_t now() const noexcept { return timers_.now(); }
  /// Throws std::bad_alloc.
  void add_timer(TimerNode* node) { timers_.add(node, ready_); }
  void remove_timer(TimerNode* node) noexcept { timers_.remove(node, ready_, shuffle_state_ != 0); }
  void set_clock(std::shared_ptr<Clock> clock) { timers_.set_clock(std::move(clock)); }
  /// Each batch runs in an order that follows from the seed; 0: in its own.
  void set_shuffle(std::uint64_t seed);

  // --- tasks ---
  /// True if they are not made by TaskBase::begin alone.
  bool special_tasks() const noexcept { return special_tasks_; }
  /// The long way: through the factory, if there is one.
  void make_task(TaskBase& task, const TaskArguments& arguments);
  void set_task_factory(std::shared_ptr<task_factory> factory) {
    factory_ = std::move(factory);
    update_modes();
  }
  const std::shared_ptr<task_factory>& factory() const noexcept { return factory_; }
  /// Runs the first step of a task right here; returns when it gives way or ends. Throws
  /// KeyboardInterrupt and SystemExit.
  void step_eagerly(TaskBase& task);
  /// Suspends the running task until something makes it ready. The caller registered it before.
  FIBER_INLINE void suspend(TaskBase* task);

  // --- running ---
  void run_forever() { run(false); }
  void run_until_done(FutureBase& future, bool new_task);
  void stop() noexcept { stopping_ = true; }
  void close();
  bool is_running() const noexcept { return running_; }
  bool is_closed() const noexcept { return closed_; }
  /// Closed, and nothing is left of what it had.
  bool gone() const noexcept { return gone_; }
  void check_closed() const;
  void check_not_running() const;
  bool on_own_thread() const noexcept { return running_ && thread_ == core_thread(); }
  /// False on another thread than the one that runs the loop.
  bool may_be_called() const noexcept { return !running_ || thread_ == core_thread(); }
  /// Throws RuntimeError there.
  void check_thread() const {
    if (!may_be_called()) [[unlikely]]
      refuse_thread();
  }

  // --- the ends of threads (see base_events_threads.cpp) ---
  /// The thread ends that runs the loop.
  void thread_exits() noexcept;
  /// The thread ends; of all loops that ran on it.
  static void leave_thread(const fiber::detail::GreenletThread& thread) noexcept;

  // --- signals (see unix_events.cpp) ---
  /// Throw RuntimeError, ValueError.
  void add_signal_handler(int number, core::Ref<HandleObject> handle);
  bool remove_signal_handler(int number);
  /// In a signal handler: what has arrived is looked at as soon as the hub runs.
  void attend_to_signals() noexcept;
  std::atomic<bool> signals{false};  ///< some may have arrived
  std::function<void()> on_signal;   ///< runs on the hub when they may; may throw

  // --- errors ---
  /// Throws nothing but the unwinding of a thread that the handler ends.
  void call_exception_handler(const ExceptionContext& context);
  /// Where nothing may throw: the context is made here.
  void report(const char* message, const FutureRef& task) noexcept;
  std::shared_ptr<exception_handler> handler;
  /// Thrown out of run_forever as soon as the hub runs (KeyboardInterrupt, SystemExit).
  std::exception_ptr interrupt;

  // --- who runs ---
  TaskBase* current_task = nullptr;
  fiber::detail::GreenletObject* hub = nullptr;
  /// The greenlet that called run_forever: the hub, except in an eager step, whose creator is.
  fiber::detail::GreenletObject* root = nullptr;
  fiber::detail::GreenletThread* greenlets = nullptr;
  core::List<TaskBase> tasks;  ///< unfinished ones, oldest first
  std::size_t task_count = 0;
  long futures_alive = 0;
  std::uint64_t iterations = 0;  ///< begun so far

  bool warn_deadlock = true;
  bool raise_deadlock = false;
  std::shared_ptr<concurrent::futures::Executor> default_executor;
  bool executor_shutdown_called = false;
  std::atomic<long> outside_work{0};  ///< jobs on other threads that will post here

 private:
  friend class Embedding;
  friend class LoopDependent;
  friend class Observation;
  friend class TaskBase;

  // --- iterations (see base_events_running.cpp) ---
  void run(bool once);
  void run_once();
  void poll(std::int64_t deadline);
  void begin_batch() noexcept;
  void run_entry(Entry entry);
  void run_handle(HandleObject* handle);
  void run_task(TaskBase* task);
  void bury() noexcept;
  void take_posted() noexcept;
  void look_at_signals(bool may_queue);
  void update_modes() noexcept;
  bool can_ever_wake() const noexcept;
  void report_deadlock();

  // --- from task to task (see base_events_tasks.cpp) ---
  static void task_main(void* loop);
  FIBER_INLINE fiber::detail::GreenletObject* next_greenlet(bool fiber_has_ended = false);
  bool quick_turn() noexcept;
  FIBER_INLINE void fetch_ahead() noexcept;
  void start_task(TaskBase* task);
  core::Stack* stack_for(TaskBase& task) noexcept;
  void end_unstarted(TaskBase& task, fiber::detail::GreenletObject* current) noexcept;
  FIBER_INLINE void make_current(TaskBase& task, core::Stack* stack) noexcept;
  FIBER_INLINE fiber::detail::GreenletObject* end_task(TaskBase& task);
  FIBER_INLINE fiber::detail::GreenletObject* next_that_runs(fiber::detail::GreenletObject* next,
                                                             const core::Stack& stack);
  [[noreturn]] void leave_abandoned(TaskBase& task) noexcept;
  void dismiss_parked() noexcept;

  // --- the end ---
  void abandon(TaskBase* task) noexcept;
  void abandon_all() noexcept;
  void drop_ready() noexcept;
  void drop_signal_handlers() noexcept;
  bool lives_elsewhere() const noexcept;
  void check_home(const char* what) const;
  void settle();
  void end_tasks(bool all) noexcept;
  void end_current() noexcept;
  void leave_thread() noexcept;

  /// A GreenletExit that arrives here is for the greenlet in which the loop runs, not for a
  /// callback.
  bool on_dying_hub() const noexcept {
    return root != nullptr && root == greenlets->current && !root->is_main;
  }
  void report_handler(const ExceptionContext& context, const std::exception_ptr& error);
  [[noreturn]] static void refuse_thread();
  static constexpr std::size_t kManyReady = 32;
  static const void* core_thread() noexcept { return core::tls_thread_state; }

  ReadyQueue ready_;
  std::size_t batch_ = 0;
  std::size_t through_hub_ = 0;    ///< a word, so that quick_turn tests it along with another
  TaskBase* starting_ = nullptr;   ///< what next_greenlet() has found, if it has not started
  TaskBase* graveyard_ = nullptr;  ///< a finished task whose end is to be reported on the hub
  ParkedFibers parked_;
  Timers timers_;
  std::unique_ptr<Selector> selector_;
  Mailbox mailbox_;
  Embedding embedding_{*this};
  Observation observation_{*this};
  std::unique_ptr<SignalHandlers> signal_handlers_;
  core::List<LoopDependent, LoopDependent::InLoop> dependents_;
  std::shared_ptr<task_factory> factory_;
  core::FloatModes float_modes_;  ///< of who runs the loop: every task starts with them
  std::uint64_t shuffle_state_ = 0;
  const void* thread_ = nullptr;
  bool special_tasks_ = false;
  bool running_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  bool gone_ = false;
  bool made_outside_ = false;  ///< tasks were made since it ran last
  bool exiting_ = false;       ///< with its thread
  bool unwinding_ = false;     ///< its last thread is ending, and its tasks with it
  bool deadlock_reported_ = false;
  std::atomic<long> refs_{0};
};

inline constexpr std::size_t kThreadSlot = 1;  ///< see core::ThreadState::layers

/// The loop layer's part of the thread state.
struct FIBER_API AsyncioThread final : core::ThreadLayer {
  LoopObject* running = nullptr;
  LoopObject* set = nullptr;  ///< counted; what get_event_loop returns outside a running loop
  void thread_exits() noexcept override;
  /// The running task's, if a task's own greenlet runs.
  const char* running_name() const noexcept override;

 private:
  mutable char task_name_[32] = {};  ///< "Task-N", which is stored nowhere else
};
FIBER_API AsyncioThread& make_asyncio_thread(core::ThreadState& thread);
/// The part of a thread that may have used no loop yet, or no fiber at all; null then.
inline AsyncioThread* asyncio_thread_of(const core::ThreadState* thread) noexcept {
  return thread != nullptr ? static_cast<AsyncioThread*>(thread->layers[kThreadSlot]) : nullptr;
}
inline AsyncioThread& asyncio_thread() {
  core::ThreadState& thread = core::thread_state();
  AsyncioThread* own = asyncio_thread_of(&thread);
  if (own == nullptr) [[unlikely]]
    return make_asyncio_thread(thread);
  return *own;
}
/// The loop that runs on this thread, or null.
inline LoopObject* running_loop_or_null() noexcept {
  const AsyncioThread* thread = asyncio_thread_of(core::tls_thread_state);
  return thread != nullptr ? thread->running : nullptr;
}

/// The running loop of this thread; throws RuntimeError("no running event loop").
FIBER_API LoopObject& running_loop();

}  // namespace fiber::asyncio::detail

#include <fiber/asyncio/base_tasks.hpp>
