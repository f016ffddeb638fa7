// Tasks that were cancelled and go on, in calls of a library that takes no error for an answer.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>

namespace fiber::asyncio::detail {

/// Called by the task itself, once for each cancellation. Every StallMonitor of its loop shows it.
FIBER_API void report_stubborn(const TaskBase& task) noexcept;

}  // namespace fiber::asyncio::detail
