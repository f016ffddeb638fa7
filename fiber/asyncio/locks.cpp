#include <fiber/asyncio/locks.hpp>

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/exceptions/repr.hpp>

namespace fiber::asyncio::detail {
namespace {

// Returns Python's repr: "<asyncio.locks.Lock object at 0x… [locked, waiters:2]>".
std::string describe(const char* class_name, const void* object, const std::string& state,
                     const WaitingLine* waiters) {
  std::string text = std::string("<asyncio.locks.") + class_name + " object at " +
                     fiber::detail::address_repr(object) + " [" + state;
  if (waiters != nullptr && !waiters->empty())
    text += ", waiters:" + std::to_string(waiters->size());
  return text + "]>";
}

}  // namespace

// --- Lock ---------------------------------------------------------------------------------------

void LockObject::acquire_in_line() {
  TaskBase& task = task_that_waits(*this);
  const core::Ref<LockObject> held(this);
  TaskInLine waiter(waiters_, *task.loop());
  try {
    waiter.wait(task);
  } catch (...) {
    waiter.leave();
    // If it was this task's turn, the next one gets it.
    if (!locked_) wake_up_first();
    throw;
  }
  locked_ = true;
}

void LockObject::unlock() {
  if (!locked_) throw RuntimeError("Lock is not acquired.");
  wake_up_first();  // debug mode refuses other threads
  locked_ = false;
}

void LockObject::wake_up_first() {
  TaskInLine* first = waiters_.first();
  if (first != nullptr && !first->done()) first->finish();
}

std::string LockObject::repr() const {
  return describe("Lock", this, locked_ ? "locked" : "unlocked", &waiters_);
}

// --- Event --------------------------------------------------------------------------------------

void EventObject::set() {
  if (value_) return;
  while (TaskInLine* waiter = waiters_.first_pending()) waiter->finish();
  value_ = true;  // last, as debug mode refuses other threads
}

void EventObject::wait() {
  if (value_) return;
  TaskBase& task = task_that_waits(*this);
  const core::Ref<EventObject> held(this);
  TaskInLine waiter(waiters_, *task.loop());
  waiter.wait(task);
}

std::string EventObject::repr() const {
  return describe("Event", this, value_ ? "set" : "unset", &waiters_);
}

// --- Condition ----------------------------------------------------------------------------------

void ConditionObject::wait() {
  if (!lock->locked()) throw RuntimeError("cannot wait on un-acquired lock");
  TaskBase& task = task_that_waits(*this);
  const core::Ref<ConditionObject> held(this);
  std::exception_ptr error;
  {
    TaskInLine waiter(waiters_, *task.loop());
    lock->unlock();
    try {
      waiter.wait(task);
    } catch (...) {
      error = std::current_exception();
    }
  }
  for (bool locked = false; !locked && !task.abandoned();) {
    try {
      lock->acquire();
      locked = true;
    } catch (const CancelledError&) {
      error = std::current_exception();
    } catch (const GreenletExit&) {
      if (!task.abandoned()) throw;
      error = std::current_exception();
    }
  }
  if (task.abandoned()) lock->take_anyway();  // code that is unwound on this stack will release it
  if (error == nullptr) return;
  // This task may have used up a notification: pass it on.
  if (!task.abandoned()) wake_up(1);
  std::rethrow_exception(error);
}

void ConditionObject::notify(std::size_t count) {
  if (!lock->locked()) throw RuntimeError("cannot notify on un-acquired lock");
  wake_up(count);
}

void ConditionObject::wake_up(std::size_t count) {
  for (; count != 0; --count) {
    TaskInLine* waiter = waiters_.first_pending();
    if (waiter == nullptr) return;
    waiter->finish();
  }
}

std::string ConditionObject::repr() const {
  return describe("Condition", this, lock->locked() ? "locked" : "unlocked", &waiters_);
}

// --- Semaphore ----------------------------------------------------------------------------------

SemaphoreObject::SemaphoreObject(std::ptrdiff_t value, bool bounded)
    : value_(value),
      bound_(bounded ? value : std::numeric_limits<std::ptrdiff_t>::max()),
      bounded_(bounded) {
  if (value < 0) throw ValueError("Semaphore initial value must be >= 0");
}

void SemaphoreObject::acquire_in_line() {
  TaskBase& task = task_that_waits(*this);
  const core::Ref<SemaphoreObject> held(this);
  // Tasks that came while others were in line had to wait, perhaps without need.
  const auto wake_up_all_there_is_room_for = [this] {
    while (value_ > 0 && wake_up_next()) {
    }
  };
  TaskInLine waiter(waiters_, *task.loop());
  try {
    waiter.wait(task);
  } catch (...) {
    waiter.leave();
    // The place had been given to this task. As in CPython, the bound is not checked here.
    constexpr auto kMost = std::numeric_limits<std::ptrdiff_t>::max();
    if (waiter.done() && !waiter.cancelled() && value_ < kMost) ++value_;
    wake_up_all_there_is_room_for();
    throw;
  }
  waiter.leave();
  wake_up_all_there_is_room_for();
}

void SemaphoreObject::give_back() {
  if (value_ >= bound_)
    throw ValueError(bounded_ ? "BoundedSemaphore released too many times"
                              : "Semaphore released too many times: its value would overflow");
  ++value_;
  wake_up_next();
}

bool SemaphoreObject::wake_up_next() {
  TaskInLine* waiter = waiters_.first_pending();
  if (waiter == nullptr) return false;
  --value_;
  waiter->finish();
  return true;
}

std::string SemaphoreObject::repr() const {
  return describe(bounded_ ? "BoundedSemaphore" : "Semaphore", this,
                  locked() ? "locked" : "unlocked, value:" + std::to_string(value_), &waiters_);
}

// --- Barrier ------------------------------------------------------------------------------------

namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

class Holding {
 public:
  explicit Holding(LockObject& lock) : lock_(lock) { lock_.acquire(); }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  ~Holding() { unlock(lock_); }

