#include <fiber/asyncio/observation.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/debug.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/object_registry.hpp>
#include <fiber/exceptions/repr.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace fiber::asyncio::detail {

Observation::Observation(LoopObject& loop) noexcept : loop_(loop) {}

Observation::~Observation() = default;

bool Observation::debug_from_environment() noexcept {
  const char* value = std::getenv("FIBER_ASYNCIO_DEBUG");
  return value != nullptr && *value != '\0';
}

void Observation::set_debug(bool enabled) {
  if (enabled) register_futures();
  debug_ = enabled;
  loop_.update_modes();
}

void Observation::set_observer(std::shared_ptr<LoopObserver> observer) {
  if (observer != nullptr) register_futures();
  observer_ = std::move(observer);
  loop_.update_modes();
}

// --- the record of futures ----------------------------------------------------------------------

void Observation::register_futures() {
  if (registry_ != nullptr) return;
  auto registry = core::make_owner<ObjectRegistry>();
  for (TaskBase& task : loop_.tasks().unfinished()) registry->add(&task);
  registry_ = std::move(registry);
}

// Adds a future to the record; without memory it stays unknown.
void Observation::add(FutureBase* future) noexcept {
  try {
    ObjectRegistry::Record& record = registry_->add(future);
    if (debug_) record.created = Origin::here();
  } catch (const std::bad_alloc&) {
    registry_->remove(future);
  }
}

void Observation::remove(FutureBase* future) noexcept { registry_->remove(future); }

std::vector<FutureBase*> Observation::registered_futures() const {
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

// Calls an observing function. Without memory the observer misses something; the observed entry
// must not be lost.
template <class F>
void observe(F function) noexcept {
  try {
    function();
  } catch (...) {
    // No memory to report the lack of it.
  }
}

// Calls the function when the step is over, however the step ends.
template <class F>
struct Finally {
  F function;
  ~Finally() { observe(function); }
};
template <class F>
Finally(F) -> Finally<F>;

}  // namespace

void Observation::run_batch() {
  std::size_t left = loop_.turns().take_batch();
  if (observer_ != nullptr)
    observe([&] { observer_->iteration(loop_.turns().iterations, left, monotonic()); });
  while (left != 0) {
    const Entry entry = loop_.ready_queue().take();
    --left;
    switch (entry.kind()) {
      case Entry::Kind::task: run_task(entry.task()); break;
      case Entry::Kind::handle: run_handle(core::Ref<HandleObject>::adopt(entry.handle())); break;
      case Entry::Kind::leaf:
      case Entry::Kind::leaf_callback: loop_.run_entry(entry); break;
    }
  }
}

namespace {

void report_slow(const std::string& what, std::int64_t took) {
  log(LogLevel::warning, "Executing " + what + " took " +
                             fiber::detail::fixed(static_cast<double>(took) / 1e9, 3) + " seconds");
}

}  // namespace

void Observation::run_task(TaskBase* task) {
  // The task may be gone afterwards, and being observed must not prolong its life.
  const ObjectRegistry::Record* record = registry_->find(task);
  const std::uint64_t number = record != nullptr ? record->number : 0;
  std::string name;
  std::string coroutine;
  observe([&] {
    name = task->get_name();
    coroutine = task->coroutine_name().str();
  });
  const std::int64_t began = loop_.now();
  const std::int64_t begin = monotonic();
  const Finally report{[&] {
    const std::int64_t end = monotonic();
    const std::int64_t took = loop_.now() - began;
    const ObjectRegistry::Record* after = registry_->find(task);
    const bool alive = after != nullptr && after->number == number;
    if (observer_ != nullptr) {
      const bool ended = !alive || task->done();
      const FutureBase* waits_for = ended ? nullptr : task->waiting_on();
      observer_->task_step({begin, end}, {number, name, coroutine, ended,
                                          waits_for != nullptr ? waits_for->repr() : ""});
    }
    if (!debug_) return;
    if (took >= slow_callback_duration.count())
      report_slow(alive ? task->repr()
                        : "<Task finished name=" + fiber::detail::quoted(name) + " coro=<" +
                              coroutine + "() done>>",
                  took);
    if (alive) report_held_locks(*task);
    check_step({.task = alive ? task : nullptr, .name = name, .ended = !alive || task->done()});
  }};
  loop_.run_task(task);
}

void Observation::run_handle(core::Ref<HandleObject> handle) {
  const std::int64_t began = loop_.now();
  const std::int64_t begin = monotonic();
  const bool cancelled = handle->cancelled();
  HandleObject* previous = std::exchange(current_handle_, handle.get());
  const Finally report{[&] {
    current_handle_ = previous;
    const std::int64_t took = loop_.now() - began;
    if (observer_ != nullptr && !cancelled)
      observer_->callback({begin, monotonic()}, handle->repr());
    if (debug_ && took >= slow_callback_duration.count()) report_slow(handle->repr(), took);
  }};
  loop_.run_handle(handle);
}

void Observation::waited(std::int64_t begin) noexcept {
  observe([&] { observer_->waited({begin, monotonic()}); });
}

void Observation::cancellation_swallowed(TaskBase& task) noexcept {
  if (!debug_) return;
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
    // No memory for a report.
  }
}

}  // namespace fiber::asyncio::detail
