#include <fiber/asyncio/log.hpp>

#include <fiber/core/undying.hpp>
#include <fiber/exceptions.hpp>

#include <cstdio>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace fiber::asyncio {
namespace {

struct Slot {
  std::mutex mutex;
  std::shared_ptr<log_handler> handler;
};

// Never destroyed: reports may come at the very end of the process.
Slot& slot() noexcept {
  static constinit core::Undying<Slot> the_slot;
  return *the_slot;
}

void write_to_stderr(const LogRecord& record) {
  if (record.level < LogLevel::warning) return;
  std::string text = record.message + "\n";
  if (record.exception) text += type_name(record.exception) + ": " + str(record.exception) + "\n";
  std::fputs(text.c_str(), stderr);
}

}  // namespace

log_handler set_log_handler(log_handler handler) {
  auto next = handler ? std::make_shared<log_handler>(std::move(handler)) : nullptr;
  {
    const std::lock_guard lock(slot().mutex);
    std::swap(slot().handler, next);
  }
  const auto previous = std::move(next);  // ends without the lock: it may log
  return previous ? *previous : log_handler(write_to_stderr);
}

namespace detail {

void log(LogLevel level, std::string message, std::exception_ptr exception) noexcept {
  try {
    std::shared_ptr<log_handler> handler;
    {
      const std::lock_guard lock(slot().mutex);
      handler = slot().handler;
    }
    const LogRecord record{level, std::move(message), std::move(exception)};
    if (handler)
      (*handler)(record);
    else
      write_to_stderr(record);
  } catch (const std::bad_alloc&) {
    log_without_memory("a report was lost");
  } catch (...) {
    std::fputs("asyncio: the log handler failed\n", stderr);
  }
}

void log(LogLevel level, const char* message, std::exception_ptr exception) noexcept {
  std::string text;
  try {
    text = message;
  } catch (const std::bad_alloc&) {
    log_without_memory(message);
    return;
  }
  log(level, std::move(text), std::move(exception));
}

void log_without_memory(const char* message) noexcept {
  std::fprintf(stderr, "asyncio: %s (no memory to say more)\n", message);
}

}  // namespace detail
}  // namespace fiber::asyncio
