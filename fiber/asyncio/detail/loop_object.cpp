#include <fiber/asyncio/detail/loop_object.hpp>

#include <fiber/asyncio/detail/debugger_fields.hpp>
#include <fiber/asyncio/detail/selector.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/concurrent/executor.hpp>

#include <algorithm>
#include <cstdio>
#include <limits>

#include <sys/stat.h>

namespace fiber::asyncio::detail {

namespace {

constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLongestWait = 86'400'000'000'000;  // as CPython: a day
constexpr std::int64_t kClockResolution = 1;

std::atomic<std::uint64_t> last_serial{0};

// Other threads, if there are any, may know the loop and call it.
bool has_other_threads() noexcept {
  struct stat tasks {};
  return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 3;  // ".", ".." and this one
}

// Makes the handle's context current while its callback runs.
class InContext {
 public:
  InContext(fiber::detail::GreenletObject* greenlet, contextvars::detail::ContextObject* context)
      : greenlet_(greenlet), saved_(greenlet->context_variables) {
    greenlet_->context_variables = context;
    if (context != nullptr) contextvars::detail::retain(context);
  }
  ~InContext() {
    if (greenlet_->context_variables != nullptr)
      contextvars::detail::release(greenlet_->context_variables);
    greenlet_->context_variables = saved_;
  }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  fiber::detail::GreenletObject* greenlet_;
  contextvars::detail::ContextObject* saved_;
};

}  // namespace

AsyncioThread& make_asyncio_thread(core::ThreadState& thread) {
  fiber::detail::greenlet_thread();
  DebuggerFields::describe();
  auto* created = new AsyncioThread;
  thread.asyncio = created;
  return *created;
}

void AsyncioThread::thread_exits() noexcept {
  if (running != nullptr) running->abandon_others();  // exit() was called in it
  if (LoopObject* loop = std::exchange(set, nullptr)) loop->release();
  core::thread_state().asyncio = nullptr;
  delete this;
}

LoopObject& running_loop() {
  LoopObject* loop = asyncio_thread().running;
  if (loop == nullptr) [[unlikely]] throw RuntimeError("no running event loop");
  return *loop;
}

HandleObject::~HandleObject() {
  if (context != nullptr) contextvars::detail::release(context);
}

void TimerObject::cancel() noexcept {
  HandleObject::cancel();
  if (node.index == TimerNode::kNotInHeap) return;
  loop()->remove_timer(&node);
  release();  // the heap's reference
}

LoopObject::LoopObject()
    : serial(++last_serial),
      greenlets(&fiber::detail::greenlet_thread()), selector_(std::make_unique<Selector>()) {}

LoopObject::~LoopObject() {
  drop_ready();
  for (HandleObject* handle : posts_) handle->release();
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

void LoopObject::push(Callback* callback) {
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

void LoopObject::call_soon(HandleObject* handle) {
  if (closed_) {
    handle->release();
    handle->release();
    check_closed();
  }
  if (running_ && thread_ != core_thread()) [[unlikely]] {
    handle->release();
    handle->release();
    throw RuntimeError(
        "Non-thread-safe operation invoked on an event loop other than the current one; use "
        "call_soon_threadsafe");
  }
  push(Entry(handle));
}

void LoopObject::call_soon_threadsafe(HandleObject* handle) {
  {
    const std::lock_guard lock(post_mutex_);
    if (!closed_) {
      posts_.push_back(handle);
      posted_.store(true, std::memory_order_release);
      handle = nullptr;
    }
  }
  if (handle != nullptr) {
    handle->release();
    handle->release();
    throw RuntimeError("Event loop is closed");
  }
  wake();
}

void LoopObject::post(HandleObject* handle) {
  {
    const std::lock_guard lock(post_mutex_);
    posts_.push_back(handle);
    if (closed_) return;
    posted_.store(true, std::memory_order_release);
  }
  wake();
}

void LoopObject::wake() noexcept {
  // Only a loop that sleeps, or is about to, needs the system call.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_relaxed)) selector_->wake();
}

void LoopObject::take_posted() {
  std::vector<HandleObject*> posts;
  {
    const std::lock_guard lock(post_mutex_);
    posted_.store(false, std::memory_order_relaxed);
    posts.swap(posts_);
  }
  for (HandleObject* handle : posts) ready_.push(Entry(handle));
  if (resting_) [[unlikely]] ring();
}

// --- timers and the clock -----------------------------------------------------------------------

std::int64_t LoopObject::now() const noexcept {
  if (clock_ != nullptr) [[unlikely]] return clock_->now();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void LoopObject::queue_due_timers() {
  if (posted_.load(std::memory_order_relaxed)) take_posted();
  const std::int64_t end = now() + kClockResolution;
  while (!timers_.empty() && timers_.soonest() < end) {
    TimerNode* node = timers_.pop();
    node->position = ready_.end();
    ready_.push(node->entry);
  }
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

void LoopObject::set_shuffle(std::uint64_t seed) { shuffle_state_ = seed; }

void LoopObject::register_futures() {
  if (future_registry_ == nullptr) future_registry_ = std::make_unique<FutureRegistry>();
}

std::vector<FutureBase*> LoopObject::registered_futures() const {
  std::vector<FutureBase*> futures;
  if (future_registry_ == nullptr) return futures;
  const auto& numbers = future_registry_->numbers;
  for (const auto& [future, number] : numbers) futures.push_back(future);
  std::sort(futures.begin(), futures.end(),
            [&](FutureBase* a, FutureBase* b) { return numbers.at(a) < numbers.at(b); });
  return futures;
}

// --- running ------------------------------------------------------------------------------------

void LoopObject::run_forever() { run(false); }

// Once: a single iteration, which does not wait and in which fibers begin no other by themselves.
void LoopObject::run(bool once) {
  check_closed();
  check_not_running();
  AsyncioThread& thread = asyncio_thread();
  greenlets = &fiber::detail::greenlet_thread();
  hub = greenlets->current;
  thread_ = core_thread();
  running_ = true;
  if (resting_) {
    resting_ = false;
    sleeping_.store(false, std::memory_order_relaxed);
  }
  thread.running = this;
  retain();
  struct Leave {
    LoopObject* loop;
    AsyncioThread& thread;
    ~Leave() {
      loop->dismiss_parked();
      loop->stopping_ = false;
      loop->running_ = false;
      loop->hub = nullptr;
      thread.running = nullptr;
      if (loop->embedded_) loop->rest();
      loop->release();
    }
  } leave{this, thread};
  if (once) stopping_ = true;
  do {
    run_once();
  } while (!stopping_);
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
  if (posted_.load(std::memory_order_acquire)) take_posted();
  std::int64_t deadline = kForever;
  if (!ready_.empty() || stopping_ || selector_->ready())
    deadline = 0;
  else if (!timers_.empty())
    deadline = timers_.soonest();
  if (deadline != 0 || !selector_->empty()) poll(deadline);
  if (!timers_.empty()) queue_due_timers();
  begin_batch();
  while (batch_ != 0) {
    const Entry entry = ready_.front();
    ready_.pop();
    --batch_;
    run_entry(entry);
  }
}

void LoopObject::begin_batch() {
  ++iterations;
  batch_ = ready_.size();
  if (shuffle_state_ == 0 || batch_ < 2) [[likely]] return;
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < batch_; ++i) {
    entries.push_back(ready_.front());
    ready_.pop();
  }
  for (std::size_t i = entries.size() - 1; i > 0; --i) {
    shuffle_state_ = shuffle_state_ * 6364136223846793005U + 1442695040888963407U;
    std::swap(entries[i], entries[(shuffle_state_ >> 33U) % (i + 1)]);
  }
  for (const Entry entry : entries) ready_.push(entry);
}

// The next iteration as a fiber may begin it by itself: there is something ready, and neither a
// deadline that has come nor a descriptor to look at.
bool LoopObject::quick_turn() noexcept {
  if (posted_.load(std::memory_order_relaxed) || stopping_ || ready_.empty() ||
      !selector_->empty() || shuffle_state_ != 0 || signals.load(std::memory_order_relaxed) != 0 ||
      interrupt != nullptr || graveyard != nullptr)
    return false;
  if (!timers_.empty() && timers_.soonest() < now() + kClockResolution) return false;
  batch_ = ready_.size();
  ++iterations;
  return true;
}

void LoopObject::poll(std::int64_t deadline) {
  if (deadline == 0) {
    selector_->select(*this, 0);
    return;
  }
  if (clock_ != nullptr && outside_work.load() == 0) {
    const std::size_t ready = ready_.size();
    if (!selector_->empty()) selector_->select(*this, clock_->patience());
    if (ready_.size() != ready || clock_->jump(deadline)) return;
  }
  if (deadline == kForever && selector_->empty() && !can_ever_wake()) report_deadlock();
  std::int64_t timeout = -1;
  if (deadline != kForever) timeout = std::clamp<std::int64_t>(deadline - now(), 0, kLongestWait);
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool awake =
      posted_.load(std::memory_order_relaxed) || signals.load(std::memory_order_relaxed) != 0;
  selector_->select(*this, awake ? 0 : timeout);
  sleeping_.store(false, std::memory_order_relaxed);
  if (signals.load(std::memory_order_relaxed) != 0 && on_wakeup) on_wakeup();
  if (posted_.load(std::memory_order_acquire)) take_posted();
}

bool LoopObject::can_ever_wake() const noexcept { return outside_work.load() != 0 || !warn_deadlock; }

void LoopObject::report_deadlock() {
  if (deadlock_reported_ || task_count == 0) return;
  if (!raise_deadlock && has_other_threads()) return;
  deadlock_reported_ = true;
  std::string text =
      "asyncio: nothing is ready, no timer is set and no descriptor is watched: only a signal or "
      "another thread can wake this loop. Its tasks:\n";
  std::size_t listed = 0;
  for (const TaskBase* task = tasks_head; task != nullptr && listed < 20; task = task->next_task) {
    text += "  " + task->repr() + "\n";
    ++listed;
  }
  if (task_count > listed) text += "  ... and " + std::to_string(task_count - listed) + " more\n";
  if (raise_deadlock) throw RuntimeError(text);
  std::fputs(text.c_str(), stderr);
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
  if (signals.load(std::memory_order_relaxed) != 0 && on_wakeup) on_wakeup();
  if (interrupt) std::rethrow_exception(std::exchange(interrupt, nullptr));
}

// A failed task whose last reference was the loop's: its report runs here, before the next entry.
void LoopObject::bury() noexcept {
  if (graveyard == nullptr) [[likely]] return;
  TaskBase* task = std::exchange(graveyard, nullptr);
  task->release();
}

void LoopObject::run_handle(HandleObject* handle) {
  struct Release {
    HandleObject* handle;
    ~Release() { handle->release(); }
  } release{handle};
  if (handle->cancelled()) return;
  const std::int64_t before = debug ? now() : 0;
  try {
    const InContext in_context(hub, handle->context);
    handle->call();
  } catch (const KeyboardInterrupt&) {
    throw;
  } catch (const SystemExit&) {
    throw;
  } catch (...) {
    handle->retain();
    call_exception_handler({.message = "Exception in callback",
                            .exception = std::current_exception(),
                            .handle = Handle(handle)});
  }
  if (debug) [[unlikely]] {
    const std::int64_t took = now() - before;
    if (took >= slow_callback_duration.count())
      std::fprintf(stderr, "asyncio: executing a callback took %.3f seconds\n",
                   static_cast<double>(took) / 1e9);
  }
  if (signals.load(std::memory_order_relaxed) != 0 && on_wakeup) on_wakeup();
}

// --- tasks --------------------------------------------------------------------------------------

// Called by whoever gives way, in place of a switch; returns when it is its turn again.
void LoopObject::start_task(TaskBase* task) {
  for (;;) {
    starting = nullptr;
    if (task->must_cancel_) {
      task->end_unstarted();
    } else {
      ParkedFiber* parked = parked_;
      if (parked != nullptr && task->greenlet().stack_size > parked->stack->size) parked = nullptr;
      core::Stack* stack = nullptr;
      try {
        stack = parked != nullptr ? parked->stack
                                  : greenlets->thread.pool.allocate(task->greenlet().stack_size);
      } catch (...) {
        task->destroy_callable();
        task->set_exception(std::current_exception());
        task->ended();
      }
      if (stack != nullptr) {
        fiber::detail::GreenletObject* from = greenlets->current;
        fiber::detail::GreenletObject& fresh = task->greenlet();
        fresh.stack = stack;
        fresh.started = true;
        fresh.state = fiber::detail::GreenletState::current;
        from->state = fiber::detail::GreenletState::suspended;
        greenlets->current = &fresh;
        current_task = task;
        if (parked == nullptr) {
          core::start_context(from->context, stack, &LoopObject::task_main, this);
        } else {
          parked_ = parked->next;
          --parked_count_;
          core::switch_context(greenlets->thread, from->context, parked->context);
        }
        return;
      }
    }
    fiber::detail::GreenletObject* next = next_greenlet();
    if (next == nullptr) {
      task = starting;
      continue;
    }
    if (next != greenlets->current) greenlets->resume(next);
    return;
  }
}

// The first frame of every task's fiber. A fiber whose task has ended takes the next task that has
// not started, if that is next: its stack is warm and no switch is needed.
void LoopObject::task_main(void* argument) {
  auto* loop = static_cast<LoopObject*>(argument);
  fiber::detail::GreenletThread& greenlets = *loop->greenlets;
  TaskBase* task = loop->current_task;
  for (;;) {
    task->run();
    core::Stack* stack = std::exchange(task->greenlet().stack, nullptr);
    task->greenlet().state = fiber::detail::GreenletState::dead;
    if (task->abandoned_) {
      fiber::detail::GreenletObject* dropper = std::exchange(task->resume_point, nullptr);
      greenlets.current = dropper;
      dropper->state = fiber::detail::GreenletState::current;
      loop->current_task = nullptr;
      core::exit_context(dropper->context);
    }
    // What dies with the task sees the hub as current and no task running.
    loop->current_task = nullptr;
    greenlets.current = loop->hub;
    fiber::detail::GreenletObject* next = nullptr;
    if (task->refs() == 1 && task->log_traceback()) {
      loop->graveyard = task;
      task->retain();
      task->ended();
      next = loop->hub;
    } else {
      task->ended();
      next = loop->interrupt == nullptr ? loop->next_greenlet() : loop->hub;
    }
    while (next == nullptr && loop->starting->must_cancel_) {
      std::exchange(loop->starting, nullptr)->end_unstarted();
      next = loop->next_greenlet();
    }
    if (next != nullptr) {
      greenlets.current = next;
      next->state = fiber::detail::GreenletState::current;
      // Every so often a stack goes through the pool, which looks at how deeply it was used.
      if (loop->parked_count_ == kMostParked || stack->size != core::kDefaultStackSize ||
          ++stack->uses >= core::kTrimInterval)
        core::exit_context(next->context);
      ParkedFiber parked{.context = {}, .stack = stack, .next = loop->parked_};
      loop->parked_ = &parked;
      ++loop->parked_count_;
      core::switch_context(greenlets.thread, parked.context, next->context);
      task = loop->current_task;
      if (task == nullptr) core::exit_context(loop->hub->context);
      continue;
    }
    task = std::exchange(loop->starting, nullptr);
    fiber::detail::GreenletObject& fresh = task->greenlet();
    fresh.stack = stack;
    fresh.started = true;
    fresh.state = fiber::detail::GreenletState::current;
    greenlets.current = &fresh;
    loop->current_task = task;
  }
}

// On the hub, when the loop stops running.
void LoopObject::dismiss_parked() noexcept {
  current_task = nullptr;
  while (ParkedFiber* parked = parked_) {
    parked_ = parked->next;
    --parked_count_;
    core::switch_context(greenlets->thread, hub->context, parked->context);
  }
}

// Unwinds a suspended task whose loop will not run again.
void LoopObject::abandon(TaskBase* task) noexcept {
  if (task->resume_point == nullptr) {
    task->destroy_callable();
    return;
  }
  fiber::detail::GreenletThread& thread = fiber::detail::greenlet_thread();
  fiber::detail::GreenletObject* target = std::exchange(task->resume_point, thread.current);
  task->abandoned_ = true;
  TaskBase* before = std::exchange(current_task, task);
  thread.resume(target);
  current_task = before;
}

// All but the current one, whose stack is in use.
void LoopObject::abandon_others() noexcept {
  for (TaskBase* task = tasks_head; task != nullptr;) {
    if (task == current_task) {
      task = task->next_task;
      continue;
    }
    abandon(task);
    task->ended();
    task = tasks_head;
  }
}

void LoopObject::abandon_all() noexcept {
  while (tasks_head != nullptr) {
    TaskBase* task = tasks_head;
    if (task->log_destroy_pending)
      call_exception_handler(
          {.message = "Task was destroyed but it is pending!", .future = FutureRef(task)});
    abandon(task);
    task->ended();
  }
}

// What is queued will not run.
void LoopObject::drop_ready() noexcept {
  while (!ready_.empty()) {
    const Entry entry = ready_.front();
    ready_.pop();
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
  {
    const std::lock_guard lock(post_mutex_);
    closed_ = true;
  }
  retain();
  take_posted();
  drop_ready();
  batch_ = 0;
  while (!timers_.empty()) {
    TimerNode* node = timers_.pop();
    if (node->entry.kind() == Entry::Kind::handle) node->entry.handle()->release();
  }
  abandon_all();
  drop_ready();
  while (LoopDependent* dependent = dependents_) {
    dependent->leave();
    dependent->loop_closed();
  }
  selector_->detach_all();
  selector_ = std::make_unique<Selector>();
  embedded_ = resting_ = false;
  executor_shutdown_called = true;
  if (const auto executor = std::exchange(default_executor, nullptr))
    executor->shutdown({.wait = false});
  release();
}

// --- descriptors --------------------------------------------------------------------------------

void LoopObject::add_reader(int fd, HandleObject* handle) {
  if (closed_) {
    handle->release();
    check_closed();
  }
  selector_->add(fd, false, handle);
}

bool LoopObject::remove_reader(int fd) { return !closed_ && selector_->remove(fd, false); }

void LoopObject::add_writer(int fd, HandleObject* handle) {
  if (closed_) {
    handle->release();
    check_closed();
  }
  selector_->add(fd, true, handle);
}

bool LoopObject::remove_writer(int fd) { return !closed_ && selector_->remove(fd, true); }

void LoopObject::watch(Watch& watch, int fd) {
  check_closed();
  selector_->watch(watch, fd);
}

void LoopObject::unwatch(Watch& watch) noexcept { selector_->unwatch(watch); }
void LoopObject::forget(Watch& watch) noexcept { selector_->forget(watch); }
void LoopObject::read_again(Watch& watch) { selector_->again(watch); }

int LoopObject::wait(DescriptorWait& wait) { return selector_->wait(wait); }
void LoopObject::leave(DescriptorWait& wait) noexcept { selector_->leave(wait); }
bool LoopObject::has_waits(int fd) const noexcept { return selector_->has_waits(fd); }
void LoopObject::closing(int fd) noexcept { selector_->closing(fd); }

// --- errors -------------------------------------------------------------------------------------

void LoopObject::call_exception_handler(const ExceptionContext& context) noexcept {
  try {
    const std::shared_ptr<exception_handler> custom = handler;
    if (custom) {
      (*custom)(EventLoop(this), context);
      return;
    }
    EventLoop(this).default_exception_handler(context);
  } catch (const KeyboardInterrupt&) {
    interrupt = std::current_exception();
  } catch (const SystemExit&) {
    interrupt = std::current_exception();
  } catch (...) {
    std::fputs("asyncio: the exception handler failed\n", stderr);
  }
}

}  // namespace fiber::asyncio::detail
