// The signals that a loop handles; how they arrive is told in unix_events.hpp.
//
// Invariant: `any_` is set after what has arrived was noted, and cleared before that is looked at.
#pragma once

#include <fiber/asyncio/base_handles.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>

#include <atomic>

namespace fiber::asyncio::detail {

class LoopObject;
class SignalHandlers;

class FIBER_API LoopSignals {
 public:
  explicit LoopSignals(LoopObject& loop) noexcept;
  LoopSignals(const LoopSignals&) = delete;
  LoopSignals& operator=(const LoopSignals&) = delete;
  ~LoopSignals();

  /// Throw RuntimeError, ValueError.
  void add_handler(int number, core::Ref<HandleObject> handle);
  bool remove_handler(int number);
  bool handled() const noexcept { return handlers_ != nullptr; }
  void drop_handlers() noexcept;

  /// In a signal handler: what has arrived is looked at as soon as the hub runs.
  void attend() noexcept;
  /// Some may have arrived.
  bool any() const noexcept { return any_.load(std::memory_order_relaxed); }
  /// On the hub. May throw what `on_signal` throws.
  void look(bool may_queue);
  std::function<void()> on_signal;  ///< runs on the hub when they may have arrived; may throw

 private:
  std::atomic<bool> any_{false};
  std::unique_ptr<SignalHandlers> handlers_;  ///< null: none
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
