// The signals that a loop handles; unix_events.hpp tells how they arrive.
//
// Invariant: `any_` is set after an arrival was noted, and cleared before arrivals are looked at.
#pragma once

#include <fiber/asyncio/base_handles.hpp>
#include <fiber/core/owner.hpp>
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

  /// Throws RuntimeError, ValueError; see EventLoop::add_signal_handler.
  void add_handler(int number, core::Ref<HandleObject> handle);
  bool remove_handler(int number);
  bool handled() const noexcept { return handlers_ != nullptr; }
  void drop_handlers() noexcept;

  /// Called in a signal handler: makes the hub look at arrived signals as soon as it runs.
  void attend() noexcept;
  /// Returns true if a signal may have arrived.
  bool any() const noexcept { return any_.load(std::memory_order_relaxed); }
  /// Looks at arrived signals; on the hub. May throw the exceptions of `on_signal`.
  void look(bool may_queue);
  std::function<void()> on_signal;  ///< runs on the hub when signals may have arrived; may throw

 private:
  std::atomic<bool> any_{false};
  core::Owner<SignalHandlers> handlers_;  ///< null: no handlers
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
