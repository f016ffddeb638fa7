// What a loop does for those who want to know more: debug mode, observers, tests.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/debug.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/thread_question.hpp>
#include <fiber/asyncio/unix_events.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

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

bool LoopObject::debug_from_environment() noexcept {
  const char* value = std::getenv("FIBER_ASYNCIO_DEBUG");
  return value != nullptr && *value != '\0';
}

void LoopObject::set_debug(bool enabled) {
  if (enabled) register_futures();
  debug = enabled;
  update_modes();
}

void LoopObject::set_observer(std::shared_ptr<LoopObserver> observer) {
  if (observer != nullptr) register_futures();
  observer_ = std::move(observer);
  update_modes();
}

void LoopObject::update_modes() noexcept {
  through_hub_ = debug || observer_ != nullptr || shuffle_state_ != 0 ? 1 : 0;
  special_tasks_ = debug || closed_ || factory_ != nullptr;
}

void LoopObject::refuse_thread() {
  throw RuntimeError(
      "Non-thread-safe operation invoked on an event loop other than the current one; use "
      "call_soon_threadsafe");
}

// --- what is known of futures -------------------------------------------------------------------

void LoopObject::register_futures() {
  if (registry_ != nullptr) return;
  auto registry = std::make_unique<ObjectRegistry>();
  for (TaskBase* task = tasks_head; task != nullptr; task = task->next_task) registry->add(task);
  registry_ = std::move(registry);
}

// One for which there is no memory is not known.
void LoopObject::add_future(FutureBase* future) noexcept {
  try {
    ObjectRegistry::Record& record = registry_->add(future);
    if (debug) record.created = Origin::here();
  } catch (const std::bad_alloc&) {
    registry_->remove(future);
  }
}

void LoopObject::remove_future(FutureBase* future) noexcept { registry_->remove(future); }

std::vector<FutureBase*> LoopObject::registered_futures() const {
  std::vector<FutureBase*> futures;
  if (registry_ == nullptr) return futures;
  const auto& records = registry_->records();
  for (const auto& [future, record] : records) futures.push_back(future);
  std::sort(futures.begin(), futures.end(), [&](FutureBase* a, FutureBase* b) {
    return records.at(a).number < records.at(b).number;
  });
  return futures;
}

// --- a batch that is watched --------------------------------------------------------------------

namespace {

// Calls a function that watches. For lack of memory it misses something; the entry that is watched
// must not be lost with it.
template <class F>
void observe(F function) noexcept {
  try {
    function();
  } catch (...) {
    // No memory to tell it.
  }
}

// Does so when the step is over, however it ends.
template <class F>
struct Finally {
  F function;
  ~Finally() { observe(function); }
};
template <class F>
Finally(F) -> Finally<F>;

}  // namespace

// The fibers see an empty batch, so each comes back here when it gives way.
void LoopObject::run_observed_batch() {
  std::size_t left = std::exchange(batch_, 0);
  if (observer_ != nullptr) observe([&] { observer_->iteration(iterations, left, monotonic()); });
  while (left != 0) {
    const Entry entry = ready_.take();
    --left;
    switch (entry.kind()) {
      case Entry::Kind::task: run_observed_task(entry.task()); break;
      case Entry::Kind::handle: run_observed_handle(entry.handle()); break;
      case Entry::Kind::leaf:
      case Entry::Kind::leaf_callback: run_entry(entry); break;
    }
  }
}

namespace {

void report_slow(const std::string& what, std::int64_t took) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.3f", static_cast<double>(took) / 1e9);
  log(LogLevel::warning, "Executing " + what + " took " + seconds + " seconds");
}

}  // namespace

void LoopObject::run_observed_task(TaskBase* task) {
  // The task may be gone afterwards, and must not live longer because it is watched.
  const ObjectRegistry::Record* record = registry_->find(task);
  const std::uint64_t number = record != nullptr ? record->number : 0;
  std::string name;
  std::string coroutine;
  observe([&] {
    name = task->get_name();
    coroutine = task->coroutine_name().str();
  });
  const std::int64_t began = now();
  const std::int64_t begin = monotonic();
  const Finally report{[&] {
    const std::int64_t end = monotonic();
    const std::int64_t took = now() - began;
    const ObjectRegistry::Record* after = registry_->find(task);
    const bool alive = after != nullptr && after->number == number;
    if (observer_ != nullptr) {
      const bool ended = !alive || task->done();
      const FutureBase* waits_for = ended ? nullptr : task->waiting_on();
      observer_->task_step({begin, end}, {number, name, coroutine, ended,
                                          waits_for != nullptr ? waits_for->repr() : ""});
    }
    if (!debug) return;
    if (took >= slow_callback_duration.count())
      report_slow(alive ? task->repr()
                        : "<Task finished name='" + name + "' coro=<" + coroutine + "() done>>",
                  took);
    if (alive) report_held_locks(*task);
  }};
  run_task(task);
}

void LoopObject::run_observed_handle(HandleObject* handle) {
  handle->retain();
  const std::int64_t began = now();
  const std::int64_t begin = monotonic();
  const bool cancelled = handle->cancelled();
  HandleObject* previous = std::exchange(current_handle_, handle);
  const Finally report{[&] {
    current_handle_ = previous;
    const std::int64_t took = now() - began;
    if (observer_ != nullptr && !cancelled)
      observer_->callback({begin, monotonic()}, handle->repr());
    if (debug && took >= slow_callback_duration.count()) report_slow(handle->repr(), took);
    handle->release();
  }};
  run_handle(handle);
}

// --- reports ------------------------------------------------------------------------------------

void LoopObject::cancellation_swallowed(TaskBase& task) noexcept {
  if (!debug) return;
  try {
    std::string text = "Task " + task.repr() +
                       " swallowed a cancellation: it was asked to end (cancelling() is " +
                       std::to_string(task.cancelling()) +
                       ") and has ended with a result. Rethrow CancelledError, or call uncancel()";
    const ObjectRegistry::Record* record = registry_ != nullptr ? registry_->find(&task) : nullptr;
    if (record != nullptr && record->cancelled != nullptr)
      text += "\nTask cancelled at (most recent call last):\n" + record->cancelled->traceback();
    while (text.ends_with('\n')) text.pop_back();
    log(LogLevel::warning, std::move(text));
  } catch (...) {
    // No memory to say it with.
  }
}

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
  for (TaskBase* task = tasks_head; task != nullptr && listed < kMost; task = task->next_task) {
    text += "  " + task->repr() + "\n";
    const std::string place = place_of_wait(*task);
    if (!place.empty()) text += "    waits at " + place + "\n";
    ++listed;
  }
  if (task_count > listed) text += "  ... and " + std::to_string(task_count - listed) + " more\n";
  text.pop_back();
  if (raise_deadlock) throw RuntimeError(text);
  log(LogLevel::warning, std::move(text));
}

}  // namespace fiber::asyncio::detail
