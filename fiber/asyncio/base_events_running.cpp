// How the loop turns: iterations, the batch of each, and waiting.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/in_context.hpp>
#include <fiber/asyncio/reports.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <algorithm>

namespace fiber::asyncio::detail {
namespace {

constexpr std::int64_t kLongestWait = 86'400'000'000'000;  // as CPython: a day

}  // namespace

// Once: a single iteration, which does not wait and in which fibers begin no other by themselves.
void LoopObject::run(bool once) {
  check_closed();
  check_not_running();
  AsyncioThread& thread = asyncio_thread();
  if (made_outside_ || greenlets != &fiber::detail::greenlet_thread()) settle();
  hub = root = greenlets->current;
  float_modes_ = core::FloatModes::current();
  thread_ = core_thread();
  running_ = true;
  embedding_.begin_run();
  thread.running = this;
  retain();
  struct Leave {
    LoopObject* loop;
    AsyncioThread& thread;
    ~Leave() {
      loop->dismiss_parked();
      loop->stopping_ = false;
      loop->running_ = false;
      if (std::exchange(loop->exiting_, false)) loop->interrupt = nullptr;
      loop->hub = loop->root = nullptr;
      thread.running = nullptr;
      loop->embedding_.end_run();
      loop->release();
    }
  } leave{this, thread};
  if (once) stopping_ = true;
  do {
    run_once();
  } while (!stopping_);
  if (interrupt) [[unlikely]]
    std::rethrow_exception(std::exchange(interrupt, nullptr));
}

void LoopObject::run_until_done(FutureBase& future, bool new_task) {
  const FutureRef held(&future);
  const Future<void> as_future(&future);
  if (new_task) static_cast<TaskBase&>(future).log_destroy_pending = false;
  const Handle stop_when_done = as_future.add_done_callback([this, &future] {
    if (!future.cancelled() && future.peek_exception()) {
      future.set_log_traceback(false);
      try {
        std::rethrow_exception(future.peek_exception());
      } catch (const KeyboardInterrupt&) {
        return;  // run_forever has been left already
      } catch (const SystemExit&) {
        return;
      } catch (...) {
        // An ordinary end.
      }
    }
    stop();
  });
  struct Remove {
    const Future<void>& future;
    const Handle& handle;
    ~Remove() {
      if (future.remove_done_callback(handle) == 0) handle.cancel();
    }
  } remove{as_future, stop_when_done};
  try {
    run_forever();
  } catch (...) {
    if (new_task && future.done()) future.set_log_traceback(false);
    throw;
  }
  if (!future.done()) throw RuntimeError("Event loop stopped before Future completed.");
}

// One iteration, except that fibers which hand over to each other may have run more of them.
void LoopObject::run_once() {
  if (mailbox_.any_acquired()) take_posted();
  if (signals.load(std::memory_order_relaxed)) look_at_signals(true);
  std::int64_t deadline = kForever;
  if (!ready_.empty() || stopping_ || selector_->ready())
    deadline = 0;
  else if (!timers_.empty())
    deadline = timers_.soonest();
  if (deadline != 0 || !selector_->empty()) poll(deadline);
  if (!timers_.empty()) {
    if (mailbox_.any()) take_posted();
    timers_.take_due(ready_);
  }
  begin_batch();
  if (observation_.on()) {
    observation_.run_batch();
    return;
  }
  while (batch_ != 0) {
    if (batch_ >= kManyReady) fetch_ahead();
    const Entry entry = ready_.take();
    --batch_;
    run_entry(entry);
  }
}

void LoopObject::begin_batch() noexcept {
  ++iterations;
  batch_ = ready_.size();
  if (shuffle_state_ == 0 || batch_ < 2) [[likely]]
    return;
  for (std::size_t i = batch_ - 1; i > 0; --i) {
    shuffle_state_ = shuffle_state_ * 6364136223846793005U + 1442695040888963407U;
    ready_.swap(i, (shuffle_state_ >> 33U) % (i + 1));
  }
}

void LoopObject::poll(std::int64_t deadline) {
  if (deadline == 0) {
    selector_->select(*this, 0);
    return;
  }
  Clock* clock = timers_.clock();
  if (clock != nullptr && outside_work.load() == 0) {
    const std::size_t ready = ready_.size();
    if (!selector_->empty()) selector_->select(*this, clock->patience());
    if (ready_.size() != ready || clock->jump(deadline)) return;
  }
  if (deadline == kForever && selector_->empty() && !can_ever_wake()) report_deadlock();
  std::int64_t timeout = -1;
  if (deadline != kForever) timeout = std::clamp<std::int64_t>(deadline - now(), 0, kLongestWait);
  mailbox_.fall_asleep();
  const bool awake = mailbox_.any() || signals.load(std::memory_order_relaxed);
  const std::int64_t begin = observation_.observer() != nullptr ? monotonic() : 0;
  selector_->select(*this, awake ? 0 : timeout);
  mailbox_.wake_up();
  if (observation_.observer() != nullptr) observation_.waited(begin);
  if (signals.load(std::memory_order_relaxed)) look_at_signals(true);
  if (mailbox_.any_acquired()) take_posted();
}

void LoopObject::run_entry(Entry entry) {
  switch (entry.kind()) {
    case Entry::Kind::task: run_task(entry.task()); break;
    case Entry::Kind::leaf:
    case Entry::Kind::leaf_callback: entry.leaf()->run(entry.leaf()); break;
    case Entry::Kind::handle: run_handle(entry.handle()); break;
  }
}

void LoopObject::run_task(TaskBase* task) {
  hub->waiting = true;
  if (task->resume_point != nullptr) {
    current_task = task;
    greenlets->resume(task->resume_point);
  } else {
    start_task(task);
  }
  hub->waiting = false;
  bury();
  if (signals.load(std::memory_order_relaxed)) look_at_signals(false);
  if (interrupt) std::rethrow_exception(std::exchange(interrupt, nullptr));
}

// A failed task whose last reference was the loop's: its report runs here, before the next entry.
void LoopObject::bury() noexcept {
  if (graveyard_ == nullptr) [[likely]]
    return;
  TaskBase* task = std::exchange(graveyard_, nullptr);
  task->release();
}

void HandleObject::run() {
  struct Call {
    HandleObject* handle;
    bool outer = std::exchange(handle->called_now_, true);
    ~Call() {
      handle->called_now_ = outer;
      if (handle->cancelled()) [[unlikely]]
        handle->drop_callable();
    }
  } now{this};
  if (!cancelled()) call();
}

void LoopObject::run_handle(HandleObject* handle) {
  const Handle held(core::Ref<HandleObject>::adopt(handle));
  const auto call = [&] {
    const InContext in_context(hub, handle->context.get());
    handle->run();
  };
  std::exception_ptr error = caught(call, [this] { return !on_dying_hub(); });
  // Not while it is being handled: the user's handler may end the thread.
  if (error) {
    detail::report(*this, "Exception in callback",
                   {.exception = std::exchange(error, nullptr), .handle = held});
    if (interrupt) std::rethrow_exception(std::exchange(interrupt, nullptr));
  }
  if (signals.load(std::memory_order_relaxed)) look_at_signals(false);
}

}  // namespace fiber::asyncio::detail
