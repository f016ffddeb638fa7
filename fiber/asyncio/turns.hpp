// The ready entries, the current iteration and the choice of the next fiber.
//
// Invariants
//  1. An iteration runs exactly the entries that were ready when its batch was counted; entries
//     that these append wait for the next one. `batch_` is the number left of the current batch.
//  2. A fiber that suspends takes the next entry itself and, if that is a fiber, switches to it
//     directly. The hub (the greenlet that called run_forever) is entered to run callbacks, timers
//     and the selector, and to end.
//  3. `current_task` is set before control reaches a task and is null while the hub runs.
//  4. Features that only some programs use have no cost for others: they hang on a word that is
//     tested anyway. `through_hub_` sends every entry through the hub (debug mode, observers,
//     shuffling, an eager step).
#pragma once

#include <fiber/asyncio/ready_queue.hpp>
#include <fiber/asyncio/parked_fibers.hpp>
#include <fiber/core/float_modes.hpp>
#include <fiber/greenlet/object.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace fiber::asyncio::detail {

class LoopObject;
class TaskBase;

class FIBER_API Turns {
 public:
  /// Throws at the first use of a thread.
  explicit Turns(LoopObject& loop);
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  ReadyQueue ready;
  TaskBase* current_task = nullptr;
  fiber::detail::GreenletObject* hub = nullptr;
  fiber::detail::GreenletThread* greenlets;
  /// The greenlet that called run_forever. It is the hub, too, except in an eager step, where the
  /// hub is the task's creator.
  fiber::detail::GreenletObject* root = nullptr;
  /// User code that runs between two fibers runs on behalf of this greenlet: the suspended one, or
  /// the hub if the fiber has ended. Null at any other time.
  fiber::detail::GreenletObject* between_fibers = nullptr;
  std::uint64_t iterations = 0;  ///< begun so far
  /// Thrown out of run_forever as soon as the hub runs (KeyboardInterrupt, SystemExit).
  std::exception_ptr interrupt;

  // --- in a task ---
  /// Suspends the running task until it is made ready. The caller has registered it before.
  FIBER_INLINE void suspend(TaskBase* task);
  /// Returns the greenlet of the running task; in a callback the hub; at the end of a task, where a
  /// destructor runs, the greenlet in whose place it does. Code of the user's may have switched
  /// from it to others.
  fiber::detail::GreenletObject* who_runs() const noexcept;
  /// Runs the first step of a task right here; returns when it suspends or ends. Throws
  /// KeyboardInterrupt and SystemExit.
  void step_eagerly(TaskBase& task);

  // --- on the hub ---
  void begin_run() noexcept;
  void end_run() noexcept;
  void begin_batch() noexcept;
  bool any_left() const noexcept { return batch_ != 0; }
  /// Returns the next entry of a batch that is not empty.
  FIBER_INLINE Entry take() noexcept;
  /// Takes the count of the whole batch, without its entries: fibers see an empty one.
  std::size_t take_batch() noexcept { return std::exchange(batch_, 0); }
  /// Runs a task until it suspends or ends.
  void run(TaskBase* task);
  void throw_interrupt() {
    if (interrupt) [[unlikely]]
      std::rethrow_exception(std::exchange(interrupt, nullptr));
  }
  /// Returns whether a GreenletExit that arrives here is for the greenlet in which the loop runs,
  /// and not for a callback.
  bool on_dying_hub() const noexcept {
    return root != nullptr && root == greenlets->current && !root->is_main;
  }

  // --- how ---
  /// Makes each batch run in an order that follows from the seed; 0: in its own order.
  void set_shuffle(std::uint64_t seed) noexcept;
  bool shuffled() const noexcept { return shuffle_state_ != 0; }
  void set_through_hub(bool wanted) noexcept { through_hub_ = wanted ? 1 : 0; }

  // --- the end ---
  /// Drops the ready entries: they will not run.
  void drop() noexcept;
  /// Drops the entries of abandoned tasks, and ends the batch: the other entries wait.
  void drop_abandoned() noexcept;
  /// Unwinds a suspended task whose loop will not run again.
  void abandon(TaskBase* task) noexcept;

 private:
  /// Marked hot, since GCC takes an endless loop for cold code.
  [[gnu::hot]] static void task_main(void* turns);
  FIBER_INLINE fiber::detail::GreenletObject* next_greenlet(bool fiber_has_ended = false);
  bool quick_turn() noexcept;
  bool quick_turn_before_timers() noexcept;
  FIBER_INLINE bool begin_quick_turn() noexcept;
  FIBER_INLINE void fetch_ahead() noexcept;
  void start_task(TaskBase* task);
  core::Stack* stack_for(TaskBase& task) noexcept;
  void end_unstarted(TaskBase& task, fiber::detail::GreenletObject* current) noexcept;
  FIBER_INLINE void make_current(TaskBase& task, core::Stack* stack) noexcept;
  FIBER_INLINE fiber::detail::GreenletObject* end_task(TaskBase& task);
  FIBER_INLINE fiber::detail::GreenletObject* next_that_runs(fiber::detail::GreenletObject* next,
                                                             const core::Stack& stack);
  [[noreturn]] void leave_abandoned(TaskBase& task) noexcept;
  void bury() noexcept;
  static constexpr std::size_t kManyReady = 32;

  std::size_t batch_ = 0;
  std::size_t through_hub_ = 0;    ///< a word, so that quick_turn tests it along with another
  TaskBase* starting_ = nullptr;   ///< found by next_greenlet(), if it has not started
  TaskBase* graveyard_ = nullptr;  ///< a finished task whose end is to be reported on the hub
  ParkedFibers parked_;
  core::FloatModes float_modes_;  ///< of the code that runs the loop: every task starts with them
  std::uint64_t shuffle_state_ = 0;
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
