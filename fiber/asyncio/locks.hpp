// Primitives by which tasks of one loop wait for each other. Python: asyncio.locks.
//
// All are counted references, like Python's: a copy is the same lock. They belong to one thread,
// and to the loop in which a task first has to wait: RuntimeError from another loop. Waiting tasks
// are served in the order of coming, and a wait allocates nothing. A call that need not wait does
// not suspend the task. Where a comment says "await it", a call alone does nothing. An object that
// was moved from may only be assigned to, or destroyed.
//
//   asyncio::with(lock, [&] { ... });        // async with lock: ...
//   std::lock_guard guard(lock);             // locks for a scope (Lock, Condition, Semaphore)
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/waiting_line.hpp>
#include <fiber/core/ref.hpp>

#include <cstddef>
#include <exception>
#include <limits>
#include <string>
#include <utility>

namespace fiber::asyncio {

namespace detail {

class FIBER_API LockObject final : public core::Counted<LockObject>, LoopBound {
 public:
  bool locked() const noexcept { return locked_; }
  void acquire() {
    if (!locked_ && !waiters_.any_wanting()) [[likely]]
      locked_ = true;
    else
      acquire_in_line();
  }
  void unlock();
  void take_anyway() noexcept { locked_ = true; }
  std::string repr() const;

 private:
  void acquire_in_line();
  void wake_up_first();

  bool locked_ = false;
  WaitingLine waiters_;
};

class FIBER_API EventObject final : public core::Counted<EventObject>, LoopBound {
 public:
  bool is_set() const noexcept { return value_; }
  void set();
  void clear() noexcept { value_ = false; }
  void wait();
  void check_thread() const { waiters_.check_thread(); }  ///< before a change of which set() tells
  std::string repr() const;

 private:
  bool value_ = false;
  WaitingLine waiters_;
};

class FIBER_API ConditionObject final : public core::Counted<ConditionObject>, LoopBound {
 public:
  explicit ConditionObject(core::Ref<LockObject> its_lock) noexcept : lock(std::move(its_lock)) {}
  void wait();
  void notify(std::size_t count);
  std::string repr() const;

  const core::Ref<LockObject> lock;

 private:
  void wake_up(std::size_t count);
  WaitingLine waiters_;
};

class FIBER_API SemaphoreObject final : public core::Counted<SemaphoreObject>, LoopBound {
 public:
  SemaphoreObject(std::ptrdiff_t value, bool bounded);
  bool locked() const noexcept { return value_ == 0 || waiters_.any_wanting(); }
  void acquire() {
    if (!locked()) [[likely]]
      --value_;
    else
      acquire_in_line();
  }
  void give_back();
  std::string repr() const;

 private:
  void acquire_in_line();
  bool wake_up_next();

  std::ptrdiff_t value_;
  std::ptrdiff_t bound_;
  bool bounded_;
  WaitingLine waiters_;
};

class FIBER_API BarrierObject final : public core::Counted<BarrierObject> {
 public:
  explicit BarrierObject(std::ptrdiff_t parties);
  std::size_t wait();
  void reset();
  void abort();
  std::size_t parties() const noexcept { return parties_; }
  std::size_t n_waiting() const noexcept { return state_ == State::filling ? count_ : 0; }
  bool broken() const noexcept { return state_ == State::broken; }
  std::string repr() const;

 private:
  enum class State : unsigned char { filling, draining, resetting, broken };
  void block();
  void fill();
  void leave();
  template <class F>
  void wait_until(F predicate);

  core::Ref<ConditionObject> condition_;
  std::size_t parties_;
  std::size_t count_ = 0;
  State state_ = State::filling;
};

/// Releases at the end of a scope: an error that unwinds the scope is not replaced by another.
template <class Object>
void unlock(Object& object) {
  if (!object.locked() && std::uncaught_exceptions() != 0) return;
  object.unlock();
}

}  // namespace detail

/// A mutex for tasks; not owned by the task that locked it. A task that releases it while others
/// wait, and locks it again, goes to the end of the line. Python: asyncio.Lock.
class FIBER_API Lock {
 public:
  Lock() : object_(new detail::LockObject) {}

