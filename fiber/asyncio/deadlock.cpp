#include <fiber/asyncio/deadlock.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/thread_question.hpp>
#include <fiber/platform/thread.hpp>

#include <string>

namespace fiber::asyncio::detail {
namespace {

// Returns whether the process has other threads: they may have the loop, and call it.
bool has_other_threads() noexcept {
  return platform::may_have_other_threads(static_cast<unsigned>(WatcherThread::count()));
}

}  // namespace

void Deadlock::look(LoopObject& loop) {
  if (loop.outside_work.load() != 0 || loop.signals().handled()) return;
  const TaskRegistry& tasks = loop.tasks();
  if (!raise && (reported_ || tasks.empty() || has_other_threads())) return;
  reported_ = true;
  constexpr std::size_t kMost = 20;
  std::string text =
      "asyncio: nothing is ready, no timer is set and no descriptor is watched: only a signal or "
      "another thread can wake this loop. Its tasks:\n";
  std::size_t listed = 0;
  for (TaskBase& task : tasks.unfinished()) {
    if (listed == kMost) break;
    text += "  " + task.repr() + "\n";
    const std::string place = place_of_wait(task);
    if (!place.empty()) text += "    waits at " + place + "\n";
    ++listed;
  }
  if (tasks.size() > listed)
    text += "  ... and " + std::to_string(tasks.size() - listed) + " more\n";
  text.pop_back();
  if (raise) throw RuntimeError(text);
  log(LogLevel::warning, std::move(text));
}

}  // namespace fiber::asyncio::detail
