#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/asyncgens.hpp>
#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/debugger_fields.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/in_context.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/unix_events.hpp>
#include <fiber/concurrent/executor.hpp>

#include <cxxabi.h>

namespace fiber::asyncio::detail {

namespace {

std::atomic<std::uint64_t> last_serial{0};

// The task that runs, or the hub in a callback.
fiber::detail::GreenletObject* who_runs() noexcept {
  using fiber::detail::GreenletState;
  LoopObject* loop = running().loop;
  if (loop == nullptr) return nullptr;
  fiber::detail::GreenletObject* object =
      loop->current_task != nullptr ? loop->current_task->own_greenlet() : loop->root;
  const GreenletState state = object->state;
  const bool able = state == GreenletState::suspended || state == GreenletState::current;
  return able && !object->waiting ? object : nullptr;
}

constexpr fiber::detail::Scheduler scheduler{
    .heir = who_runs,
    .not_to_be_switched_to =
        " is suspended in an await: only its event loop may continue it; "
        "complete what it waits for, or cancel its task",
    .not_to_be_thrown_into =
        " is suspended in an await: cancel its task instead of throwing into it",
};

}  // namespace

AsyncioThread& make_asyncio_thread(core::ThreadState& thread) {
  fiber::detail::greenlet_thread().scheduler = &scheduler;
  DebuggerFields::describe();
  auto* created = new AsyncioThread;
  thread.layers[kThreadSlot] = created;
  watch_generators();
  return *created;
}

void AsyncioThread::thread_exits() noexcept {
  if (running != nullptr) running->thread_exits();
  fiber::detail::GreenletThread& greenlets = fiber::detail::greenlet_thread();
  LoopObject::leave_thread(greenlets);
  greenlets.scheduler = nullptr;
  if (LoopObject* loop = std::exchange(set, nullptr)) loop->release();
  core::thread_state().layers[kThreadSlot] = nullptr;
  delete this;
}

LoopObject& running_loop() {
  LoopObject* loop = asyncio_thread().running;
  if (loop == nullptr) [[unlikely]]
    throw RuntimeError("no running event loop");
  return *loop;
}

LoopObject::LoopObject()
    : serial(++last_serial),
      greenlets(&fiber::detail::greenlet_thread()),
      selector_(std::make_unique<Selector>()),
      mailbox_(*selector_) {
  observation_.set_debug(Observation::debug_from_environment());
}

LoopObject::~LoopObject() { drop_ready(); }

void LoopObject::release() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (!tasks.empty() || !ready_.empty() || !timers_.empty()) {
    refs_.store(1, std::memory_order_relaxed);  // what is dropped now may still look at the loop
    if (!closed_) close();
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  }
  delete this;
}

// --- the ready queue ----------------------------------------------------------------------------

void LoopObject::push(Callback* callback) noexcept {
  switch (callback->kind) {
    case Callback::Kind::task: push(Entry(static_cast<TaskWakeup*>(callback)->task)); break;
    case Callback::Kind::handle: push(Entry(static_cast<HandleObject*>(callback))); break;
    case Callback::Kind::leaf: {
      auto* leaf = static_cast<LeafCallback*>(callback);
      leaf->queued = true;
      push(Entry(static_cast<Leaf*>(leaf), Entry::Kind::leaf_callback));
      break;
    }
  }
}

void LoopObject::check_closed() const {
  if (closed_) throw RuntimeError("Event loop is closed");
}

void LoopObject::check_not_running() const {
  if (running_) throw RuntimeError("This event loop is already running");
  if (asyncio_thread().running != nullptr)
    throw RuntimeError("Cannot run the event loop while another loop is running");
}

void LoopObject::refuse_thread() {
  throw RuntimeError(
      "Non-thread-safe operation invoked on an event loop other than the current one; use "
      "call_soon_threadsafe");
}

void LoopObject::call_soon(core::Ref<HandleObject> handle) {
  check_closed();
  check_thread();
  ready_.claim();
  push(Entry(handle.detach()));
}

void LoopObject::call_soon_threadsafe(core::Ref<HandleObject> handle) {
  if (!mailbox_.put(handle, Mailbox::State::open)) throw RuntimeError("Event loop is closed");
}

