// The event loop behind the `EventLoop` handles: runs the iterations, and is closed. It owns the
// parts that are named below, each of which keeps invariants of its own.
//
// Invariants
//  1. An iteration looks at posts of other threads, signals, descriptors and timers, in this
//     order, and then runs a batch; see SCHEDULER.md.
//  2. Each future of the loop and each unfinished task keeps it alive.
//  3. Nothing enters a closed loop, and everything that was in it has been told of the end.
#pragma once

#include <fiber/asyncio/base_futures.hpp>
#include <fiber/asyncio/base_handles.hpp>
#include <fiber/asyncio/deadlock.hpp>
#include <fiber/asyncio/embedding.hpp>
#include <fiber/asyncio/error_reports.hpp>
#include <fiber/asyncio/home.hpp>
#include <fiber/asyncio/interlude.hpp>
#include <fiber/asyncio/loop_dependent.hpp>
#include <fiber/asyncio/loop_signals.hpp>
#include <fiber/asyncio/mailbox.hpp>
#include <fiber/asyncio/observation.hpp>
#include <fiber/asyncio/task_registry.hpp>
#include <fiber/asyncio/timers.hpp>
#include <fiber/asyncio/turns.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <atomic>
#include <cstdint>
#include <utility>

namespace fiber::concurrent::futures {
class Executor;
class ThreadPoolExecutor;
}  // namespace fiber::concurrent::futures

namespace fiber::asyncio::detail {

class Selector;

class FIBER_API LoopObject {
 public:
  LoopObject();
  LoopObject(const LoopObject&) = delete;
  LoopObject& operator=(const LoopObject&) = delete;
  ~LoopObject();

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;
  /// Returns whether only the caller has a handle to the loop: the other references are those of
  /// its futures, and of handles that other threads will post.
  bool unreachable() const noexcept;

  /// The number of this loop, unique among all loops that this process ever had.
  const std::uint64_t serial;

  // --- the parts ---
  Turns& turns() noexcept { return turns_; }
  const Turns& turns() const noexcept { return turns_; }
  ReadyQueue& ready_queue() noexcept { return turns_.ready; }
  Timers& timers() noexcept { return timers_; }
  Selector& selector() noexcept { return *selector_; }
  Mailbox& mailbox() noexcept { return mailbox_; }
  LoopSignals& signals() noexcept { return signals_; }
  TaskRegistry& tasks() noexcept { return tasks_; }
  const TaskRegistry& tasks() const noexcept { return tasks_; }
  Home& home() noexcept { return home_; }
  const Home& home() const noexcept { return home_; }
  ErrorReports& errors() noexcept { return errors_; }
  Deadlock& deadlock() noexcept { return deadlock_; }
  Embedding& embedding() noexcept { return embedding_; }
  Observation& observation() noexcept { return observation_; }

  // --- what becomes ready ---
  /// Queues an entry that has a claim; see ReadyQueue.
  void push(Entry entry) noexcept {
    if (mailbox_.any()) [[unlikely]]
      take_posted();
    turns_.ready.push(entry);
  }
  void push(Callback* callback) noexcept;
  /// Queues a handle. Throws RuntimeError when the loop is closed, and on another thread than the
  /// loop's; std::bad_alloc.
  void call_soon(core::Ref<HandleObject> handle);
  /// Queues a handle from any thread. Throws RuntimeError when the loop is closed.
  void call_soon_threadsafe(core::Ref<HandleObject> handle);
  /// Queues a handle from any thread. A closed loop drops it: the callable is destroyed on this
  /// thread.
  void post(core::Ref<HandleObject> handle) noexcept {
    mailbox_.put(handle, Mailbox::State::closing);
  }
  std::int64_t now() const noexcept { return timers_.now(); }
  /// Adds a timer. Throws std::bad_alloc.
  void add_timer(TimerNode* node) { timers_.add(node, turns_.ready); }
  void remove_timer(TimerNode* node) noexcept {
    timers_.remove(node, turns_.ready, turns_.shuffled());
  }

