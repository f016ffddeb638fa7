// The beginning and the end of tasks: their stacks, and the choice of the next.
#include <fiber/asyncio/turns.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/selectors.hpp>

namespace fiber::asyncio::detail {

Turns::Turns(LoopObject& loop) : greenlets(&fiber::detail::greenlet_thread()), loop_(loop) {}

// --- iterations ---------------------------------------------------------------------------------

FIBER_INLINE bool LoopObject::left_alone() const noexcept {
  return !mailbox_.any() && !stopping_ && selector_->empty() && !signals_.any();
}

FIBER_INLINE bool Turns::begin_quick_turn() noexcept {
  batch_ = ready.size();
  ++iterations;
  return true;
}

// Begins the next iteration on a fiber, if entries are ready and there is nothing else to look at.
// In this file so that it is inlined into task_main.
bool Turns::quick_turn() noexcept {
  if (ready.empty() || through_hub_ != 0 || graveyard_ != nullptr || interrupt) return false;
  if (!loop_.left_alone()) return false;
  // A tail call, so that a turn without timers saves no registers for the call of the clock.
  return loop_.timers().empty() ? begin_quick_turn() : quick_turn_before_timers();
}

bool Turns::quick_turn_before_timers() noexcept {
  return !loop_.timers().any_due() && begin_quick_turn();
}

void Turns::begin_batch() noexcept {
  ++iterations;
  batch_ = ready.size();
  if (shuffle_state_ == 0 || batch_ < 2) [[likely]]
    return;
  for (std::size_t i = batch_ - 1; i > 0; --i) {
    shuffle_state_ = shuffle_state_ * 6364136223846793005U + 1442695040888963407U;
    ready.swap(i, (shuffle_state_ >> 33U) % (i + 1));
  }
}

void Turns::set_shuffle(std::uint64_t seed) noexcept {
  shuffle_state_ = seed;
  loop_.update_modes();
}

void Turns::begin_run() noexcept {
  hub = root = greenlets->current;
  float_modes_ = core::FloatModes::current();
}

void Turns::end_run() noexcept {
  current_task = nullptr;
  while (ParkedFiber* parked = parked_.take())
    core::switch_context(greenlets->thread, hub->context, parked->context);
}

void Turns::run(TaskBase* task) {
  hub->waiting = true;
  if (task->resume_point != nullptr) {
    current_task = task;
    greenlets->resume(task->resume_point);
  } else {
    start_task(task);
  }
  hub->waiting = false;
  bury();
}

// Reports a failed task whose last reference was the loop's, before the next entry runs.
void Turns::bury() noexcept {
  if (graveyard_ == nullptr) [[likely]]
    return;
  TaskBase* task = std::exchange(graveyard_, nullptr);
  task->release();
}

// --- how a task begins --------------------------------------------------------------------------

// Starts a task in place of a switch, for a fiber or hub that suspends. Returns at its next turn.
void Turns::start_task(TaskBase* task) {
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
      core::start_context(greenlets->thread, from->context, stack, &Turns::task_main, this);
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

// Returns a stack; null if there is none, and the task has ended with the error.
core::Stack* Turns::stack_for(TaskBase& task) noexcept {
  try {
    return greenlets->thread.pool.allocate(task.greenlet().stack_shape);
  } catch (...) {
    current_task = nullptr;
    const Interlude interlude(greenlets->current, between_fibers);
    task.destroy_callable();
    task.end_with(std::current_exception());
    task.ended();
    return nullptr;
  }
}

// Ends a task that was cancelled before its first step.
void Turns::end_unstarted(TaskBase& task, fiber::detail::GreenletObject* current) noexcept {
  current_task = nullptr;
  const Interlude interlude(current, between_fibers);
  task.end_unstarted();
}

FIBER_INLINE void Turns::make_current(TaskBase& task, core::Stack* stack) noexcept {
  fiber::detail::GreenletObject& fresh = task.greenlet();
  fresh.stack = stack;
  fresh.started = true;
  fresh.state = fiber::detail::GreenletState::current;
  greenlets->current = &fresh;
  current_task = &task;
}

// --- the life of a fiber ------------------------------------------------------------------------

// The first frame of every task's fiber. A fiber whose task has ended runs the next task, if that
// has not started: its stack is warm and no switch is needed. Otherwise the fiber is parked until a
// task starts on it.
void Turns::task_main(void* argument) {
  auto* turns = static_cast<Turns*>(argument);
  TaskBase* task = turns->current_task;
  for (;;) {
    turns->float_modes_.set();
    task->run();
    core::Stack* stack = std::exchange(task->greenlet().stack, nullptr);
    task->greenlet().state = fiber::detail::GreenletState::dead;
    if (task->abandoned_) turns->leave_abandoned(*task);

    fiber::detail::GreenletObject* next = turns->next_that_runs(turns->end_task(*task), *stack);
    if (next == nullptr) {
      task = std::exchange(turns->starting_, nullptr);
      turns->make_current(*task, stack);
      continue;
    }

    fiber::detail::GreenletThread& greenlets = *turns->greenlets;
    greenlets.current = next;
    next->state = fiber::detail::GreenletState::current;
    if (!turns->parked_.wants(*stack, greenlets.thread.pool.default_shape()))
      core::exit_context(next->context);
    ParkedFiber parked{.context = {}, .stack = stack};
    turns->parked_.park(parked);
    core::switch_context(greenlets.thread, parked.context, next->context);
    task = turns->current_task;
    if (task == nullptr) core::exit_context(turns->hub->context);  // the loop stops
  }
}

// Ends an abandoned task's fiber: goes back to the code that waits in abandon().
void Turns::leave_abandoned(TaskBase& task) noexcept {
  fiber::detail::GreenletObject* dropper = std::exchange(task.resume_point, nullptr);
  greenlets->current = dropper;
  greenlets->arrives_alone(dropper);
  dropper->state = fiber::detail::GreenletState::current;
  current_task = nullptr;
  core::exit_context(dropper->context);
}

// Gives up a task that has ended, on its own stack, and returns the result of next_greenlet().
// Destructors run by that see the hub as current and no task running.
FIBER_INLINE fiber::detail::GreenletObject* Turns::end_task(TaskBase& task) {
  current_task = nullptr;
  greenlets->current = hub;
  if (task.refs() == 1 && task.log_traceback()) {
    graveyard_ = &task;
    task.retain();
    task.ended();
    return hub;
  }
  if (task.refs() == 1) {
    const Interlude interlude(hub, between_fibers);
    task.ended();
  } else {
    task.ended();
  }
  return interrupt == nullptr ? next_greenlet(true) : hub;
}

// Returns the greenlet to run; null: the task in `starting_` starts on this stack. Tasks that were
// cancelled before their first step end here.
FIBER_INLINE fiber::detail::GreenletObject* Turns::next_that_runs(
    fiber::detail::GreenletObject* next, const core::Stack& stack) {
  while (next == nullptr && starting_->must_cancel_) {
    end_unstarted(*std::exchange(starting_, nullptr), hub);
    next = next_greenlet(true);
  }
  if (next != nullptr || stack.shape.fits(starting_->greenlet().stack_shape)) [[likely]]
    return next;
  // The stack does not fit: the hub starts the task elsewhere.
  starting_ = nullptr;
  ready.unpop();
  ++batch_;
  return hub;
}

fiber::detail::GreenletObject* Turns::who_runs() const noexcept {
  if (current_task != nullptr) return current_task->own_greenlet();
  return between_fibers != nullptr ? between_fibers : root;
}

// --- eager steps --------------------------------------------------------------------------------

void Turns::step_eagerly(TaskBase& task) {
  fiber::detail::GreenletObject* creator = greenlets->current;
  // A greenlet of the user's own may create the task on behalf of the one that runs, which must not
  // go on meanwhile either.
  fiber::detail::GreenletObject* runner = who_runs();
  struct Restore {
    Turns& turns;
    fiber::detail::GreenletObject* creator;
    fiber::detail::GreenletObject* runner;
    fiber::detail::GreenletObject* hub;
    TaskBase* current_task;
    std::size_t batch;
    std::size_t through_hub;
    bool waiting;
    ~Restore() {
      runner->waiting = false;
      creator->waiting = waiting;
      turns.hub = hub;
      turns.current_task = current_task;
      turns.batch_ = batch;
      turns.through_hub_ = through_hub;
    }
  };
  {
    // With the creator as the hub and an empty batch, a task that suspends returns here.
    const Restore restore{*this,        creator, runner,       hub,
                          current_task, batch_,  through_hub_, creator->waiting};
    hub = creator;
    batch_ = 0;
    through_hub_ = 1;
    runner->waiting = creator->waiting = true;
    if (current_task != nullptr) current_task->resume_point = creator;  // its frames are here
    start_task(&task);
  }
  bury();
  throw_interrupt();
  if (current_task != nullptr) current_task->check_abandoned();
}

// --- the end ------------------------------------------------------------------------------------

void Turns::drop() noexcept {
  while (!ready.empty()) {
    const Entry entry = ready.take();
    if (entry.kind() == Entry::Kind::handle) {
      entry.handle()->abandon();
    } else if (entry.kind() == Entry::Kind::leaf_callback) {
      auto* leaf = static_cast<LeafCallback*>(entry.leaf());
      leaf->queued = false;
      leaf->drop(leaf);
    }
  }
  batch_ = 0;
}

void Turns::drop_abandoned() noexcept {
  batch_ = 0;
  for (std::size_t left = ready.size(); left > 0; --left) {
    const Entry entry = ready.front();
    ready.pop();  // its claim stays, unless the task has given it up
    if (entry.kind() != Entry::Kind::task || !entry.task()->abandoned()) ready.push(entry);
  }
}

void Turns::abandon(TaskBase* task) noexcept {
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

}  // namespace fiber::asyncio::detail
