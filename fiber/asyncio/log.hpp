// Where asyncio says what nobody can be told by an exception. Python: the logger "asyncio".
//
// Everything that would otherwise be lost comes here: exceptions of tasks that were never retrieved
// (unless the loop has an exception handler of its own), coroutines that were never awaited, slow
// callbacks, swallowed cancellations, loops that nothing can wake. One function replaces it all.
#pragma once

#include <fiber/config.hpp>
#include <fiber/standard.hpp>

#include <cstdint>
#include <exception>
#include <string>

namespace fiber::asyncio {

/// Python: logging.DEBUG and its like.
enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// One report.
struct LogRecord {
  LogLevel level = LogLevel::warning;
  std::string message;                     ///< may have several lines
  std::exception_ptr exception = nullptr;  ///< what it is about, if anything
};

/// Is called by the thread on which it happened; what it throws is dropped, and said on stderr.
using log_handler = std::function<void(const LogRecord&)>;

/// Replaces what is done with a report, for the whole process, and returns what was done before.
/// The default, which an empty function restores, writes warnings and errors to stderr. From any
/// thread.
FIBER_API log_handler set_log_handler(log_handler handler);

namespace detail {
FIBER_API void log(LogLevel level, std::string message,
                   std::exception_ptr exception = nullptr) noexcept;
/// A report whose text needs no memory: if there is none to hand it on, it is written to stderr as
/// it is.
FIBER_API void log(LogLevel level, const char* message,
                   std::exception_ptr exception = nullptr) noexcept;
/// One line on stderr, which needs nothing.
void log_without_memory(const char* message) noexcept;
}  // namespace detail

}  // namespace fiber::asyncio
