// Reports of errors that nobody waits for.
#pragma once

#include <fiber/asyncio/events.hpp>

#include <exception>

namespace fiber::asyncio::detail {

/// An error, and where it came from.
struct Failure {
  std::exception_ptr exception;
  FutureRef task = {};
  Handle handle = {};
  int socket = -1;  ///< a descriptor
};

/// Calls the loop's exception handler. Without memory for that one line goes to stderr in its place,
/// so that whatever follows a report still happens. Throws nothing but the unwinding of a thread
/// that the handler ends.
FIBER_API void report(LoopObject& loop, const char* message, const Failure& failure);

}  // namespace fiber::asyncio::detail
