#include <fiber/asyncio/task_registry.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/tasks.hpp>

namespace fiber::asyncio::detail {

void TaskRegistry::set_factory(std::shared_ptr<task_factory> factory) {
  factory_ = std::move(factory);
  loop_.update_modes();
}

void TaskRegistry::make(TaskBase& task, const TaskArguments& arguments) try {
  loop_.check_closed();
  if (factory_ == nullptr) {
    task.begin(loop_, arguments);
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
  const TaskRef made = (*factory)(EventLoop(&loop_), CoroutineRef(&task), options);
  if (made.get() != &task)
    throw TypeError(
        "the task factory must return TaskRef(coroutine, loop, options) of the coroutine that it "
        "was given");
} catch (const std::bad_alloc&) {
  task.close_if_last();
  throw;
}

// --- tasks whose loop is gone -------------------------------------------------------------------

void TaskRegistry::abandon_all() noexcept {
  while (TaskBase* task = unfinished_.first()) {
    if (task->log_destroy_pending) report_pending(*task);
    loop_.turns().abandon(task);
    task->ended();
  }
}

void TaskRegistry::end_here(bool all) noexcept {
  core::List<TaskBase> ending;
  for (TaskBase& task : unfinished_) {
    if (!all && task.own_greenlet()->state != fiber::detail::GreenletState::suspended) continue;
    task.retain();
    task.ended();
    ending.append(task);
  }
  for (TaskBase& task : ending) {
    if (!loop_.is_running() && task.log_destroy_pending) report_pending(task);
    loop_.turns().abandon(&task);
    task.abandoned_ = true;
  }
  loop_.turns().drop_abandoned();
  while (TaskBase* task = ending.pop()) task->release();
}

void TaskRegistry::report_pending(TaskBase& task) noexcept {
  loop_.errors().report("Task was destroyed but it is pending!", FutureRef(&task));
}

}  // namespace fiber::asyncio::detail
