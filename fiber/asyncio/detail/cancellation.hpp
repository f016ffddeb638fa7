// Cancels what a task or a gather waits for, and what that waits for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace fiber::asyncio {
class TaskRef;
}  // namespace fiber::asyncio

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

  // The same as cancel() of each task in turn, whose time grows with the square of their number if
  // they wait for each other: here each is gone through once, and told how often it was asked.
  static void cancel_all(std::span<const TaskRef> tasks);

 private:
  // A task that waits for a task or a gather, and was gone through.
  struct Passed {
    std::uint64_t asked_again = 0;
    std::size_t waited_for_by = 0;  // others of these, as often as they ask it
  };
  using PassedTasks = std::unordered_map<TaskBase*, Passed>;
  explicit Cancellation(PassedTasks* passed) noexcept : passed_(passed) {}
  static bool waits_for_others(const TaskBase& task) noexcept;
  static void ask_again(PassedTasks& passed);
  template <class F>
  static void for_each_passed(FutureBase& future, PassedTasks& passed, F&& function);
  static bool ask_again(FutureBase& future, std::uint64_t times, PassedTasks& passed);
  struct Level {
    FutureBase* future;     // a task, or a gather
    std::size_t index = 0;  // of the gather's child that is being cancelled
    bool any = false;       // of the children before it was told
  };
  FutureBase* enter(FutureBase& future);
  FutureBase* leave();

  std::string message_;
  PassedTasks* passed_ = nullptr;
  std::vector<Level> levels_;
  bool told_ = false;  // what was left last
};

}  // namespace fiber::asyncio::detail
