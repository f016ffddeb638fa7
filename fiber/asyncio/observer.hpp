// An observer of everything that a loop does, in the order in which it happens. While there is one
// (and in debug mode) every entry goes through the hub, which calls the observer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fiber::asyncio::detail {

/// Times are nanoseconds of the real monotonic clock, whatever clock the loop has.
class LoopObserver {
 public:
  struct Interval {
    std::int64_t begin;
    std::int64_t end;
  };
  struct TaskStep {
    std::uint64_t number;  ///< of the task; no other task of the loop has it
    std::string name;
    std::string coroutine;
    bool ended;
    std::string
        waits_for;  ///< the awaited future's repr, if the task has not ended: "" for sleep(0)
  };

  virtual ~LoopObserver() = default;
  virtual void iteration(std::uint64_t number, std::size_t ready, std::int64_t at) = 0;
  virtual void waited(Interval time) = 0;  ///< for descriptors, deadlines, other threads
  virtual void task_step(Interval time, const TaskStep& step) = 0;
  virtual void callback(Interval time, const std::string& name) = 0;
};

}  // namespace fiber::asyncio::detail
