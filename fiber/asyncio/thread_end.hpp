// pthread_exit() in a task.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>

namespace fiber::asyncio::detail {

/// Logs that the call of the task ends the thread of the loop, and all its tasks: a task has no
/// thread of its own.
void report_thread_end(const TaskBase& task) noexcept;

}  // namespace fiber::asyncio::detail
