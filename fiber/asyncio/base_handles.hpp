// The objects behind the Handle and TimerHandle handles: callbacks of the user's.
#pragma once

#include <fiber/asyncio/base_futures.hpp>
#include <fiber/asyncio/timer_heap.hpp>
#include <fiber/asyncio/origin.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>
#include <fiber/core/type.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace fiber::asyncio::detail {

/// A callback in the ready queue or in the list of a future. Counted by any thread: the caller of
/// call_soon_threadsafe gets a handle.
class FIBER_API HandleObject : public Callback {
 public:
  explicit HandleObject(LoopObject* loop) noexcept : Callback(Kind::handle), loop_(loop) {}
  virtual ~HandleObject();
  virtual void call() = 0;
  /// Called on a done-callback when its future is done.
  virtual void scheduled_by(FutureBase* done) noexcept { static_cast<void>(done); }
  /// Returns true if it calls a function of that type that compares equal to this one.
  virtual bool calls(const core::Type& type, const void* function) const {
    static_cast<void>(type);
    static_cast<void>(function);
    return false;
  }

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) unreferenced();
  }
  /// Drops the callable at once on the thread that runs the loop, unless it is being called; else
  /// the loop drops it when its turn comes.
  virtual void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }
  /// Makes the handle drop its callable after the first call: the callable may own the object that
  /// keeps the handle.
  void call_once() noexcept { once_ = true; }
  /// Called by the loop after a call and the report of its exception.
  void called() noexcept {
    if (once_) drop_callable();
  }
  /// Drops the callable and a reference, on the loop's thread, when the loop will not call it.
  void abandon() noexcept {
    drop_callable();
    release();
  }
  /// Calls it, or does nothing if it was cancelled. Called by the loop alone, on its thread.
  void run();
  LoopObject* loop() const noexcept { return loop_; }
  /// Returns Python's repr, such as "<Handle main::{lambda()#1}()>".
  std::string repr() const;

  core::Ref<contextvars::detail::ContextObject> context;  ///< null: empty
  core::Owner<const Origin> created;                      ///< in debug mode

 protected:
  /// Destroys the callable. Called at most once.
  virtual void destroy_callable() noexcept {}
  bool has_callable() const noexcept { return has_callable_; }
  /// Drops the callable; on the loop's thread.
  void drop_callable() noexcept;

 private:
  void unreferenced() noexcept;

  std::atomic<std::uint32_t> refs_{1};
  std::atomic<bool> cancelled_{false};
  bool has_callable_ = true;
  bool called_now_ = false;
  bool once_ = false;
  LoopObject* loop_;
};

/// Adds the callable, which is destroyed before the handle if the handle is cancelled.
template <class F, class Base>
class WithCallable : public Base {
 public:
  template <class G>
  WithCallable(LoopObject* loop, G&& function) : Base(loop), function_(std::forward<G>(function)) {}
  ~WithCallable() override {
    if (this->has_callable()) function_.~F();
  }

 protected:
  void destroy_callable() noexcept override { function_.~F(); }
  union {
    F function_;
  };
};

template <class F>
class HandleOf final : public WithCallable<F, HandleObject> {
 public:
  using WithCallable<F, HandleObject>::WithCallable;
  void call() override { this->function_(); }
};

class FIBER_API TimerObject : public HandleObject {
 public:
  explicit TimerObject(LoopObject* loop) noexcept : HandleObject(loop) { call_once(); }
  void cancel() noexcept override;
  TimerNode node;
};

template <class F>
class TimerOf final : public WithCallable<F, TimerObject> {
 public:
  using WithCallable<F, TimerObject>::WithCallable;
  void call() override { this->function_(); }
};

}  // namespace fiber::asyncio::detail
