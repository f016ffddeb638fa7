// Tasks that were cancelled and go on, in calls of a library that ignores errors.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>

namespace fiber::asyncio::detail {

/// Makes every StallMonitor of the loop show the task. Called by the task itself, once for each
/// cancellation.
FIBER_API void report_stubborn(const TaskBase& task) noexcept;

}  // namespace fiber::asyncio::detail
