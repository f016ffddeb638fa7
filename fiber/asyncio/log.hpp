// Reports that cannot reach any code as an exception. Python: the logger "asyncio".
//
// Every error that would otherwise be lost comes here: exceptions of tasks that were never
// retrieved (unless the loop has an exception handler of its own), coroutines that were never
// awaited, slow callbacks, swallowed cancellations, loops that nothing can wake. One function
// replaces the whole log.
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
  LogLevel level = LogLevel::warning;      ///< of the message
  std::string message;                     ///< may have several lines
  std::exception_ptr exception = nullptr;  ///< the subject of the report, if any
};

/// Called on the thread of the event; exceptions of the handler are dropped, and noted on stderr.
using log_handler = std::function<void(const LogRecord&)>;

/// Replaces the handler of reports, for the whole process, and returns the previous one. The
/// default, which an empty function restores, writes warnings and errors to stderr. From any
/// thread.
FIBER_API log_handler set_log_handler(log_handler handler);

namespace detail {
FIBER_API void log(LogLevel level, std::string message,
                   std::exception_ptr exception = nullptr) noexcept;
/// Logs a text. If there is no memory for a record, the text itself is written to stderr.
FIBER_API void log(LogLevel level, const char* message,
                   std::exception_ptr exception = nullptr) noexcept;
/// Writes one line to stderr, without any memory.
void log_without_memory(const char* message) noexcept;
}  // namespace detail

}  // namespace fiber::asyncio
