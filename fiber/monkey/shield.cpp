// Time for work that must be completed although the task is cancelled.
#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/monkey.hpp>

#include <algorithm>
#include <utility>

namespace fiber::monkey {
namespace {

using asyncio::detail::TaskBase;
using std::chrono::milliseconds;
using Centiseconds = std::chrono::duration<std::uint16_t, std::centi>;

TaskBase& task_for(const char* function) {
  TaskBase* task = asyncio::detail::current_task_or_null();
  if (task == nullptr)
    throw RuntimeError(std::string("monkey::") + function + "() was called outside of a task");
  return *task;
}

std::uint16_t centiseconds(std::chrono::nanoseconds limit) {
  if (limit < std::chrono::nanoseconds::zero() || limit > std::chrono::minutes(10))
    throw ValueError("the time of grace must be from 0 to 10 minutes");
  return static_cast<std::uint16_t>(
      std::chrono::ceil<std::chrono::duration<int, std::centi>>(limit).count());
}

milliseconds as_milliseconds(std::uint16_t time) { return milliseconds(10 * time); }

}  // namespace

milliseconds grace() { return as_milliseconds(task_for("grace").library_calls().grace); }

milliseconds grace(std::chrono::nanoseconds limit) {
  TaskBase& task = task_for("grace");
  return as_milliseconds(std::exchange(task.library_calls().grace, centiseconds(limit)));
}

detail::Shield::Shield(std::chrono::nanoseconds limit) : task_(&task_for("shield")) {
  TaskBase::LibraryCalls& calls = task_->library_calls();
  limit_ = centiseconds(limit);
  shielded_ = std::exchange(calls.shielded, true);
  grace_ = std::exchange(calls.grace, limit_);
}

// The time that was used is taken from the outer shield's, too, which is for all calls together.
detail::Shield::~Shield() {
  TaskBase::LibraryCalls& calls = task_->library_calls();
  const int used = std::max(limit_ - calls.grace, 0);
  calls.shielded = shielded_;
  calls.grace = static_cast<std::uint16_t>(std::max(grace_ - used, 0));
}

}  // namespace fiber::monkey