  /// Locks; await it; returns true.
  auto acquire() const {
    return detail::Deferred([object = object_] {
      object->acquire();
      return true;
    });
  }
  /// Lets the first task in line go on, in the next iteration. Throws RuntimeError if it is not
  /// locked.
  void release() const { object_->unlock(); }
  /// True between acquire() and release().
  bool locked() const noexcept { return object_->locked(); }
  /// Returns Python's repr: "<asyncio.locks.Lock object at 0x… [locked, waiters:2]>".
  std::string repr() const { return object_->repr(); }

  /// For std::lock_guard; lock() waits at once.
  void lock() const { object_->acquire(); }
  void unlock() const { detail::unlock(*object_); }
  /// For asyncio::with.
  using counted_handle = void;
  void enter() const { object_->acquire(); }
  bool exit(const std::exception_ptr&) const {
    object_->unlock();
    return false;
  }

  friend bool operator==(const Lock& a, const Lock& b) noexcept { return a.object_ == b.object_; }
  Lock(const Lock&) noexcept = default;  ///< moving is copying: a handle is never empty
  Lock& operator=(const Lock&) noexcept = default;
  ~Lock() = default;

 private:
  friend class Condition;
  explicit Lock(core::Ref<detail::LockObject> object) noexcept : object_(std::move(object)) {}
  core::Ref<detail::LockObject> object_;
};

/// A flag for which tasks wait. Python: asyncio.Event.
class FIBER_API Event {
 public:
  Event() : object_(new detail::EventObject) {}

  bool is_set() const noexcept { return object_->is_set(); }  ///< true after set()
  /// Lets all waiting tasks go on, in the order in which they came, even if the flag is cleared at
  /// once.
  void set() const { object_->set(); }
  void clear() const noexcept { object_->clear(); }  ///< later waits wait again
  /// Waits until the flag is set; await it; returns true.
  auto wait() const {
    return detail::Deferred([object = object_] {
      object->wait();
      return true;
    });
  }
  std::string repr() const { return object_->repr(); }  ///< Python's

  friend bool operator==(const Event& a, const Event& b) noexcept { return a.object_ == b.object_; }
  Event(const Event&) noexcept = default;
  Event& operator=(const Event&) noexcept = default;
  ~Event() = default;

 private:
  core::Ref<detail::EventObject> object_;
};

/// A lock, and tasks that wait for notifications from tasks that hold it. Python:
/// asyncio.Condition.
class FIBER_API Condition {
 public:
  /// Makes a condition with a lock of its own, or with a given one.
  Condition() : Condition(Lock()) {}
  explicit Condition(const Lock& lock) : object_(new detail::ConditionObject(lock.object_)) {}

  /// The functions of the lock.
  auto acquire() const { return Lock(object_->lock).acquire(); }
  void release() const { object_->lock->unlock(); }                 ///< see Lock::release
  bool locked() const noexcept { return object_->lock->locked(); }  ///< see Lock::locked

  /// Gives the lock up until a notification, and takes it again; await it; returns true. May return
  /// without a notification: check the condition again. If cancelled, takes the lock before it
  /// throws, and passes on a notification that it cannot use. Throws RuntimeError if the lock is
  /// not held.
  auto wait() const {
    return detail::Deferred([object = object_] {
      object->wait();
      return true;
    });
  }
  /// Calls wait() until `predicate()` is true; await it; returns the predicate's last result.
  template <class P>
  auto wait_for(P predicate) const {
    return detail::Deferred([object = object_, predicate = std::move(predicate)]() mutable {
      for (;;) {
        auto result = predicate();
        if (result) return result;
        object->wait();
      }
    });
  }
  /// Lets the first `count` waiting tasks go on, once they get the lock. Throws RuntimeError if the
  /// lock is not held.
  void notify(std::size_t count = 1) const { object_->notify(count); }
  /// Lets all waiting tasks go on.
  void notify_all() const { object_->notify(std::numeric_limits<std::size_t>::max()); }
  std::string repr() const { return object_->repr(); }  ///< Python's

  void lock() const { object_->lock->acquire(); }
  void unlock() const { detail::unlock(*object_->lock); }
  using counted_handle = void;
  void enter() const { object_->lock->acquire(); }
  bool exit(const std::exception_ptr&) const {
    object_->lock->unlock();
    return false;
  }

