// How tasks begin and end: their stacks, and who runs next.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/tasks.hpp>

namespace fiber::asyncio::detail {

// The next iteration as a fiber may begin it by itself: there is something ready, and neither a
// deadline that has come nor a descriptor to look at. In this file so that it is inlined into
// task_main.
bool LoopObject::quick_turn() noexcept {
  if (mailbox_.any() || stopping_ || ready_.empty() || !selector_->empty() || through_hub_ ||
      signals.load(std::memory_order_relaxed) || interrupt != nullptr || graveyard_ != nullptr)
    return false;
  if (timers_.any_due()) return false;
  batch_ = ready_.size();
  ++iterations;
  return true;
}

// --- how a task begins --------------------------------------------------------------------------

// Called by whoever gives way, in place of a switch; returns when it is its turn again.
void LoopObject::start_task(TaskBase* task) {
  for (;;) {
    starting_ = nullptr;
    if (task->must_cancel_) {
      end_unstarted(*task, greenlets->current);
    } else if (ParkedFiber* parked = parked_.fitting(task->greenlet().stack_shape)) {
      fiber::detail::GreenletObject* from = greenlets->current;
      from->state = fiber::detail::GreenletState::suspended;
      make_current(*task, parked->stack);
      core::switch_context(greenlets->thread, from->context, parked_.take()->context);
      return;
    } else if (core::Stack* stack = stack_for(*task)) {
      fiber::detail::GreenletObject* from = greenlets->current;
      from->state = fiber::detail::GreenletState::suspended;
      make_current(*task, stack);
      core::start_context(greenlets->thread, from->context, stack, &LoopObject::task_main, this);
      return;
    }
    fiber::detail::GreenletObject* next = next_greenlet();
    if (next == nullptr) {
      task = starting_;
      continue;
    }
    if (next != greenlets->current) greenlets->resume(next);
    return;
  }
}

// Null: there was none to be had, and the task has ended with the error.
core::Stack* LoopObject::stack_for(TaskBase& task) noexcept {
  try {
    return greenlets->thread.pool.allocate(task.greenlet().stack_shape);
  } catch (...) {
    current_task = nullptr;
    const Interlude interlude(greenlets->current);
    task.destroy_callable();
    task.set_exception(std::current_exception());
    task.ended();
    return nullptr;
  }
}

// A task that was cancelled before its first step.
void LoopObject::end_unstarted(TaskBase& task, fiber::detail::GreenletObject* current) noexcept {
  current_task = nullptr;
  const Interlude interlude(current);
  task.end_unstarted();
}

FIBER_INLINE void LoopObject::make_current(TaskBase& task, core::Stack* stack) noexcept {
  fiber::detail::GreenletObject& fresh = task.greenlet();
  fresh.stack = stack;
  fresh.started = true;
  fresh.state = fiber::detail::GreenletState::current;
  greenlets->current = &fresh;
  current_task = &task;
}

// --- the life of a fiber ------------------------------------------------------------------------

// The first frame of every task's fiber. A fiber whose task has ended takes the next task that has
// not started, if that is next: its stack is warm and no switch is needed. Otherwise it is parked
// until a task is to start.
void LoopObject::task_main(void* argument) {
  auto* loop = static_cast<LoopObject*>(argument);
  TaskBase* task = loop->current_task;
  for (;;) {
    loop->float_modes_.set();
    task->run();
    core::Stack* stack = std::exchange(task->greenlet().stack, nullptr);
    task->greenlet().state = fiber::detail::GreenletState::dead;
    if (task->abandoned_) loop->leave_abandoned(*task);

    fiber::detail::GreenletObject* next = loop->next_that_runs(loop->end_task(*task), *stack);
    if (next == nullptr) {
      task = std::exchange(loop->starting_, nullptr);
      loop->make_current(*task, stack);
      continue;
    }

    fiber::detail::GreenletThread& greenlets = *loop->greenlets;
    greenlets.current = next;
    next->state = fiber::detail::GreenletState::current;
    if (!loop->parked_.wants(*stack)) core::exit_context(next->context);
    ParkedFiber parked{.context = {}, .stack = stack};
    loop->parked_.park(parked);
    core::switch_context(greenlets.thread, parked.context, next->context);
    task = loop->current_task;
    if (task == nullptr) core::exit_context(loop->hub->context);  // the loop stops
  }
}

// The task was unwound by somebody who waits for that: see abandon().
void LoopObject::leave_abandoned(TaskBase& task) noexcept {
  fiber::detail::GreenletObject* dropper = std::exchange(task.resume_point, nullptr);
  greenlets->current = dropper;
  greenlets->arrives_alone(dropper);
  dropper->state = fiber::detail::GreenletState::current;
  current_task = nullptr;
  core::exit_context(dropper->context);
}

// Gives up a task that has ended, on its own stack, and returns what next_greenlet() does. What
// dies with the task sees the hub as current and no task running.
FIBER_INLINE fiber::detail::GreenletObject* LoopObject::end_task(TaskBase& task) {
  current_task = nullptr;
  greenlets->current = hub;
  if (task.refs() == 1 && task.log_traceback()) {
    graveyard_ = &task;
    task.retain();
    task.ended();
    return hub;
  }
  if (task.refs() == 1) {
    const Interlude interlude(hub);
    task.ended();
  } else {
    task.ended();
  }
  return interrupt == nullptr ? next_greenlet(true) : hub;
}

// Null: the task in `starting_` starts on this stack. Those that were cancelled before end here.
FIBER_INLINE fiber::detail::GreenletObject* LoopObject::next_that_runs(
    fiber::detail::GreenletObject* next, const core::Stack& stack) {
  while (next == nullptr && starting_->must_cancel_) {
    end_unstarted(*std::exchange(starting_, nullptr), hub);
    next = next_greenlet(true);
  }
  if (next != nullptr || stack.shape.fits(starting_->greenlet().stack_shape)) [[likely]]
    return next;
  // There is no room for it here: the hub starts it elsewhere.
  starting_ = nullptr;
  ready_.unpop();
  ++batch_;
  return hub;
}

// On the hub, when the loop stops running.
void LoopObject::dismiss_parked() noexcept {
  current_task = nullptr;
  while (ParkedFiber* parked = parked_.take())
    core::switch_context(greenlets->thread, hub->context, parked->context);
}

// --- tasks that are made in an unusual way ------------------------------------------------------

void LoopObject::make_task(TaskBase& task, const TaskArguments& arguments) {
  check_closed();
  if (factory_ == nullptr) {
    task.begin(*this, arguments);
    return;
  }
  TaskOptions options{.name = arguments.name,
                      .eager_start = arguments.eager_start,
                      .stack_size = arguments.stack_size,
                      .guard_size = arguments.guard_size,
                      .own_thread_state = arguments.own_thread_state,
                      .slow_thread_state = arguments.slow_thread_state};
  if (!arguments.own_context)
    options.context =
        contextvars::Context(core::Ref<contextvars::detail::ContextObject>(arguments.context));
  const std::shared_ptr<task_factory> factory = factory_;
  const TaskRef made = (*factory)(EventLoop(this), CoroutineRef(&task), options);
  if (made.get() != &task)
    throw TypeError("the task factory did not return the task of the coroutine that it was given");
}

void LoopObject::step_eagerly(TaskBase& task) {
  fiber::detail::GreenletObject* creator = greenlets->current;
  struct Restore {
    LoopObject& loop;
    fiber::detail::GreenletObject* creator;
    fiber::detail::GreenletObject* hub;
    TaskBase* current_task;
    std::size_t batch;
    std::size_t through_hub;
    bool waiting;
    ~Restore() {
      creator->waiting = waiting;
      loop.hub = hub;
      loop.current_task = current_task;
      loop.batch_ = batch;
      loop.through_hub_ = through_hub;
    }
  };
  {
    // With the creator as the hub and nothing to be done in this batch, whoever gives way comes
    // back here.
    const Restore restore{*this,        creator,         hub, current_task, batch_,
                          through_hub_, creator->waiting};
    hub = creator;
    batch_ = 0;
    through_hub_ = 1;
    creator->waiting = true;
    if (current_task != nullptr) current_task->resume_point = creator;  // where its frames are
    start_task(&task);
  }
  bury();
  if (interrupt) std::rethrow_exception(std::exchange(interrupt, nullptr));
  if (current_task != nullptr) current_task->check_abandoned();
}

// --- tasks whose loop is gone -------------------------------------------------------------------

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

void LoopObject::abandon_all() noexcept {
  while (TaskBase* task = tasks.first()) {
    if (task->log_destroy_pending) report("Task was destroyed but it is pending!", FutureRef(task));
    abandon(task);
    task->ended();
  }
}

}  // namespace fiber::asyncio::detail