 private:
  LockObject& lock_;
};

}  // namespace

BarrierObject::BarrierObject(std::ptrdiff_t parties) {
  if (parties < 1) throw ValueError("parties must be > 0");
  parties_ = static_cast<std::size_t>(parties);
  condition_ = core::Ref(new ConditionObject(core::Ref(new LockObject)));
}

template <class F>
void BarrierObject::wait_until(F predicate) {
  while (!predicate()) condition_->wait();
}

std::size_t BarrierObject::wait() {
  const core::Ref<BarrierObject> held(this);
  const Holding holding(*condition_->lock);
  block();
  const std::size_t index = count_++;
  try {
    if (index + 1 == parties_) {
      state_ = State::draining;
      condition_->notify(kAll);
    } else {
      fill();
    }
  } catch (...) {
    leave();
    throw;
  }
  leave();
  return index;
}

// Waits until the tasks of the round before have left.
void BarrierObject::block() {
  wait_until([this] { return state_ != State::draining && state_ != State::resetting; });
  if (state_ == State::broken) throw BrokenBarrierError("Barrier aborted");
}

void BarrierObject::fill() {
  wait_until([this] { return state_ != State::filling; });
  if (state_ == State::broken || state_ == State::resetting)
    throw BrokenBarrierError("Abort or reset of barrier");
}

void BarrierObject::leave() {
  if (--count_ != 0) return;
  if (state_ == State::resetting || state_ == State::draining) state_ = State::filling;
  condition_->notify(kAll);
}

void BarrierObject::reset() {
  const core::Ref<BarrierObject> held(this);
  const Holding holding(*condition_->lock);
  state_ = count_ > 0 ? State::resetting : State::filling;
  condition_->notify(kAll);
}

void BarrierObject::abort() {
  const core::Ref<BarrierObject> held(this);
  const Holding holding(*condition_->lock);
  state_ = State::broken;
  condition_->notify(kAll);
}

std::string BarrierObject::repr() const {
  static constexpr const char* kNames[] = {"filling", "draining", "resetting", "broken"};
  std::string state = kNames[static_cast<int>(state_)];
  if (!broken())
    state += ", waiters:" + std::to_string(n_waiting()) + "/" + std::to_string(parties_);
  return describe("Barrier", this, state, nullptr);
}

}  // namespace fiber::asyncio::detail
