// Cancels the future for which a task or a gather waits, and so on down to the last one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

namespace fiber::asyncio {
class TaskRef;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

class FutureBase;
class TaskBase;

/// Cancels in CPython's order, which is that of recursive calls of cancel(), but without recursion:
/// chains and trees may be deeper than a fiber's stack has room for. No memory is needed: the way
/// back is noted in the tasks and gathers themselves.
class Cancellation {
 public:
  explicit Cancellation(const std::string& message) noexcept : message_(message) {}
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  ~Cancellation();

  /// Cancels, once. Returns true if the future, or one for which it waits, will be told. Throws
  /// RuntimeError if a task waits for itself in this way.
  bool cancel(FutureBase& first);

  /// Cancels each task in turn. Calls of cancel() for many tasks that wait for each other take a
  /// time that grows with the square of their number; here each task is passed once, and told how
  /// often it was asked.
  static void cancel_all(std::span<const TaskRef> tasks);

 private:
  /// A task that waits for a task or a gather, and was passed.
  struct Passed {
    std::uint64_t asked_again = 0;
    std::size_t waited_for_by = 0;  ///< other passed tasks, as often as they ask
  };
  using PassedTasks = std::unordered_map<TaskBase*, Passed>;
  Cancellation(const std::string& message, PassedTasks& passed) noexcept
      : message_(message), passed_(&passed) {}
  static bool waits_for_others(const TaskBase& task) noexcept;
  static void ask_again(PassedTasks& passed);
  template <class F>
  static void for_each_passed(FutureBase& future, PassedTasks& passed, F&& function);
  static bool ask_again(FutureBase& future, std::uint64_t times, PassedTasks& passed);
  FutureBase* enter(FutureBase& future);
  FutureBase* leave();
  void push(FutureBase& future) noexcept;
  void pop() noexcept;
  [[noreturn]] void refuse_circle() const;
  std::string copy_of_message() const noexcept;

  const std::string& message_;
  PassedTasks* passed_ = nullptr;
  FutureBase* level_ = nullptr;  ///< a task, or a gather; it has a pointer to the one above
  bool told_ = false;            ///< the result of the level that was left last
};

}  // namespace fiber::asyncio::detail
