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
#include <fiber/asyncio/detail/timer_heap.hpp>
#include <fiber/asyncio/object_registry.hpp>
#include <fiber/asyncio/observer.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/core/float_modes.hpp>
#include <fiber/greenlet/object.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
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
struct task_options;
using exception_handler = std::function<void(EventLoop, const ExceptionContext&)>;
using task_factory =
    std::function<TaskRef(const EventLoop&, const CoroutineRef&, const task_options&)>;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

class Selector;
class SignalHandlers;
class Watch;
struct DescriptorWait;

/// The seam for virtual time (see asyncio/testing.hpp).
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t now() noexcept = 0;
  /// The loop would sleep until `deadline` (INT64_MAX: for ever) with nothing ready. Returns true
  /// if the clock has moved and the loop need not wait.
  virtual bool jump(std::int64_t deadline) noexcept = 0;
  /// How long descriptors are waited for, in real nanoseconds, before a jump.
  virtual std::int64_t patience() noexcept { return 0; }
  /// What call_at stores for a requested deadline.
  virtual std::int64_t register_deadline(std::int64_t when) noexcept { return when; }
};

/// Something that lives until futures of its loop are done, even if nobody refers to it. When the
/// loop is closed they will never be, and it must end.
class FIBER_API LoopDependent {
 public:
  explicit LoopDependent(LoopObject& loop) noexcept;
  LoopDependent(const LoopDependent&) = delete;
  LoopDependent& operator=(const LoopDependent&) = delete;
  /// Called once. What was queued by then has been dropped.
  virtual void loop_closed() noexcept = 0;

 protected:
  virtual ~LoopDependent() { leave(); }
  void leave() noexcept;

 private:
  friend class LoopObject;

  LoopObject* loop_;  ///< null once it is closed
  LoopDependent* previous_ = nullptr;
  LoopDependent* next_ = nullptr;
};

/// A fiber whose task has ended, kept for one that is to start: lives on the stack it stands for.
struct ParkedFiber {
  core::Context context;
  core::Stack* stack;
  ParkedFiber* next;
};

/// Guards user code that runs between two fibers and may itself switch: marks the current greenlet
/// running, restores its context and state afterwards. On the stack of a fiber that has ended, the
/// current greenlet is the hub.
class Interlude {
 public:
  explicit Interlude(fiber::detail::GreenletObject* current) noexcept
      : current_(current),
        place_(current->context),
        state_(current->state),
        waiting_(std::exchange(current->waiting, false)) {
    current->state = fiber::detail::GreenletState::current;
  }
  Interlude(const Interlude&) = delete;
  Interlude& operator=(const Interlude&) = delete;
  ~Interlude() {
    current_->context = place_;
    current_->state = state_;
    current_->waiting = waiting_;
  }

 private:
  fiber::detail::GreenletObject* current_;
  core::Context place_;
  fiber::detail::GreenletState state_;
  bool waiting_;
};

/// How a task is to begin.
struct TaskArguments {
  std::string name = {};                                  ///< "": "Task-N"
  contextvars::detail::ContextObject* context = nullptr;  ///< borrowed
  bool own_context = true;  ///< a copy of the current one, in place of `context`
  std::optional<bool> eager_start = {};
  std::size_t stack_size = 0;  ///< bytes; 0: the default
  std::size_t guard_size = 0;  ///< bytes; 0: the default
};

class FIBER_API LoopObject {
 public:
  LoopObject();
  LoopObject(const LoopObject&) = delete;
  LoopObject& operator=(const LoopObject&) = delete;
  ~LoopObject();

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

  /// No other loop of this process has the same, or had it.
  const std::uint64_t serial;

  // --- ready queue ---
  // Of what has a claim; see ReadyQueue.
  void push(Entry entry) noexcept {
    if (posted_.load(std::memory_order_relaxed)) [[unlikely]]
      take_posted();
    ready_.push(entry);
  }
  void push(Callback* callback) noexcept;
  ReadyQueue& ready_queue() noexcept { return ready_; }
  /// Queues a handle. Throws RuntimeError when the loop is closed, and on another thread than its
  /// own; std::bad_alloc.
  void call_soon(core::Ref<HandleObject> handle);
  /// From any thread. Throws RuntimeError when the loop is closed.
  void call_soon_threadsafe(core::Ref<HandleObject> handle);
  /// From any thread. A closed loop drops the handle: it lets go on this thread of what it holds.
  void post(core::Ref<HandleObject> handle) noexcept;
  void wake() noexcept;

  // --- timers ---
  std::int64_t now() const noexcept;
  void add_timer(TimerNode* node) {
    timers_.reserve();
    ready_.claim();
    if (clock_ != nullptr) [[unlikely]]
      node->when = clock_->register_deadline(node->when);
    timers_.push(node);
  }
  /// Afterwards nothing refers to a node whose entry is a leaf, even if it was due and its entry is
  /// in the ready queue.
  void remove_timer(TimerNode* node) noexcept {
    if (node->index != TimerNode::kNotInHeap) {
      timers_.remove(node);
      ready_.give_back();
    } else if (node->entry.kind() == Entry::Kind::leaf) {
      withdraw(node);
    }
  }
  void set_clock(std::shared_ptr<Clock> clock);
  void set_shuffle(std::uint64_t seed);

