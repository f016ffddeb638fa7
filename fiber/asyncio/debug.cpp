#include <fiber/asyncio/debug.hpp>

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/core/own_thread.hpp>

#include <atomic>

namespace fiber::asyncio::detail {
namespace {

constinit thread_local core::PerThread<core::List<HeldLock>> tls_held;  // newest first
const core::PerThreadUse tls_held_use([]() -> core::PerThreadBase& { return tls_held; });

std::atomic<StepCheck> step_check{nullptr};

}  // namespace

void set_step_check(StepCheck check) noexcept { step_check = check; }

void check_step(const Step& step) {
  if (const StepCheck check = step_check.load(std::memory_order_relaxed)) check(step);
}

HeldLock::HeldLock() {
  const TaskBase* task = current_task_or_null();
  if (task == nullptr || !task->loop()->debug()) return;
  holder_ = task;
  taken_ = Origin::here();
  tls_held->prepend(*this);
}

HeldLock::~HeldLock() {
  if (tls_held->has(*this)) tls_held->remove(*this);
}

void report_held_locks(const TaskBase& task) {
  for (HeldLock& lock : *tls_held) {
    if (lock.holder_ != &task) continue;
    lock.holder_ = nullptr;  // one report is enough
    log(LogLevel::warning,
        "Task " + task.repr() + " gave way while it held a mutex that was taken at " +
            lock.taken_->place() + ": a task of this thread that wants it will block the thread");
  }
}

}  // namespace fiber::asyncio::detail
