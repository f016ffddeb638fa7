#include <fiber/asyncio/reports.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/log.hpp>

#include <new>

namespace fiber::asyncio::detail {

void report(LoopObject& loop, const char* message, const Failure& failure) {
  try {
    loop.call_exception_handler({.message = message,
                                 .exception = failure.exception,
                                 .task = failure.task,
                                 .handle = failure.handle,
                                 .socket = failure.socket});
  } catch (const std::bad_alloc&) {
    log_without_memory(message);
  }
}

}  // namespace fiber::asyncio::detail
