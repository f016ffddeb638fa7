// Cancels what a task or a gather waits for, and what that waits for.
#pragma once

#include <string>

namespace fiber::asyncio::detail {

class FutureBase;
class TaskBase;

// In CPython's order, which is that of recursive calls of cancel(); but chains and trees of any
// depth are gone through without recursion, for which a fiber's stack has no room, and without a
// need for memory: the way back is noted in the tasks and gathers themselves.
class Cancellation {
 public:
  explicit Cancellation(const std::string& message) noexcept : message_(message) {}
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  ~Cancellation();

  // Once. True if the future, or something that it waits for, will be told. Throws RuntimeError if
  // a task waits for itself in this way.
  bool cancel(FutureBase& first);

 private:
  FutureBase* enter(FutureBase& future);
  FutureBase* leave();
  void push(FutureBase& future) noexcept;
  void pop() noexcept;
  [[noreturn]] void refuse_circle() const;
  std::string copy_of_message() const noexcept;

  const std::string& message_;
  FutureBase* level_ = nullptr;  // a task, or a gather; it knows the one above
  bool told_ = false;            // what was left last
};

}  // namespace fiber::asyncio::detail