void LoopObject::take_posted() noexcept {
  mailbox_.take(ready_);
  if (embedding_.resting()) [[unlikely]]
    embedding_.ring();
}

void LoopObject::set_shuffle(std::uint64_t seed) {
  shuffle_state_ = seed;
  update_modes();
}

void LoopObject::update_modes() noexcept {
  through_hub_ = observation_.on() || shuffle_state_ != 0 ? 1 : 0;
  special_tasks_ = debug() || closed_ || factory_ != nullptr;
}

// --- the end ------------------------------------------------------------------------------------

// What is queued will not run.
void LoopObject::drop_ready() noexcept {
  while (!ready_.empty()) {
    const Entry entry = ready_.take();
    if (entry.kind() == Entry::Kind::handle) {
      entry.handle()->release();
    } else if (entry.kind() == Entry::Kind::leaf_callback) {
      auto* leaf = static_cast<LeafCallback*>(entry.leaf());
      leaf->queued = false;
      leaf->drop(leaf);
    }
  }
}

LoopDependent::LoopDependent(LoopObject& loop) noexcept : loop_(&loop) {
  loop.dependents_.prepend(*this);
}

void LoopDependent::leave() noexcept {
  if (LoopObject* loop = std::exchange(loop_, nullptr)) loop->dependents_.remove(*this);
}

void LoopObject::close() {
  if (running_) throw RuntimeError("Cannot close a running event loop");
  if (closed_) return;
  check_home("close");
  closed_ = true;
  mailbox_.set(Mailbox::State::closing);
  selector_->refuse();
  update_modes();
  retain();
  drop_signal_handlers();
  take_posted();
  drop_ready();
  batch_ = 0;
  timers_.drop(ready_);
  abandon_all();
  drop_ready();
  while (LoopDependent* dependent = dependents_.first()) {
    dependent->leave();
    dependent->loop_closed();
  }
  selector_->detach_all();
  mailbox_.stop_waking();
  selector_->close();
  embedding_.close();
  executor_shutdown_called = true;
  if (const auto executor = std::exchange(default_executor, nullptr))
    executor->shutdown({.wait = false});
  mailbox_.set(Mailbox::State::gone);
  gone_ = true;
  mailbox_.drop();  // what the end of others has brought
  release();
}

// --- errors -------------------------------------------------------------------------------------

namespace {

// The context of what the report is about, in which the handler is to run.
contextvars::detail::ContextObject* context_of(const ExceptionContext& context) {
  for (const FutureRef& future : {context.task, context.future})
    if (future && future.base().is_task())
      return static_cast<TaskBase&>(future.base()).context_variables();
  return context.handle ? context.handle.object()->context.get() : nullptr;
}

}  // namespace

// The user's handler has thrown: neither error is to be lost.
void LoopObject::report_handler(const ExceptionContext& context, const std::exception_ptr& error) {
  const EventLoop loop(this);
  loop.default_exception_handler(
      {.message = "Unhandled error in exception handler", .exception = error});
  loop.default_exception_handler(context);
}

void LoopObject::report(const char* message, const FutureRef& task) noexcept {
  try {
    call_exception_handler({.message = message, .task = task});
  } catch (...) {
    log_without_memory(message);
  }
}

void LoopObject::call_exception_handler(const ExceptionContext& context) {
  try {
    const std::shared_ptr<exception_handler> custom = handler;
    if (!custom) {
      EventLoop(this).default_exception_handler(context);
      return;
    }
    const auto call = [&] {
      const InContext in_context(fiber::detail::greenlet_thread().current, context_of(context));
      (*custom)(EventLoop(this), context);
    };
    if (const std::exception_ptr error = caught(call, [this] { return !on_dying_hub(); }))
      report_handler(context, error);
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (const KeyboardInterrupt&) {
    interrupt = std::current_exception();
  } catch (const SystemExit&) {
    interrupt = std::current_exception();
  } catch (const GreenletExit&) {
    interrupt = std::current_exception();
  } catch (...) {
    log(LogLevel::error, "Exception in default exception handler", std::current_exception());
  }
}

}  // namespace fiber::asyncio::detail
