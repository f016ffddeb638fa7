#include <fiber/asyncio/tasks.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/waiter.hpp>

namespace fiber::asyncio {

TaskRef eager_task_factory(const EventLoop& loop, const CoroutineRef& coroutine,
                           const TaskOptions& options) {
  TaskOptions eager = options;
  if (!eager.eager_start) eager.eager_start = true;
  return TaskRef(coroutine, loop, eager);
}

task_factory create_eager_task_factory(task_factory constructor) {
  return [constructor = std::move(constructor)](
             const EventLoop& loop, const CoroutineRef& coroutine, const TaskOptions& options) {
    TaskOptions eager = options;
    if (!eager.eager_start) eager.eager_start = true;
    return constructor(loop, coroutine, eager);
  };
}

TaskRef current_task() { return TaskRef(detail::running_loop().turns().current_task); }

std::vector<TaskRef> all_tasks(const EventLoop& loop) {
  std::vector<TaskRef> tasks;
  tasks.reserve(loop.object().tasks().size());
  for (detail::TaskBase& task : loop.object().tasks().unfinished()) tasks.emplace_back(&task);
  return tasks;
}

std::vector<TaskRef> all_tasks() { return all_tasks(get_running_loop()); }

namespace detail {

namespace {

TaskArguments to_arguments(const TaskOptions& options) {
  return {.name = options.name,
          .context = options.context.object(),
          .own_context = !options.context,
          .eager_start = options.eager_start,
          .stack_size = options.stack_size,
          .guard_size = options.guard_size,
          .own_thread_state = options.own_thread_state,
          .slow_thread_state = options.slow_thread_state};
}

}  // namespace

void make_task(LoopObject& loop, TaskBase& task, const TaskOptions& options) try {
  loop.tasks().make(task, to_arguments(options));
} catch (const std::bad_alloc&) {
  task.close_if_last();
  throw;
}

LoopObject& loop_for_futures() {
  if (LoopObject* loop = asyncio_thread().running) return *loop;
  return get_event_loop().object();
}

void check_loop(const FutureBase& future, const LoopObject& loop) {
  if (future.loop() != &loop)
    throw ValueError(
        "The future belongs to a different loop than the one specified as the loop argument");
}

namespace {

// The data of a sleeping task, on its own stack.
struct SleepTimer final : Waiter, TimerNode, Leaf {
  explicit SleepTimer(LoopObject& loop) : Waiter(loop) {}
  ~SleepTimer() override { loop()->remove_timer(this); }
};

}  // namespace

void sleep_for(std::int64_t nanoseconds) {
  TaskBase& task = task_for_await();
  LoopObject& loop = *task.loop();
  SleepTimer timer(loop);
  timer.when = deadline_after(loop.now(), nanoseconds);
  timer.entry = Entry(static_cast<Leaf*>(&timer));
  timer.run = [](Leaf* leaf) noexcept { static_cast<SleepTimer*>(leaf)->wake(); };
  loop.add_timer(&timer);
  task.wait(&timer);
  timer.check_result();
}

void report_never_awaited(CoroutineName coroutine) noexcept {
  try {
    std::string text = "RuntimeWarning: coroutine '" + coroutine.str() + "' was never awaited";
    const auto origin = Origin::here();
    const std::string& place = origin->place();
    if (place != "?") text += "\n  dropped at " + place;
    log(LogLevel::warning, std::move(text));
  } catch (...) {
    // No memory for a report.
  }
}

}  // namespace detail

TaskRef::TaskRef(const CoroutineRef& coroutine, const EventLoop& loop, const TaskOptions& options)
    : FutureRef(&coroutine.object()) {
  coroutine.object().begin(loop.object(), detail::to_arguments(options));
}

}  // namespace fiber::asyncio