  // --- tasks ---
  // True if they are not made by TaskBase::begin alone.
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
  FIBER_INLINE fiber::detail::GreenletObject* next_greenlet(bool fiber_has_ended = false);
  void start_task(TaskBase* task);
  void abandon(TaskBase* task) noexcept;
  void abandon_all() noexcept;

  // --- running ---
  void run_forever();
  void run_until_done(FutureBase& future, bool new_task);
  // --- inside a foreign main loop (embedding.cpp) ---
  // From the first call on, between two runs, the descriptor is readable when there is work.
  int embed();
  bool run_ready(std::int64_t budget);
  /// When run_ready should be called next: now() or before, or kForever.
  std::int64_t next_deadline();
  /// A timer was set while the loop did not run.
  void deadline_changed() noexcept {
    if (resting_) [[unlikely]]
      rest();
  }
  void stop() noexcept { stopping_ = true; }
  void close();
  bool is_running() const noexcept { return running_; }
  bool is_closed() const noexcept { return closed_; }
  /// Closed, and nothing is left of what it had.
  bool gone() const noexcept { return gone_; }
  void check_closed() const;
  void check_not_running() const;
  /// In the selector, from any thread: the loop has nothing to do.
  bool sleeping() const noexcept { return sleeping_.load(std::memory_order_relaxed); }
  bool on_own_thread() const noexcept { return running_ && thread_ == core_thread(); }
  /// False on another thread than the one that runs the loop.
  bool may_be_called() const noexcept { return !running_ || thread_ == core_thread(); }
  /// Throws RuntimeError there.
  void check_thread() const {
    if (!may_be_called()) [[unlikely]]
      refuse_thread();
  }

  // --- threads (see loop_threads.cpp) ---
  // The thread ends that runs the loop.
  void thread_exits() noexcept;
  /// The thread ends; of all loops that ran on it.
  static void leave_thread(const fiber::detail::GreenletThread& thread) noexcept;

  // --- signals (see loop_signals.cpp) ---
  /// Throw RuntimeError, ValueError.
  void add_signal_handler(int number, core::Ref<HandleObject> handle);
  bool remove_signal_handler(int number);
  /// In a signal handler: what has arrived is looked at as soon as the hub runs.
  void attend_to_signals() noexcept;

  // --- descriptors ---
  void add_reader(int fd, core::Ref<HandleObject> handle);
  bool remove_reader(int fd);
  void add_writer(int fd, core::Ref<HandleObject> handle);
  bool remove_writer(int fd);
  /// See Selector. The descriptor must not block.
  void watch(Watch& watch, int fd);
  void refuse_watched(int fd);
  bool unwatch(Watch& watch) noexcept;
  void forget(Watch& watch) noexcept;
  void read_again(Watch& watch) noexcept;
  int wait(DescriptorWait& wait);
  void leave(DescriptorWait& wait) noexcept;
  bool has_waits(int fd) const noexcept;
  void closing(int fd) noexcept;
  /// What transports read into, before they know whose it is: one for all, always warm.
  static constexpr std::size_t kScratchSize = 256 * 1024;  ///< as CPython: at most this per recv
  char* scratch() {
    if (scratch_ == nullptr) [[unlikely]]
      scratch_.reset(new char[kScratchSize]);
    return scratch_.get();
  }

  // --- errors ---
  // Throws nothing but the unwinding of a thread that the handler ends.
  void call_exception_handler(const ExceptionContext& context);
  /// The same where nothing may throw: the context is made here.
  void report(const char* message, const FutureRef& task) noexcept;
  std::shared_ptr<exception_handler> handler;
  /// Thrown out of run_forever as soon as the hub runs (KeyboardInterrupt, SystemExit).
  std::exception_ptr interrupt;

  TaskBase* current_task = nullptr;
  TaskBase* starting = nullptr;
  fiber::detail::GreenletObject* hub = nullptr;
  /// The greenlet that called run_forever: the hub, except in an eager step, whose creator is.
  fiber::detail::GreenletObject* root = nullptr;
  fiber::detail::GreenletThread* greenlets = nullptr;
  TaskBase* graveyard = nullptr;   ///< a finished task whose end is to be reported on the hub
  TaskBase* tasks_head = nullptr;  ///< unfinished tasks, oldest first
  TaskBase* tasks_tail = nullptr;
  std::size_t task_count = 0;
  long futures_alive = 0;
  std::uint64_t iterations = 0;  ///< begun so far
  // --- for those who want to know more (see loop_debug.cpp) ---
  static bool debug_from_environment() noexcept;
  bool debug = false;  ///< changed by set_debug
  void set_debug(bool enabled);
  std::chrono::nanoseconds slow_callback_duration{100'000'000};
  /// From now on every new future is known, until it dies, and every unfinished task.
  void register_futures();
  /// Oldest first; tasks too.
  std::vector<FutureBase*> registered_futures() const;
  /// Null unless futures are registered.
  ObjectRegistry* registry() noexcept { return registry_.get(); }
  void set_observer(std::shared_ptr<LoopObserver> observer);
  const std::shared_ptr<LoopObserver>& observer() const noexcept { return observer_; }
  HandleObject* current_handle() const noexcept { return current_handle_; }
  void cancellation_swallowed(TaskBase& task) noexcept;

