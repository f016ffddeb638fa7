#include <fiber/asyncio/debug.hpp>

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/core/own_thread.hpp>

#include <atomic>

namespace fiber::asyncio::detail {
namespace {

constinit thread_local HeldLock* tls_newest = nullptr;
const core::PerThread per_thread([]() -> void* { return &tls_newest; }, sizeof tls_newest);

std::atomic<StepCheck> step_check{nullptr};

}  // namespace

void set_step_check(StepCheck check) noexcept { step_check = check; }

void check_step(const TaskBase* task) {
  if (const StepCheck check = step_check.load(std::memory_order_relaxed)) check(task);
}

HeldLock::HeldLock() {
  const TaskBase* task = current_task_or_null();
  if (task == nullptr || !task->loop()->debug()) return;
  holder_ = task;
  taken_ = Origin::here();
  previous_ = tls_newest;
  if (previous_ != nullptr) previous_->next_ = this;
  tls_newest = this;
  listed_ = true;
}

HeldLock::~HeldLock() {
  if (!listed_) return;
  (next_ != nullptr ? next_->previous_ : tls_newest) = previous_;
  if (previous_ != nullptr) previous_->next_ = next_;
}

void report_held_locks(const TaskBase& task) {
  for (HeldLock* lock = tls_newest; lock != nullptr; lock = lock->previous_) {
    if (lock->holder_ != &task) continue;
    lock->holder_ = nullptr;  // once is enough
    log(LogLevel::warning,
        "Task " + task.repr() + " gave way while it held a mutex that was taken at " +
            lock->taken_->place() + ": a task of this thread that wants it will block the thread");
  }
}

}  // namespace fiber::asyncio::detail
