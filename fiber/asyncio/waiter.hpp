// A future on the stack of the task that waits for it: nothing is allocated, and leaving the scope,
// in whatever way, takes it out of the list it stands in.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>

namespace fiber::asyncio::detail {

class WaiterList;

class Waiter : public FutureBase {
 public:
  explicit Waiter(LoopObject& loop) noexcept : FutureBase(on_stack(), loop) {}
  Waiter(LoopObject& loop, WaiterList& list) noexcept;
  ~Waiter() override;

  /// Suspends the current task until somebody ends this future. Throws what it was ended with, and
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
      set_exception(error);
  }

 private:
  friend class WaiterList;
  WaiterList* list_ = nullptr;
  Waiter* previous_ = nullptr;
  Waiter* next_ = nullptr;
};

/// Waiters in the order in which they came.
class WaiterList {
 public:
  WaiterList() = default;
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool empty() const noexcept { return first_ == nullptr; }
  /// Null: they go on; otherwise the exception is thrown in each.
  void wake_all(const std::exception_ptr& error = nullptr) {
    for (Waiter* at = first_; at != nullptr; at = at->next_) at->wake_with(error);
  }

 private:
  friend class Waiter;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

inline Waiter::Waiter(LoopObject& loop, WaiterList& list) noexcept : Waiter(loop) {
  list_ = &list;
  previous_ = list.last_;
  (list.last_ != nullptr ? list.last_->next_ : list.first_) = this;
  list.last_ = this;
}

inline Waiter::~Waiter() {
  if (list_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : list_->first_) = next_;
  (next_ != nullptr ? next_->previous_ : list_->last_) = previous_;
}

}  // namespace fiber::asyncio::detail
