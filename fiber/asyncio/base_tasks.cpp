#include <fiber/asyncio/base_tasks.hpp>

#include <fiber/asyncio/cancellation.hpp>
#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/object_registry.hpp>
#include <fiber/asyncio/thread_end.hpp>
#include <fiber/core/own_thread.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

namespace fiber::asyncio::detail {

using contextvars::detail::ContextObject;

namespace {

// Returns the number of the process's next task. Each start of a task takes one, where a locked
// instruction would be a twentieth of the time.
FIBER_INLINE std::uint64_t next_number() noexcept {
  static constinit std::atomic<std::uint64_t> counter{0};
  if (!platform::is_single_threaded()) return counter.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::uint64_t number = counter.load(std::memory_order_relaxed) + 1;
  counter.store(number, std::memory_order_relaxed);
  return number;
}

// Returns the CancelledError that awaiting this future throws; null for any other outcome.
std::exception_ptr cancellation_from(FutureBase& future) {
  if (future.cancelled()) return future.make_cancelled_error();
  if (future.peek_exception() == nullptr) return nullptr;
  try {
    std::rethrow_exception(future.peek_exception());
  } catch (const CancelledError&) {
    return std::current_exception();  // a gather ends with this exception
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

const char* AsyncioThread::running_name() const noexcept {
  if (running == nullptr) return nullptr;
  fiber::detail::GreenletObject* current = running->turns().greenlets->current;
  if (!current->scheduled) return nullptr;
  const TaskBase* task = static_cast<TaskGreenlet*>(current)->task;
  if (const std::string* name = task->given_name()) return name->c_str();
  constexpr std::string_view prefix = "Task-";
  char* const digits = std::copy(prefix.begin(), prefix.end(), task_name_);
  *std::to_chars(digits, std::end(task_name_) - 1, task->number()).ptr = '\0';
  return task_name_;
}

std::string TaskGreenlet::display_name() const { return task->get_name(); }

// Called when the last handle to the greenlet outlives the last one to the task.
void TaskGreenlet::dispose() noexcept { delete task; }

TaskBase::TaskBase(CoroutineName coroutine) noexcept
    : FutureBase(nullptr),
      coroutine_kind_(coroutine.kind),
      wakeup(this),
      coroutine_name_(coroutine.data) {
  is_task_ = true;
}

TaskBase::~TaskBase() = default;

void TaskBase::unreferenced() noexcept {
  if (log_traceback_) report_unretrieved();
  if (refs_ != 0) return;
  if (!consumed_) report_never_awaited(coroutine_name());
  if (greenlet_ && !greenlet_->give_up_last())
    fiber::detail::release(&*greenlet_);  // disposes of the task, unless its greenlet is held
  else
    end();
}

void refuse_second_await() { throw RuntimeError("cannot reuse already awaited coroutine"); }
void TaskBase::refuse_reuse() { refuse_second_await(); }

namespace {

// Returns the thread for tasks of the loop. Throws at the first use of a thread.
FIBER_INLINE fiber::detail::GreenletThread& thread_for(const LoopObject& loop) {
  return loop.turns().hub != nullptr ? *loop.turns().greenlets : fiber::detail::greenlet_thread();
}

}  // namespace

// Makes the object a task of the loop, with a claim to a place in the ready queue. Everything that
// may fail comes first.
template <class MakeContext>
FIBER_INLINE void TaskBase::bind(LoopObject& loop, const std::string& name,
                                 MakeContext make_context) {
  if (consumed_) [[unlikely]]
    refuse_reuse();
  fiber::detail::GreenletThread& thread = thread_for(loop);
  core::Owner<std::string> own_name;
  if (!name.empty()) own_name = core::make_owner<std::string>(name);
  loop.ready_queue().claim();
  core::Ref<ContextObject> context;
  try {
    context = make_context(contextvars::detail::context_of(*thread.current));
  } catch (...) {
    loop.ready_queue().give_back();
    throw;
  }
  consumed_ = true;
  if (own_name == nullptr)
    number_ = next_number();
  else
    name_ = std::move(own_name);
  set_loop(&loop);
  using fiber::detail::GreenletObject;
  const bool inside = loop.turns().hub != nullptr;
  // A task that is made outside of the loop may still move to the thread on which the loop will
  // run.
  greenlet_.emplace(
      thread, this,
      inside ? GreenletObject::Listed::at_once : GreenletObject::Listed::when_started);
  if (!inside) loop.home().task_made_outside();
  greenlet_->refs = 1;  // the task's own
  greenlet_->belongings = core::Ref<fiber::detail::Belongings>::adopt(context.detach());
  GreenletObject* root = loop.turns().root;
  GreenletObject* parent = root != nullptr ? root : thread.current;
  ++parent->refs;
  greenlet_->parent = parent;
  retain();  // the loop's
  loop.tasks().add(*this);
}

void TaskBase::schedule(LoopObject& loop, const std::string& name) {
  if (loop.tasks().special()) [[unlikely]] {
    loop.tasks().make(*this, {.name = name});
    return;
  }
  try {
    bind(loop, name, [](const ContextObject* current) {
      return current != nullptr ? contextvars::detail::copy(current) : core::Ref<ContextObject>();
    });
  } catch (const std::bad_alloc&) {
    close_if_last();
    throw;
  }
  loop.push(Entry(this));
}

void TaskBase::close_if_last() noexcept {
  if (refs_ != 1 || consumed_) return;
  consumed_ = true;
  destroy_callable();
}

void TaskBase::begin(LoopObject& loop, const TaskArguments& arguments) {
  loop.check_closed();
  if (loop.debug()) loop.home().check_thread();
  if (arguments.own_thread_state)
    if (const char* why = core::OwnThread::why_not(arguments.slow_thread_state)) {
      consume();
      destroy_callable();
      throw RuntimeError(std::string("a task cannot have own_thread_state: ") + why);
    }
  const bool eager = arguments.eager_start.value_or(false) && loop.home().is_here();
  bind(loop, arguments.name, [&](const ContextObject* current) {
    return arguments.own_context ? contextvars::detail::copy(current)
                                 : core::Ref<ContextObject>(arguments.context);
  });
  greenlet_->stack_shape = greenlet_->stack_shape.with(arguments.stack_size, arguments.guard_size);
  own_thread_state_ = arguments.own_thread_state;
  slow_thread_state_ = arguments.slow_thread_state;
  if (eager)
    loop.turns().step_eagerly(*this);
  else
    loop.push(Entry(this));
}

contextvars::Context TaskBase::context_handle() const noexcept {
  return contextvars::Context(core::Ref<ContextObject>(context_variables()));
}

contextvars::Context TaskBase::get_context() {
  if (!greenlet_)
    throw RuntimeError("only a task has a context, and this coroutine is not one yet");
  if (context_variables() == nullptr)
    contextvars::detail::exchange_context(
        *greenlet_, core::Ref<ContextObject>(contextvars::Context().object()));
  return context_handle();
}

std::string TaskBase::get_name() const {
  return name_ ? *name_ : "Task-" + std::to_string(number_);
}

bool TaskBase::cancel(std::string message) {
  if (done()) {
    log_traceback_ = false;
    return false;
  }
  if (loop_->debug()) [[unlikely]]
    loop_->home().check_thread();
  if (waiting_on_ != nullptr && (waiting_on_->is_task() || waiting_on_->is_gather()))
    return Cancellation(message).cancel(*this);
  std::string copy = waiting_on_ != nullptr ? message : std::string();
  count_cancellation();
  if (waiting_on_ == nullptr || !waiting_on_->cancel(std::move(copy))) cancel_again(message);
  return true;
}

void TaskBase::count_cancellation() noexcept {
  ++cancel_requests_;
  if (!loop_->debug()) [[likely]]
    return;
  try {
    if (ObjectRegistry::Record* record = loop_->observation().registry()->find(this))
      record->cancelled = Origin::here();
  } catch (const std::bad_alloc&) {
    // No memory: without the place.
  }
}

int TaskBase::uncancel() {
  if (cancel_requests_ > 0 && --cancel_requests_ == 0) cancellation_delivered();
  return cancel_requests_;
}

void TaskBase::throw_cancelled() {
  if (abandoned_) throw GreenletExit("the event loop of the task is gone");
  cancellation_delivered();
  std::rethrow_exception(make_cancelled_error());
}

namespace {

// Marks the task's greenlet as waiting while a greenlet of the user's own waits on behalf of the
// task: a plain switch must not continue it, since the task can only end in the loop, which may
// have stopped by then.
struct WaitsElsewhere {
  explicit WaitsElsewhere(fiber::detail::GreenletObject* its, bool elsewhere) noexcept
      : own(elsewhere ? its : nullptr) {
    if (own != nullptr) own->waiting = true;
  }
  WaitsElsewhere(const WaitsElsewhere&) = delete;
  WaitsElsewhere& operator=(const WaitsElsewhere&) = delete;
  ~WaitsElsewhere() {
    if (own != nullptr) own->waiting = false;
  }
  fiber::detail::GreenletObject* own;
};

}  // namespace

std::exception_ptr TaskBase::overdue_cancellation(std::exception_ptr error) {
  if (!told_library_) return error;
  try {
    if (error == nullptr) {
      cancellation_delivered();
      return new_cancelled_error();
    }
    std::rethrow_exception(std::move(error));
  } catch (const KeyboardInterrupt&) {
    return std::current_exception();  // these errors end more than the task
  } catch (const SystemExit&) {
    return std::current_exception();
  } catch (const GreenletExit&) {
    return std::current_exception();
  } catch (const CancelledError&) {
    cancellation_delivered();
    return std::current_exception();
  } catch (...) {
    cancellation_delivered();
    try {
      std::throw_with_nested(cancel_message_ ? CancelledError(*cancel_message_) : CancelledError());
    } catch (...) {
      return std::current_exception();
    }
  }
}

void TaskBase::wait_slow(FutureBase* future) {
  LoopObject& loop = *loop_;
  fiber::detail::GreenletObject* self = loop.turns().greenlets->current;
  const bool foreign = self != &*greenlet_;
  if (abandoned_) throw RuntimeError("a task that is being unwound with its loop cannot wait");
  if (future->loop() != &loop || future == this) {
    // Python notices in the loop: the error arrives one iteration later.
    loop.push(Entry(this));
    {
      const WaitsElsewhere elsewhere(&*greenlet_, foreign);
      loop.turns().suspend(this);
    }
    check_cancelled();
    throw RuntimeError(future == this ? "Task cannot await on itself: " + repr()
                                      : "Task " + repr() + " got Future " + future->repr() +
                                            " attached to a different loop");
  }
  // A greenlet of the user's own that waits inside the task must outlive the wait.
  if (foreign) fiber::detail::retain(self);
  future->add(&wakeup);
  waiting_on_ = future;
  if (must_cancel_) {
    try {
      if (future->cancel(cancel_message_ ? *cancel_message_ : std::string()))
        cancellation_delivered();
    } catch (...) {
      future->remove(&wakeup);
      waiting_on_ = nullptr;
      if (foreign) fiber::detail::release(self);
      throw;
    }
  }
  {
    const WaitsElsewhere elsewhere(&*greenlet_, foreign);
    loop.turns().suspend(this);
  }
  waiting_on_ = nullptr;
  if (foreign) fiber::detail::release(self);
  check_awakening(future);
}

void TaskBase::give_way_elsewhere() {
  Turns& turns = loop_->turns();
  fiber::detail::GreenletObject* self = turns.greenlets->current;
  fiber::detail::retain(self);
  loop_->push(Entry(this));
  {
    const WaitsElsewhere elsewhere(&*greenlet_, true);
    turns.suspend(this);
  }
  fiber::detail::release(self);
  check_cancelled();
}

void TaskBase::check_awakening(FutureBase* future) {
  if (wakeup.future != nullptr) wakeup.future->remove(&wakeup);
  if (future->done()) future->set_log_traceback(false);
  if (must_cancel_ && !abandoned_) {
    // The first cancellation arrives with this outcome; the second adds nothing.
    if (const std::exception_ptr first = cancellation_from(*future)) {
      cancellation_delivered();
      std::rethrow_exception(first);
    }
  }
  check_cancelled();
}

// Runs the body on a thread of its own. The runtime keeps a record of exceptions for each thread:
// an exception of the body is thrown again on the thread of the loop.
void TaskBase::run_with_own_thread_state() {
  struct Call {
    TaskBase& task;
    std::exception_ptr error = nullptr;

    static void run(void* self) {
      auto& call = *static_cast<Call*>(self);
      try {
        call.task.run_body();
      } catch (const fiber::detail::forced_unwind&) {
        std::fputs(
            "fiber: pthread_exit() in a task with own_thread_state: its thread ends with the "
            "task\n",
            stderr);
        std::abort();
      } catch (...) {
        call.error = std::current_exception();
      }
      call.task.destroy_callable();
    }
  };
  Call call{*this};
  {
    core::OwnThread thread(core::thread_state(), slow_thread_state_);
    thread.run(Call::run, &call);
  }
  if (call.error != nullptr) std::rethrow_exception(std::move(call.error));
}

// Runs the body on the task's own stack. Every exception of the body ends here.
void TaskBase::run() {
  bool cancelled = false;
  std::exception_ptr error;
  try {
    if (own_thread_state_) [[unlikely]]
      run_with_own_thread_state();
    else
      run_body();
  } catch (const fiber::detail::forced_unwind&) {
    waiting_on_ = nullptr;  // it may have been on the stack
    report_thread_end(*this);
    throw;
  } catch (const CancelledError&) {
    cancelled = true;
    error = std::current_exception();
  } catch (const KeyboardInterrupt&) {
    error = std::current_exception();
    loop_->turns().interrupt = error;
  } catch (const SystemExit&) {
    error = std::current_exception();
    loop_->turns().interrupt = error;
  } catch (const GreenletExit&) {
    // An abandoned task has no awaiters; for any other, ending by GreenletExit is a cancellation.
    cancelled = true;
  } catch (const StopIteration&) {
    error = instead_of_stop_iteration("coroutine raised StopIteration");
  } catch (...) {
    error = std::current_exception();
  }
  destroy_callable();
  if (told_library_ && loop_->turns().interrupt == nullptr) [[unlikely]] {
    error = overdue_cancellation(std::move(error));
    cancelled = true;
  }
  if (cancelled) {
    // The first awaiter gets the exception itself, the others one without its message.
    if (error) exception_ = std::move(error);
    cancel_message_ = nullptr;
    complete(FutureState::cancelled);
  } else if (error) {
    store_exception(std::move(error));
    complete(FutureState::finished);
  } else if (cancel_requests_ != 0) [[unlikely]] {
    if (must_cancel_) {
      // A cancellation in the last step came too late for the body: its result is dropped.
      must_cancel_ = false;
      complete(FutureState::cancelled);
    } else {
      loop_->observation().cancellation_swallowed(*this);
      complete(FutureState::finished);
    }
  } else {
    complete(FutureState::finished);
  }
}

void TaskBase::end_unstarted() noexcept {
  must_cancel_ = false;
  exception_ = make_cancelled_error();
  cancel_message_ = nullptr;
  destroy_callable();
  complete(FutureState::cancelled);
  greenlet_->started = true;
  greenlet_->state = fiber::detail::GreenletState::dead;
  ended();
}

void TaskBase::ended() noexcept {
  LoopObject& loop = *loop_;
  loop.tasks().remove(*this);
  loop.ready_queue().give_back();
  release();
}

void refuse_await() {
  throw RuntimeError(
      "await() was called outside of a task: start one with asyncio::run or create_task");
}

}  // namespace fiber::asyncio::detail
