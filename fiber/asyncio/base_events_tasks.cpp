// How tasks begin and end: their stacks, and who runs next.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/tasks.hpp>

namespace fiber::asyncio::detail {

// In this file so that it is inlined into task_main.
//
// The next iteration as a fiber may begin it by itself: there is something ready, and neither a
// deadline that has come nor a descriptor to look at.
bool LoopObject::quick_turn() noexcept {
  if (posted_.load(std::memory_order_relaxed) || stopping_ || ready_.empty() ||
      !selector_->empty() || through_hub_ || signals.load(std::memory_order_relaxed) ||
      interrupt != nullptr || graveyard != nullptr)
    return false;
  if (!timers_.empty() && timers_.soonest() < now() + kClockResolution) return false;
  batch_ = ready_.size();
  ++iterations;
  return true;
}

// Called by whoever gives way, in place of a switch; returns when it is its turn again.
void LoopObject::start_task(TaskBase* task) {
  for (;;) {
    starting = nullptr;
    if (task->must_cancel_) {
      current_task = nullptr;
      const Interlude interlude(greenlets->current);
      task->end_unstarted();
    } else {
      ParkedFiber* parked = parked_;
      const core::StackShape wanted = task->greenlet().stack_shape;
      if (parked != nullptr && !parked->stack->shape.fits(wanted)) parked = nullptr;
      core::Stack* stack = nullptr;
      try {
        stack = parked != nullptr ? parked->stack : greenlets->thread.pool.allocate(wanted);
      } catch (...) {
        current_task = nullptr;
        const Interlude interlude(greenlets->current);
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
          core::start_context(greenlets->thread, from->context, stack, &LoopObject::task_main,
                              this);
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
    loop->float_modes_.set();
    task->run();
    core::Stack* stack = std::exchange(task->greenlet().stack, nullptr);
    task->greenlet().state = fiber::detail::GreenletState::dead;
    if (task->abandoned_) {
      fiber::detail::GreenletObject* dropper = std::exchange(task->resume_point, nullptr);
      greenlets.current = dropper;
      greenlets.arrives_alone(dropper);
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
      if (task->refs() == 1) {
        const Interlude interlude(loop->hub);
        task->ended();
      } else {
        task->ended();
      }
      next = loop->interrupt == nullptr ? loop->next_greenlet(true) : loop->hub;
    }
    while (next == nullptr && loop->starting->must_cancel_) {
      {
        const Interlude interlude(loop->hub);
        std::exchange(loop->starting, nullptr)->end_unstarted();
      }
      next = loop->next_greenlet(true);
    }
    if (next == nullptr && !stack->shape.fits(loop->starting->greenlet().stack_shape))
        [[unlikely]] {
      // There is no room for it here: the hub starts it elsewhere.
      loop->starting = nullptr;
      loop->ready_.unpop();
      ++loop->batch_;
      next = loop->hub;
    }
    if (next != nullptr) {
      greenlets.current = next;
      next->state = fiber::detail::GreenletState::current;
      // Every so often a stack goes through the pool, which looks at how deeply it was used.
      if (loop->parked_count_ == kMostParked || stack->shape != core::StackShape() ||
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

// --- tasks that are made in an unusual way ------------------------------------------------------

void LoopObject::make_task(TaskBase& task, const TaskArguments& arguments) {
  check_closed();
  if (factory_ == nullptr) {
    task.begin(*this, arguments);
    return;
  }
  task_options options{.name = arguments.name,
                       .eager_start = arguments.eager_start,
                       .stack_size = arguments.stack_size,
                       .guard_size = arguments.guard_size};
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
  while (tasks_head != nullptr) {
    TaskBase* task = tasks_head;
    if (task->log_destroy_pending) report("Task was destroyed but it is pending!", FutureRef(task));
    abandon(task);
    task->ended();
  }
}

}  // namespace fiber::asyncio::detail
