// Cancels what a task or a gather waits for, and what that waits for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fiber::asyncio::detail {

class FutureBase;
class TaskBase;

// In CPython's order, which is that of recursive calls of cancel(); but chains and trees of any
// depth are gone through without recursion, for which a fiber's stack has no room.
class Cancellation {
 public:
  explicit Cancellation(std::string message) noexcept : message_(std::move(message)) {}
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  ~Cancellation();

  // Once. True if the future, or something that it waits for, will be told. Throws RuntimeError if
  // a task waits for itself in this way.
  bool cancel(FutureBase& first);

 private:
  struct Level {
    FutureBase* future;     // a task, or a gather
    std::size_t index = 0;  // of the gather's child that is being cancelled
    bool any = false;       // of the children before it was told
  };
  FutureBase* enter(FutureBase& future);
  FutureBase* leave();

  std::string message_;
  std::vector<Level> levels_;
  bool told_ = false;  // what was left last
};

}  // namespace fiber::asyncio::detail
