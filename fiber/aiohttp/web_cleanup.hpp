// The steps of a clean-up, which are all made, whatever some of them throw.
#pragma once

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <exception>
#include <vector>

namespace fiber::aiohttp::web::detail {

/// Makes a step, and adds the exception that the step throws to `errors`: also the CancelledError
/// of a task that the step has cancelled and awaited. Only the cancellation of the current task
/// itself goes on.
template <class Step>
void make_step(Step&& step, std::vector<std::exception_ptr>& errors) {
  const asyncio::TaskRef task = asyncio::current_task();
  const int before = task.cancelling();
  try {
    step();
  } catch (const asyncio::CancelledError&) {
    if (task.cancelling() > before) throw;
    errors.push_back(std::current_exception());
  } catch (const std::exception&) {
    errors.push_back(std::current_exception());
  }
}

}  // namespace fiber::aiohttp::web::detail
