#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/asyncgens.hpp>
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
      selector_(std::make_unique<Selector>()) {
  set_debug(debug_from_environment());
}

LoopObject::~LoopObject() {
  drop_ready();
  release_posts();
}

void LoopObject::release() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (tasks_head != nullptr || !ready_.empty() || !timers_.empty()) {
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

void LoopObject::call_soon(core::Ref<HandleObject> handle) {
  check_closed();
  check_thread();
  ready_.claim();
  push(Entry(handle.detach()));
}

void LoopObject::call_soon_threadsafe(core::Ref<HandleObject> handle) {
  {
    const std::lock_guard lock(post_mutex_);
    check_closed();
    append_post(handle.detach());
    posted_.store(true, std::memory_order_release);
  }
  wake();
}

void LoopObject::post(core::Ref<HandleObject> handle) noexcept {
  {
    const std::lock_guard lock(post_mutex_);
    if (gone_) return;  // and what the handle holds goes when the lock is free
    append_post(handle.detach());
    if (closed_) return;
    posted_.store(true, std::memory_order_release);
  }
  wake();
}

void LoopObject::wake() noexcept {
  // Only a loop that sleeps, or is about to, needs the system call.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!sleeping_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(post_mutex_);  // close() may be closing the selector
  selector_->wake();
}

// With the lock.
void LoopObject::append_post(HandleObject* handle) noexcept {
  handle->next = nullptr;
  (posts_ != nullptr ? last_post_->next : posts_) = handle;
  last_post_ = handle;
}

HandleObject* LoopObject::pop_post() noexcept {
  Callback* post = posts_;
  posts_ = std::exchange(post->next, nullptr);
  return static_cast<HandleObject*>(post);
}

void LoopObject::release_posts() noexcept {
  while (posts_ != nullptr) pop_post()->release();
}

// Those for which there is no memory come later.
void LoopObject::take_posted() noexcept {
  {
    const std::lock_guard lock(post_mutex_);
    while (posts_ != nullptr && ready_.try_claim()) ready_.push(Entry(pop_post()));
    posted_.store(posts_ != nullptr, std::memory_order_relaxed);
  }
  if (resting_) [[unlikely]]
    ring();
}

// --- timers and the clock -----------------------------------------------------------------------

std::int64_t LoopObject::now() const noexcept {
  if (clock_ != nullptr) [[unlikely]]
    return clock_->now();
  return monotonic();
}

// A task that was woken by something else, earlier in the same batch, leaves before its timer's
// turn comes.
void LoopObject::withdraw(TimerNode* node) noexcept {
  static Leaf nothing{[](Leaf*) noexcept {}};
  if (shuffle_state_ != 0)
    ready_.replace(node->entry, Entry(&nothing));
  else
    ready_.replace(node->position, node->entry, Entry(&nothing));
}

void LoopObject::set_clock(std::shared_ptr<Clock> clock) { clock_ = std::move(clock); }

void LoopObject::set_shuffle(std::uint64_t seed) {
  shuffle_state_ = seed;
  update_modes();
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

LoopDependent::LoopDependent(LoopObject& loop) noexcept : loop_(&loop), next_(loop.dependents_) {
  if (next_ != nullptr) next_->previous_ = this;
  loop.dependents_ = this;
}

void LoopDependent::leave() noexcept {
  if (loop_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : loop_->dependents_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  loop_ = nullptr;
}

void LoopObject::close() {
  if (running_) throw RuntimeError("Cannot close a running event loop");
  if (closed_) return;
  check_home("close");
  {
    const std::lock_guard lock(post_mutex_);
    closed_ = true;
  }
  update_modes();
  retain();
  drop_signal_handlers();
  take_posted();
  drop_ready();
  batch_ = 0;
  while (!timers_.empty()) {
    TimerNode* node = timers_.pop();
    ready_.give_back();
    if (node->entry.kind() == Entry::Kind::handle) node->entry.handle()->release();
  }
  abandon_all();
  drop_ready();
  while (LoopDependent* dependent = dependents_) {
    dependent->leave();
    dependent->loop_closed();
  }
  selector_->detach_all();
  {
    const std::lock_guard lock(post_mutex_);
    selector_->close();
  }
  embedded_ = resting_ = false;
  executor_shutdown_called = true;
  if (const auto executor = std::exchange(default_executor, nullptr))
    executor->shutdown({.wait = false});
  {
    const std::lock_guard lock(post_mutex_);
    gone_ = true;
  }
  release_posts();  // what the end of others has brought: nobody adds to it now
  release();
}

// --- descriptors --------------------------------------------------------------------------------

void LoopObject::add_reader(int fd, core::Ref<HandleObject> handle) {
  check_closed();
  selector_->add(fd, false, std::move(handle));
}

bool LoopObject::remove_reader(int fd) { return !closed_ && selector_->remove(fd, false); }

void LoopObject::add_writer(int fd, core::Ref<HandleObject> handle) {
  check_closed();
  selector_->add(fd, true, std::move(handle));
}

bool LoopObject::remove_writer(int fd) { return !closed_ && selector_->remove(fd, true); }

void LoopObject::watch(Watch& watch, int fd) {
  check_closed();
  selector_->watch(watch, fd);
}

void LoopObject::refuse_watched(int fd) { selector_->refuse_watched(fd); }
bool LoopObject::unwatch(Watch& watch) noexcept { return selector_->unwatch(watch); }
void LoopObject::forget(Watch& watch) noexcept { selector_->forget(watch); }
void LoopObject::read_again(Watch& watch) noexcept { selector_->again(watch); }

int LoopObject::wait(DescriptorWait& wait) { return selector_->wait(wait); }
void LoopObject::leave(DescriptorWait& wait) noexcept { selector_->leave(wait); }
bool LoopObject::has_waits(int fd) const noexcept { return selector_->has_waits(fd); }
void LoopObject::closing(int fd) noexcept { selector_->closing(fd); }

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
void LoopObject::report_handler(const ExceptionContext& context) {
  const EventLoop loop(this);
  loop.default_exception_handler(
      {.message = "Unhandled error in exception handler", .exception = std::current_exception()});
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
    try {
      const InContext in_context(fiber::detail::greenlet_thread().current, context_of(context));
      (*custom)(EventLoop(this), context);
    } catch (const abi::__forced_unwind&) {
      throw;
    } catch (const KeyboardInterrupt&) {
      throw;
    } catch (const SystemExit&) {
      throw;
    } catch (const GreenletExit&) {
      if (on_dying_hub()) throw;
      report_handler(context);
    } catch (...) {
      report_handler(context);
    }
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
