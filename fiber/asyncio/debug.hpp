// Finding mistakes in programs that run under asyncio. See also EventLoop::set_debug.
#pragma once

#include <fiber/asyncio/origin.hpp>
#include <fiber/config.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <string>

namespace fiber::asyncio {

namespace detail {

class TaskBase;

/// A lock that is held in a scope, by a task of a loop in debug mode; elsewhere without effect.
class FIBER_API HeldLock {
 public:
  HeldLock();
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;
  ~HeldLock();

  core::Links<HeldLock> links;  ///< among those of the thread

 private:
  friend void report_held_locks(const TaskBase& task);
  const TaskBase* holder_ = nullptr;  ///< null: unknown, or reported already
  core::Owner<const Origin> taken_;
};

/// Reports the locks that the task holds. Called when it has suspended.
void report_held_locks(const TaskBase& task);

/// A further check after each step in debug mode, on the thread of the loop: with the task, or null
/// if it is gone, and whether it has ended. Null at first. May be set from any thread.
struct Step {
  const TaskBase* task;
  const std::string& name;
  bool ended;
};
using StepCheck = void (*)(const Step& step);
FIBER_API void set_step_check(StepCheck check) noexcept;
void check_step(const Step& step);

}  // namespace detail

/// Holds a std::mutex (or any type with lock and unlock) for a scope in which the task must not
/// suspend: another task of the same thread that locks the mutex would block the thread for ever.
/// In debug mode a task that suspends is reported, with the place where the mutex was taken;
/// otherwise this is std::lock_guard. For a scope in which a task must wait, use asyncio::Lock.
template <class Mutex>
class [[nodiscard]] debug_lock_guard {
 public:
  explicit debug_lock_guard(Mutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  debug_lock_guard(const debug_lock_guard&) = delete;
  debug_lock_guard& operator=(const debug_lock_guard&) = delete;
  ~debug_lock_guard() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
  detail::HeldLock held_;
};

}  // namespace fiber::asyncio
