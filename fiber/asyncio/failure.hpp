// An error to report, and its origin.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/events.hpp>

#include <exception>

namespace fiber::asyncio::detail {

/// The argument of ErrorReports::report_failure().
struct Failure {
  std::exception_ptr exception;
  FutureRef task = {};
  Handle handle = {};
  int socket = -1;  ///< a descriptor
};

}  // namespace fiber::asyncio::detail
