#include <fiber/asyncio/thread_end.hpp>

#include <fiber/asyncio/log.hpp>

namespace fiber::asyncio::detail {

void report_thread_end(const TaskBase& task) noexcept {
  try {
    log(LogLevel::error, "pthread_exit() or pthread_cancel() in " + task.repr() +
                             " ends the thread of the event loop, and all its tasks");
  } catch (...) {
    log(LogLevel::error,
        "pthread_exit() or pthread_cancel() in a task ends the thread of the event loop, and all "
        "its tasks");
  }
}

}  // namespace fiber::asyncio::detail
