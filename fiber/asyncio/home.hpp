// The thread on which a loop runs.
//
// Invariants
//  1. Fibers never change their thread: what a loop has suspended on one is unwound there, at the
//     latest when the thread ends. A loop moves to another thread only without suspended tasks.
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
  /// False on another thread than the one that runs the loop.
  bool may_be_called() const noexcept { return !occupied() || thread_ == core::tls_thread_state; }
  /// Throws RuntimeError there.
  void check_thread() const {
    if (!may_be_called()) [[unlikely]]
      refuse_thread();
  }
  /// Throws RuntimeError("Cannot <what> the event loop on this thread") if tasks are suspended on
  /// another one.
  void check(const char* what) const;

  /// The loop is about to run here, and so are the tasks that were made while it did not run.
  void arrive();
  /// True: it has been left because its thread ends.
  bool depart() noexcept;
  void task_made_outside() noexcept { made_outside_ = true; }

  /// The thread ends that runs the loop.
  void thread_exits() noexcept;
  /// The thread ends; of all loops that ran on it.
  static void thread_exits(const fiber::detail::GreenletThread& thread) noexcept;

 private:
  [[noreturn]] static void refuse_thread();
  bool is_elsewhere() const noexcept;
  void settle();
  void end_current() noexcept;
  void leave() noexcept;

  const void* thread_ = nullptr;  ///< null while the loop does not run
  bool made_outside_ = false;     ///< tasks were made since it ran last
  bool exiting_ = false;          ///< with its thread
  bool unwinding_ = false;        ///< its last thread is ending, and its tasks with it
  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
