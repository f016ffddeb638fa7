// The turning of the loop: iterations, the batch of each, and waiting.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/combinators.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/in_context.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <algorithm>

namespace fiber::asyncio::detail {
namespace {

constexpr std::int64_t kLongestWait = 86'400'000'000'000;  // as CPython: a day

// Waits for descriptors and wake-ups until the deadline. Before it asks the selector's questions
// (Selector::ask) for a long wait, it waits for 10 ms: the events of busy connections come within
// that time.
void sleep_until(LoopObject& loop, std::int64_t deadline) {
  constexpr std::int64_t kSoon = 10'000'000;  // 10 ms
  const auto left = [&] {
    return deadline == kForever ? -1 : std::min(time_left(loop.now(), deadline), kLongestWait);
  };
  Selector& selector = loop.selector();
  if (selector.has_questions()) {
    if (const std::int64_t all = left(); all < 0 || all > kSoon) {
      selector.select(loop, kSoon);
      // The select may have consumed a wake-up: look for the work that the wake-up announced.
      if (!loop.ready_queue().empty() || selector.ready() || loop.mailbox().any() ||
          loop.signals().any())
        return;
    }
    selector.ask();
    if (!loop.ready_queue().empty()) return;
  }
  selector.select(loop, left());
}

}  // namespace

void LoopObject::run_forever() { run(false); }

void LoopObject::run_iteration() { run(true); }

void LoopObject::run(bool once) {
  check_closed();
  check_not_running();
  AsyncioThread& thread = asyncio_thread();
  home_.arrive();
  turns_.begin_run();
  embedding_.begin_run();
  thread.running = this;
  retain();
  struct Leave {
    LoopObject* loop;
    AsyncioThread& thread;
    ~Leave() {
      Turns& turns = loop->turns_;
      turns.end_run();
      loop->stopping_ = false;
      if (loop->home_.depart()) turns.interrupt = nullptr;
      turns.hub = turns.root = nullptr;
      thread.running = nullptr;
      loop->embedding_.end_run();
      loop->release();
    }
  } leave{this, thread};
  if (once) stopping_ = true;
  try {
    do {
      run_once();
    } while (!stopping_);
  } catch (const fiber::detail::forced_unwind&) {
    thread_ends = true;
    throw;
  }
  turns_.throw_interrupt();
}

void LoopObject::run_until_done(FutureBase& future, bool new_task) {
  const FutureRef held(&future);
  struct Withdraw {
    const LoopObject& loop;
    const FutureRef* made;
    std::uint64_t iterations = loop.turns_.iterations;
    ~Withdraw() {
      if (made != nullptr && loop.turns_.iterations == iterations) withdraw(*made);
    }
  } unless_run{*this, new_task ? &held : nullptr};
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
        // An ordinary exception.
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

// Runs one iteration; fibers that hand over to each other may have run more of them inside.
void LoopObject::run_once() {
  if (mailbox_.any_acquired()) take_posted();
  if (signals_.any()) signals_.look(true);
  std::int64_t deadline = kForever;
  if (!turns_.ready.empty() || stopping_ || selector_->ready())
    deadline = 0;
  else if (!timers_.empty())
    deadline = timers_.soonest();
  if (deadline != 0 || !selector_->empty()) poll(deadline);
  if (!timers_.empty()) {
    if (mailbox_.any()) take_posted();
    timers_.take_due(turns_.ready);
  }
  turns_.begin_batch();
  if (observation_.on()) {
    observation_.run_batch();
    return;
  }
  while (turns_.any_left()) run_entry(turns_.take());
}

void LoopObject::poll(std::int64_t deadline) {
  if (deadline == 0) {
    selector_->select(*this, 0);
    return;
  }
  Clock* clock = timers_.clock();
  if (clock != nullptr && outside_work.load() == 0) {
    const std::size_t ready = turns_.ready.size();
    selector_->ask();
    if (!selector_->empty()) selector_->select(*this, clock->patience());
    if (turns_.ready.size() != ready || clock->jump(deadline)) return;
  }
  if (deadline == kForever && selector_->empty()) deadlock_.look(*this);
  mailbox_.fall_asleep();
  const bool awake = mailbox_.any() || signals_.any();
  const std::int64_t begin = observation_.observer() != nullptr ? monotonic() : 0;
  if (awake)
    selector_->select(*this, 0);
  else
    sleep_until(*this, deadline);
  mailbox_.wake_up();
  if (observation_.observer() != nullptr) observation_.waited(begin);
  if (signals_.any()) signals_.look(true);
  if (mailbox_.any_acquired()) take_posted();
}

void LoopObject::run_entry(Entry entry) {
  switch (entry.kind()) {
    case Entry::Kind::task: run_task(entry.task()); break;
    case Entry::Kind::leaf:
    case Entry::Kind::leaf_callback: entry.leaf()->run(entry.leaf()); break;
    case Entry::Kind::handle: run_handle(core::Ref<HandleObject>::adopt(entry.handle())); break;
  }
}

void LoopObject::run_task(TaskBase* task) {
  turns_.run(task);
  if (signals_.any()) signals_.look(false);
  turns_.throw_interrupt();
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

void LoopObject::run_handle(core::Ref<HandleObject> handle) {
  HandleObject& object = *handle;
  struct Called {
    HandleObject& object;
    ~Called() { object.called(); }
  } called{object};
  const auto call = [&] {
    const InContext in_context(turns_.hub, object.context.get());
    object.run();
  };
  std::exception_ptr error = caught(call, [this] { return !turns_.on_dying_hub(); });
  // Outside of the catch block: the user's exception handler may end the thread.
  if (error) {
    errors_.report_failure("Exception in callback",
                           {.exception = std::exchange(error, nullptr), .handle = Handle(handle)});
    turns_.throw_interrupt();
  }
  if (signals_.any()) signals_.look(false);
}

}  // namespace fiber::asyncio::detail
