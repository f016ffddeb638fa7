// The common part of the pools of threads and of processes: their shutdown.
#pragma once

#include <fiber/concurrent/executor.hpp>
#include <fiber/config.hpp>

#include <memory>
#include <mutex>

namespace fiber::concurrent::futures::detail {

/// A pool outlives its executor after shutdown({.wait = false}), until all work is done.
class FIBER_API Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  virtual ~Pool();

  /// Executor::shutdown. Does nothing in a forked child.
  void shutdown(ShutdownOptions options);
  /// Shuts down, for the executor's destructor and the program's exit.
  void finish(bool wait) noexcept { shutdown({.wait = wait && !is_own_thread()}); }
  /// Returns whether the executor's destructor waits for the work.
  bool wait_in_destructor();

 protected:
  /// Refuses new work from now on, and cancels pending work if it is told so. Sets the two flags
  /// below.
  virtual void refuse_work(ShutdownOptions options) = 0;
  /// Waits for the pool's threads; with join_mutex_ held.
  virtual void join() = 0;
  /// Returns true on a thread of the pool.
  virtual bool is_own_thread() const noexcept = 0;
  /// Returns true in a child process that has no threads of the pool.
  virtual bool forked() const noexcept = 0;

  std::mutex mutex_;
  bool shutdown_ = false;           // guarded by mutex_
  bool wait_in_destructor_ = true;  // guarded by mutex_

 private:
  std::mutex join_mutex_;  // never taken with mutex_ held
};

/// Makes the program wait for the pool in exit(), as Python does.
FIBER_API void finish_at_exit(std::weak_ptr<Pool> pool);

}  // namespace fiber::concurrent::futures::detail
