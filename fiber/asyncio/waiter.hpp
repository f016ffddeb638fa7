// A future on the stack of the task that waits for it: nothing is allocated, and leaving the scope,
// in whatever way, takes it out of its list.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/core/list.hpp>

namespace fiber::asyncio::detail {

class WaiterList;

class Waiter : public FutureBase {
 public:
  explicit Waiter(LoopObject& loop) noexcept : FutureBase(on_stack(), loop) {}
  Waiter(LoopObject& loop, WaiterList& list) noexcept;
  ~Waiter() override;

  /// Suspends the current task until this future is ended. Throws the future's exception, and
  /// CancelledError.
  void wait() {
    task_for_await().wait(this);
    check_result();
  }
  void wake() {
    if (!done()) finish();
  }
  void wake_with(const std::exception_ptr& error) {
    if (error == nullptr)
      wake();
    else if (!done())
      end_with(error);
  }

 private:
  friend class WaiterList;
  struct InList {
    static core::Links<Waiter>& of(Waiter& waiter) noexcept { return waiter.links_; }
  };
  WaiterList* list_ = nullptr;
  core::Links<Waiter> links_;
};

/// Waiters in the order in which they came.
class WaiterList {
 public:
  WaiterList() = default;
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool empty() const noexcept { return waiters_.empty(); }
  /// Wakes all. Null: they go on; otherwise each throws the exception.
  void wake_all(const std::exception_ptr& error = nullptr) {
    for (Waiter& waiter : waiters_) waiter.wake_with(error);
  }

 private:
  friend class Waiter;
  core::List<Waiter, Waiter::InList> waiters_;
};

inline Waiter::Waiter(LoopObject& loop, WaiterList& list) noexcept : Waiter(loop) {
  list_ = &list;
  list.waiters_.append(*this);
}

inline Waiter::~Waiter() {
  if (list_ != nullptr) list_->waiters_.remove(*this);
}

}  // namespace fiber::asyncio::detail
