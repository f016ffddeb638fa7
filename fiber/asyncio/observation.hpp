// What a loop does for those who want to know more: debug mode, observers, tests.
//
// Invariants
//  1. While debug mode is on or there is an observer, the loop sends every entry through the hub
//     (LoopObject::update_modes) and has run_batch() run them; otherwise nothing here costs time.
//  2. There is a registry from the first moment on at which anybody wanted one; it has every
//     unfinished task, and every future that was made since.
//  3. Whatever fails here for want of memory is missed by who watches, not by what is watched.
#pragma once

#include <fiber/asyncio/observer.hpp>
#include <fiber/config.hpp>
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

  /// From now on every new future is known, until it dies, and every unfinished task.
  void register_futures();
  /// Oldest first; tasks too.
  std::vector<FutureBase*> registered_futures() const;
  /// Null unless futures are registered.
  ObjectRegistry* registry() const noexcept { return registry_.get(); }
  void add(FutureBase* future) noexcept;
  void remove(FutureBase* future) noexcept;

  /// The batch that has been counted. Fibers see an empty one, so each comes back to the hub when
  /// it gives way.
  void run_batch();
  /// The handle whose callback runs, while the loop is observed.
  HandleObject* current_handle() const noexcept { return current_handle_; }
  /// Since `begin`, in nanoseconds of the monotonic clock, the loop has waited.
  void waited(std::int64_t begin) noexcept;
  /// A task has ended with a result though it was asked to end.
  void cancellation_swallowed(TaskBase& task) noexcept;

 private:
  void run_task(TaskBase* task);
  void run_handle(HandleObject* handle);

  LoopObject& loop_;
  bool debug_ = false;
  std::unique_ptr<ObjectRegistry> registry_;
  std::shared_ptr<LoopObserver> observer_;
  HandleObject* current_handle_ = nullptr;
};

}  // namespace fiber::asyncio::detail