  friend bool operator==(const Condition& a, const Condition& b) noexcept {
    return a.object_ == b.object_;
  }
  Condition(const Condition&) noexcept = default;
  Condition& operator=(const Condition&) noexcept = default;
  ~Condition() = default;

 private:
  core::Ref<detail::ConditionObject> object_;
};

/// A number of places; a task that finds none waits. Python: asyncio.Semaphore.
class FIBER_API Semaphore {
 public:
  /// Throws ValueError if `value` is negative.
  explicit Semaphore(std::ptrdiff_t value = 1) : Semaphore(value, false) {}

  /// Takes a place; await it; returns true.
  auto acquire() const {
    return detail::Deferred([object = object_] {
      object->acquire();
      return true;
    });
  }
  /// Gives a place back: at once to the first task in line, if there is one. Throws ValueError if
  /// there are PTRDIFF_MAX places already.
  void release() const { object_->give_back(); }
  /// Returns true if acquire() would wait.
  bool locked() const noexcept { return object_->locked(); }
  std::string repr() const { return object_->repr(); }  ///< Python's

  void lock() const { object_->acquire(); }
  void unlock() const { object_->give_back(); }
  using counted_handle = void;
  void enter() const { object_->acquire(); }
  bool exit(const std::exception_ptr&) const {
    object_->give_back();
    return false;
  }

  friend bool operator==(const Semaphore& a, const Semaphore& b) noexcept {
    return a.object_ == b.object_;
  }
  Semaphore(const Semaphore&) noexcept = default;
  Semaphore& operator=(const Semaphore&) noexcept = default;
  ~Semaphore() = default;

 protected:
  Semaphore(std::ptrdiff_t value, bool bounded)
      : object_(new detail::SemaphoreObject(value, bounded)) {}

 private:
  core::Ref<detail::SemaphoreObject> object_;
};

/// A semaphore whose release() throws ValueError beyond the first value. Python:
/// asyncio.BoundedSemaphore.
class FIBER_API BoundedSemaphore : public Semaphore {
 public:
  explicit BoundedSemaphore(std::ptrdiff_t value = 1) : Semaphore(value, true) {}
};

/// Lets tasks go on once `parties` of them have come; can be used again. Python: asyncio.Barrier.
class FIBER_API Barrier {
 public:
  /// Throws ValueError if `parties` is less than 1.
  explicit Barrier(std::ptrdiff_t parties) : object_(new detail::BarrierObject(parties)) {}

  /// Waits for the others; await it; returns a number from 0 in the order of coming: the last task,
  /// which does not wait, gets parties-1. Tasks that come while those of the round before are
  /// leaving wait first. Throws BrokenBarrierError.
  auto wait() const {
    return detail::Deferred([object = object_] { return object->wait(); });
  }
  /// Throws BrokenBarrierError in the waiting tasks, and makes the barrier as new; await it.
  auto reset() const {
    return detail::Deferred([object = object_] { object->reset(); });
  }
  /// Throws BrokenBarrierError in the waiting tasks, and in tasks that call wait() before reset().
  /// Await the result.
  auto abort() const {
    return detail::Deferred([object = object_] { object->abort(); });
  }
  std::size_t parties() const noexcept { return object_->parties(); }  ///< of the constructor
  /// Tasks that wait for the others.
  std::size_t n_waiting() const noexcept { return object_->n_waiting(); }
  bool broken() const noexcept { return object_->broken(); }  ///< true after abort()
  std::string repr() const { return object_->repr(); }        ///< Python's

  /// asyncio::with passes the number to the block.
  using counted_handle = void;
  std::size_t enter() const { return object_->wait(); }
  static bool exit(const std::exception_ptr&) noexcept { return false; }

  friend bool operator==(const Barrier& a, const Barrier& b) noexcept {
    return a.object_ == b.object_;
  }
  Barrier(const Barrier&) noexcept = default;
  Barrier& operator=(const Barrier&) noexcept = default;
  ~Barrier() = default;

 private:
  core::Ref<detail::BarrierObject> object_;
};

}  // namespace fiber::asyncio