  bool warn_deadlock = true;
  bool raise_deadlock = false;
  std::shared_ptr<concurrent::futures::Executor> default_executor;
  bool executor_shutdown_called = false;
  std::atomic<long> outside_work{0};  ///< jobs on other threads that will post here
  std::atomic<bool> signals{false};   ///< some may have arrived
  std::function<void()> on_signal;    ///< runs on the hub when they may; may throw

 private:
  friend class Selector;
  friend class FutureBase;
  friend class TaskBase;
  friend class LoopDependent;
  void run_once();
  void run_observed_batch();
  void run_observed_task(TaskBase* task);
  void run_observed_handle(HandleObject* handle);
  void run_entry(Entry entry);
  void run_handle(HandleObject* handle);
  void run_task(TaskBase* task);
  bool quick_turn() noexcept;
  FIBER_INLINE void fetch_ahead() noexcept;
  void append_post(HandleObject* handle) noexcept;
  HandleObject* pop_post() noexcept;
  void release_posts() noexcept;
  void take_posted() noexcept;
  void queue_due_timers() noexcept;
  void withdraw(TimerNode* node) noexcept;
  void update_modes() noexcept;
  void add_future(FutureBase* future) noexcept;
  void remove_future(FutureBase* future) noexcept;
  void look_at_signals(bool may_queue);
  void drop_signal_handlers() noexcept;
  /// A GreenletExit that arrives here is for the greenlet in which the loop runs, not for a
  /// callback.
  bool on_dying_hub() const noexcept {
    return root != nullptr && root == greenlets->current && !root->is_main;
  }
  void report_handler(const ExceptionContext& context);
  [[noreturn]] static void refuse_thread();
  void drop_ready() noexcept;
  void begin_batch() noexcept;
  void poll(std::int64_t deadline);
  void bury() noexcept;
  bool can_ever_wake() const noexcept;
  void report_deadlock();
  void dismiss_parked() noexcept;
  bool lives_elsewhere() const noexcept;
  void check_home(const char* what) const;
  void settle();
  void end_tasks(bool all) noexcept;
  void end_current() noexcept;
  void leave_thread() noexcept;
  void run(bool once);
  void rest() noexcept;
  void ring() noexcept;
  static void task_main(void* loop);
  static constexpr std::int64_t kClockResolution = 1;  ///< nanoseconds
  static constexpr std::size_t kManyReady = 32;
  static constexpr std::uint32_t kMostParked = 16;
  static const void* core_thread() noexcept { return core::tls_thread_state; }

  ReadyQueue ready_;
  std::size_t batch_ = 0;
  ParkedFiber* parked_ = nullptr;
  std::uint32_t parked_count_ = 0;
  core::FloatModes float_modes_;  ///< of who runs the loop: every task starts with them
  TimerHeap timers_;
  LoopDependent* dependents_ = nullptr;
  std::unique_ptr<Selector> selector_;
  std::unique_ptr<char[]> scratch_;
  std::shared_ptr<Clock> clock_;
  std::uint64_t shuffle_state_ = 0;
  std::unique_ptr<ObjectRegistry> registry_;
  std::shared_ptr<LoopObserver> observer_;
  std::shared_ptr<task_factory> factory_;
  std::unique_ptr<SignalHandlers> signal_handlers_;
  HandleObject* current_handle_ = nullptr;  ///< while the loop is observed
  std::size_t through_hub_ = 0;  ///< a word, so that quick_turn tests it along with another
  bool special_tasks_ = false;
  bool running_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  bool gone_ = false;
  bool made_outside_ = false;  ///< tasks were made since it ran last
  bool exiting_ = false;       ///< with its thread
  bool unwinding_ = false;     ///< its last thread is ending, and its tasks with it
  bool deadlock_reported_ = false;
  bool embedded_ = false;
  bool resting_ = false;  ///< embedded, and the host's turn: whoever brings work rings
  const void* thread_ = nullptr;

  std::mutex post_mutex_;
  Callback* posts_ = nullptr;  ///< handles from other threads
  Callback* last_post_ = nullptr;
  /// Also set while the loop rests, so that whoever pushes comes by take_posted().
  std::atomic<bool> posted_{false};
  std::atomic<bool> sleeping_{false};
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