  // --- running ---
  void run_forever();
  /// Runs one iteration, which does not wait and in which fibers begin no other by themselves.
  void run_iteration();
  void run_until_done(FutureBase& future, bool new_task);
  void stop() noexcept { stopping_ = true; }
  void close();
  bool is_running() const noexcept { return home_.occupied(); }
  bool is_closed() const noexcept { return closed_; }
  /// Returns true once the loop is closed and all its parts are empty.
  bool gone() const noexcept { return gone_; }
  void check_closed() const;
  void check_not_running() const;
  /// Updates the modes after a change of an unusual setting of Observation, Turns or TaskRegistry.
  void update_modes() noexcept;
  bool debug() const noexcept { return observation_.debug(); }
  /// The next three functions run on the hub. They throw exceptions that end the loop.
  void run_entry(Entry entry);
  void run_task(TaskBase* task);
  void run_handle(core::Ref<HandleObject> handle);
  /// Returns whether a fiber may begin the next iteration by itself, timers apart: no post or
  /// signal has come, no descriptor is watched, and stop() was not called.
  FIBER_INLINE bool left_alone() const noexcept;

  long futures_alive = 0;
  std::atomic<long> outside_work{0};  ///< jobs on other threads that will post here
  std::shared_ptr<concurrent::futures::Executor> default_executor;
  bool executor_shutdown_called = false;
  bool thread_ends = false;  ///< pthread_exit() or pthread_cancel() unwinds the thread that ran it

 private:
  friend class LoopDependent;
  friend struct DebuggerFields;

  void run(bool once);
  void run_once();
  void poll(std::int64_t deadline);
  void take_posted() noexcept;

  Turns turns_{*this};
  bool stopping_ = false;
  bool closed_ = false;
  bool gone_ = false;
  Timers timers_;
  core::Owner<Selector> selector_;
  Mailbox mailbox_;
  LoopSignals signals_{*this};
  TaskRegistry tasks_{*this};
  Home home_{*this};
  ErrorReports errors_{*this};
  Deadlock deadlock_;
  Embedding embedding_{*this};
  Observation observation_{*this};
  core::List<LoopDependent, LoopDependent::InLoop> dependents_;
  std::atomic<long> refs_{0};
};

inline constexpr std::size_t kThreadSlot = 1;  ///< see core::ThreadState::layers

/// The loop layer's part of the thread state.
struct FIBER_API AsyncioThread final : core::ThreadLayer {
  LoopObject* running = nullptr;
  LoopObject* set = nullptr;  ///< counted; get_event_loop returns it outside a running loop
  bool set_called = false;    ///< get_event_loop makes no loop any more
  void thread_exits() noexcept override;
  /// Returns the running task's name, if a task's own greenlet runs.
  const char* running_name() const noexcept override;

 private:
  mutable char task_name_[32] = {};  ///< "Task-N", which is stored nowhere else
};
FIBER_API AsyncioThread& make_asyncio_thread(core::ThreadState& thread);
/// Returns the loop layer's part of `thread`; null if the thread has used no loop yet, or no fiber.
inline AsyncioThread* asyncio_thread_of(const core::ThreadState* thread) noexcept {
  return core::layer_of<AsyncioThread>(thread, kThreadSlot);
}
inline AsyncioThread& asyncio_thread() {
  return core::layer_of_this_thread<AsyncioThread, make_asyncio_thread>(kThreadSlot);
}
/// Returns the loop that runs on this thread, or null.
inline LoopObject* running_loop_or_null() noexcept {
  const AsyncioThread* thread = asyncio_thread_of(core::tls_thread_state);
  return thread != nullptr ? thread->running : nullptr;
}

/// Returns the running loop of this thread; throws RuntimeError("no running event loop").
FIBER_API LoopObject& running_loop();

}  // namespace fiber::asyncio::detail

#include <fiber/asyncio/base_tasks.hpp>
