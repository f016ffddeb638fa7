// The thread on which a loop runs.
//
// Invariants
//  1. Fibers never change their thread: tasks that a loop has suspended on a thread are unwound
//     there, at the latest when the thread ends. A loop moves to another thread only without
//     suspended tasks.
//  2. Tasks that were made while the loop did not run become fibers of the thread on which it runs
//     next, before it runs.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/thread_state.hpp>

namespace fiber::detail {
class GreenletThread;
}  // namespace fiber::detail

namespace fiber::asyncio::detail {

class LoopObject;

class FIBER_API Home {
 public:
  explicit Home(LoopObject& loop) noexcept : loop_(loop) {}
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  bool occupied() const noexcept { return thread_ != nullptr; }  ///< the loop runs
  bool is_here() const noexcept { return occupied() && thread_ == core::tls_thread_state; }
  /// Returns false on another thread than the one that runs the loop.
  bool may_be_called() const noexcept { return !occupied() || thread_ == core::tls_thread_state; }
  /// Throws RuntimeError unless may_be_called().
  void check_thread() const {
    if (!may_be_called()) [[unlikely]]
      refuse_thread();
  }
  /// Throws RuntimeError("Cannot <what> the event loop on this thread") if tasks are suspended on
  /// another thread.
  void check(const char* what) const;

  /// Called when the loop is about to run here, with the tasks that were made while it did not run.
  void arrive();
  /// Called when the loop has stopped. Returns true if its thread ends.
  bool depart() noexcept;
  void task_made_outside() noexcept { made_outside_ = true; }

  /// Called when the thread that runs the loop ends.
  void thread_exits() noexcept;
  /// Called when the thread ends, for all loops that ran on it.
  static void thread_exits(const fiber::detail::GreenletThread& thread) noexcept;

 private:
  [[noreturn]] static void refuse_thread();
  bool is_elsewhere() const noexcept;
  void settle();
  void end_current() noexcept;
  void leave() noexcept;

  const void* thread_ = nullptr;  ///< null while the loop does not run
  bool made_outside_ = false;     ///< tasks were made since it ran last
  bool exiting_ = false;          ///< the loop ends with its thread
  bool unwinding_ = false;        ///< its last thread is ending, and its tasks with it
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
