// Debug mode, observers and tests: the records and reports that a loop makes for them.
//
// Invariants
//  1. While debug mode is on or there is an observer, the loop sends every entry through the hub
//     (LoopObject::update_modes) and has run_batch() run them; otherwise nothing here costs time.
//  2. The registry exists from its first use on; it has every unfinished task, and every future
//     that was made since.
//  3. A lack of memory here costs the observer a record, never the observed code anything.
#pragma once

#include <fiber/asyncio/observer.hpp>
#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>

#include <string>
#include <vector>

namespace fiber::asyncio::detail {

class FutureBase;
class HandleObject;
class LoopObject;
class ObjectRegistry;
class TaskBase;

class FIBER_API Observation {
 public:
  explicit Observation(LoopObject& loop) noexcept;
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;
  ~Observation();

  static bool debug_from_environment() noexcept;
  bool debug() const noexcept { return debug_; }
  void set_debug(bool enabled);
  LoopObserver* observer() const noexcept { return observer_.get(); }
  void set_observer(std::shared_ptr<LoopObserver> observer);
  bool on() const noexcept { return debug_ || observer_ != nullptr; }
  /// In debug mode a step that takes this long is reported.
  std::chrono::nanoseconds slow_callback_duration{100'000'000};

  /// Makes every new future known from now on, until it dies, and every unfinished task.
  void register_futures();
  /// Returns the futures, tasks included, oldest first.
  std::vector<FutureBase*> registered_futures() const;
  /// Returns null unless futures are registered.
  ObjectRegistry* registry() const noexcept { return registry_.get(); }
  void add(FutureBase* future) noexcept;
  void remove(FutureBase* future) noexcept;

  /// Runs the batch that has been counted. Fibers see an empty batch, so each comes back to the hub
  /// when it suspends.
  void run_batch();
  /// Returns the handle whose callback runs, while the loop is observed.
  HandleObject* current_handle() const noexcept { return current_handle_; }
  /// Notes that the loop has waited since `begin`, in nanoseconds of the monotonic clock.
  void waited(std::int64_t begin) noexcept;
  /// Notes that a task has ended with a result although it was cancelled.
  void cancellation_swallowed(TaskBase& task) noexcept;

 private:
  void run_task(TaskBase* task);
  void run_handle(core::Ref<HandleObject> handle);

  LoopObject& loop_;
  bool debug_ = false;
  core::Owner<ObjectRegistry> registry_;
  std::shared_ptr<LoopObserver> observer_;
  HandleObject* current_handle_ = nullptr;
};

}  // namespace fiber::asyncio::detail
