// A loop that nothing can wake, and what it says of its tasks.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/thread_question.hpp>
#include <fiber/asyncio/unix_events.hpp>

#include <string>

#include <sys/stat.h>

namespace fiber::asyncio::detail {
namespace {

// They may know the loop and call it.
bool has_other_threads() noexcept {
  struct stat tasks {};
  const auto expected = static_cast<nlink_t>(3 + WatcherThread::count());  // ".", "..", this one
  return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > expected;
}

}  // namespace

bool LoopObject::can_ever_wake() const noexcept {
  return outside_work.load() != 0 || !warn_deadlock || signal_handlers_ != nullptr;
}

void LoopObject::report_deadlock() {
  if (!raise_deadlock && (deadlock_reported_ || task_count == 0 || has_other_threads())) return;
  deadlock_reported_ = true;
  constexpr std::size_t kMost = 20;
  std::string text =
      "asyncio: nothing is ready, no timer is set and no descriptor is watched: only a signal or "
      "another thread can wake this loop. Its tasks:\n";
  std::size_t listed = 0;
  for (TaskBase& task : tasks) {
    if (listed == kMost) break;
    text += "  " + task.repr() + "\n";
    const std::string place = place_of_wait(task);
    if (!place.empty()) text += "    waits at " + place + "\n";
    ++listed;
  }
  if (task_count > listed) text += "  ... and " + std::to_string(task_count - listed) + " more\n";
  text.pop_back();
  if (raise_deadlock) throw RuntimeError(text);
  log(LogLevel::warning, std::move(text));
}

}  // namespace fiber::asyncio::detail
