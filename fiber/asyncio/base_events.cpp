#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/asyncgens.hpp>
#include <fiber/asyncio/debugger_fields.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/unix_events.hpp>
#include <fiber/concurrent/executor.hpp>

namespace fiber::asyncio::detail {

namespace {

std::atomic<std::uint64_t> last_serial{0};

// Returns the greenlet on whose behalf code runs, if it can take an outcome.
fiber::detail::GreenletObject* who_runs() noexcept {
  using fiber::detail::GreenletState;
  if (running().loop == nullptr) return nullptr;
  fiber::detail::GreenletObject* object = running().loop->turns().who_runs();
  const GreenletState state = object->state;
  const bool able = state == GreenletState::suspended || state == GreenletState::current;
  return able && !object->waiting ? object : nullptr;
}

constexpr fiber::detail::Scheduler scheduler{
    .heir = who_runs,
    .not_to_be_switched_to =
        " is suspended in an await, or runs a loop one of whose tasks has switched away: only the "
        "loop may continue it; complete what it waits for, cancel its task, or switch to the "
        "greenlet of that task",
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
  if (running != nullptr) running->home().thread_exits();
  fiber::detail::GreenletThread& greenlets = fiber::detail::greenlet_thread();
  Home::thread_exits(greenlets);
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
    : serial(++last_serial), selector_(core::make_owner<Selector>()), mailbox_(*selector_) {
  observation_.set_debug(Observation::debug_from_environment());
}

LoopObject::~LoopObject() { turns_.drop(); }

void LoopObject::release() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (!tasks_.empty() || !turns_.ready.empty() || !timers_.empty()) {
    refs_.store(1, std::memory_order_relaxed);  // dropped objects may still use the loop
    if (!closed_) close();
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  }
  delete this;
}

bool LoopObject::unreachable() const noexcept {
  return refs_.load(std::memory_order_acquire) == (futures_alive > 0 ? 2 : 1) + outside_work.load();
}

// --- what becomes ready ------------------------------------------------------------------------

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
  if (is_running()) throw RuntimeError("This event loop is already running");
  if (asyncio_thread().running != nullptr)
    throw RuntimeError("Cannot run the event loop while another loop is running");
}

void LoopObject::call_soon(core::Ref<HandleObject> handle) {
  check_closed();
  home_.check_thread();
  turns_.ready.claim();
  handle->call_once();
  push(Entry(handle.detach()));
}

void LoopObject::call_soon_threadsafe(core::Ref<HandleObject> handle) {
  handle->call_once();
  if (!mailbox_.put(handle, Mailbox::State::open)) throw RuntimeError("Event loop is closed");
}

void LoopObject::take_posted() noexcept {
  mailbox_.take(turns_.ready);
  if (embedding_.resting()) [[unlikely]]
    embedding_.ring();
}

void LoopObject::update_modes() noexcept {
  turns_.set_through_hub(observation_.on() || turns_.shuffled());
  tasks_.set_special(debug() || closed_ || tasks_.factory() != nullptr);
}

// --- the end ------------------------------------------------------------------------------------

LoopDependent::LoopDependent(LoopObject& loop) noexcept : loop_(&loop) {
  loop.dependents_.prepend(*this);
}

void LoopDependent::leave() noexcept {
  if (LoopObject* loop = std::exchange(loop_, nullptr)) loop->dependents_.remove(*this);
}

void LoopObject::close() {
  if (is_running()) throw RuntimeError("Cannot close a running event loop");
  if (closed_) return;
  home_.check("close");
  closed_ = true;
  mailbox_.set(Mailbox::State::closing);
  selector_->refuse();
  update_modes();
  retain();
  signals_.drop_handlers();
  take_posted();
  turns_.drop();
  timers_.drop(turns_.ready);
  tasks_.abandon_all();
  turns_.drop();
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
  mailbox_.drop();  // handles that the end of other parts has posted
  release();
}

}  // namespace fiber::asyncio::detail
