#include <fiber/asyncio/cancellation.hpp>

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/combinators.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <new>
#include <vector>

namespace fiber::asyncio::detail {

Cancellation::~Cancellation() {
  while (level_ != nullptr) pop();
}

bool Cancellation::cancel(FutureBase& first) {
  FutureBase* below = &first;
  for (;;) {
    if (below != nullptr) below = enter(*below);
    if (below != nullptr) continue;
    if (level_ == nullptr) return told_;
    below = leave();
  }
}

void Cancellation::push(FutureBase& future) noexcept {
  if (future.is_task()) {
    auto& task = static_cast<TaskBase&>(future);
    task.in_cancel_ = true;
    task.cancelled_for_ = level_;
  } else {
    static_cast<GatherBase&>(future).cancelling_ = {.above = level_, .active = true};
  }
  level_ = &future;
}

void Cancellation::pop() noexcept {
  if (level_->is_task()) {
    auto& task = static_cast<TaskBase&>(*level_);
    task.in_cancel_ = false;
    level_ = std::exchange(task.cancelled_for_, nullptr);
  } else {
    level_ = std::exchange(static_cast<GatherBase&>(*level_).cancelling_, {}).above;
  }
}

// Throws for the task nearest to the top: every circle has a task in it.
void Cancellation::refuse_circle() const {
  const FutureBase* at = level_;
  while (!at->is_task()) at = static_cast<const GatherBase*>(at)->cancelling_.above;
  throw RuntimeError("Task " + static_cast<const TaskBase*>(at)->repr() +
                     " cannot be cancelled: it waits for itself through the tasks that it awaits");
}

// Returns a copy of the message; without memory the cancellation goes on without its message.
std::string Cancellation::copy_of_message() const noexcept {
  try {
    return message_;
  } catch (const std::bad_alloc&) {
    return {};
  }
}

// Goes one level down. Returns the future to cancel first; null if this one is settled.
FutureBase* Cancellation::enter(FutureBase& future) {
  if (future.done() || (!future.is_task() && !future.is_gather())) {
    told_ = future.cancel(copy_of_message());
    return nullptr;
  }
  if (future.is_gather()) {
    auto& gather = static_cast<GatherBase&>(future);
    if (gather.cancelling_.active) refuse_circle();
    push(future);
    return gather.children_.front().get();
  }
  auto& task = static_cast<TaskBase&>(future);
  if (passed_ != nullptr && waits_for_others(task) && !task.in_cancel_) {
    const auto [place, is_new] = passed_->try_emplace(&task);
    if (!is_new) {
      ++place->second.asked_again;
      told_ = true;
      return nullptr;
    }
  }
  task.count_cancellation();
  if (task.waiting_on_ == nullptr) {
    task.cancel_again(message_);
    told_ = true;
    return nullptr;
  }
  if (task.in_cancel_)
    throw RuntimeError(
        "Task " + task.repr() +
        " cannot be cancelled: it waits for itself through the tasks that it awaits");
  push(task);
  return task.waiting_on_;
}

// Goes one level up, with `told_`. Returns the future to cancel next.
FutureBase* Cancellation::leave() {
  if (level_->is_task()) {
    auto& task = static_cast<TaskBase&>(*level_);
    if (!told_) task.cancel_again(message_);
    told_ = true;
  } else {
    auto& gather = static_cast<GatherBase&>(*level_);
    gather.cancelling_.any |= told_;
    if (++gather.cancelling_.index < gather.children_.size())
      return gather.children_[gather.cancelling_.index].get();
    if (gather.cancelling_.any) gather.cancel_requested_ = true;
    told_ = gather.cancelling_.any;
  }
  pop();
  return nullptr;
}

// --- many tasks ---------------------------------------------------------------------------------

bool Cancellation::waits_for_others(const TaskBase& task) noexcept {
  return task.waiting_on_ != nullptr &&
         (task.waiting_on_->is_task() || task.waiting_on_->is_gather());
}

void Cancellation::cancel_all(std::span<const TaskRef> tasks) {
  const std::string message;
  PassedTasks passed;
  for (const TaskRef& each : tasks) {
    auto& task = static_cast<TaskBase&>(each.base());
    if (!task.done() && waits_for_others(task))
      Cancellation(message, passed).cancel(task);
    else
      task.cancel({});
  }
  ask_again(passed);
}

// Calls the function for each passed task that is the future, or a child of it if it is a gather.
template <class F>
void Cancellation::for_each_passed(FutureBase& future, PassedTasks& passed, F&& function) {
  std::vector<FutureBase*> left{&future};
  while (!left.empty()) {
    FutureBase& each = *left.back();
    left.pop_back();
    if (each.done()) continue;
    if (each.is_gather()) {
      for (const FutureRef& child : static_cast<GatherBase&>(each).children_)
        left.push_back(child.get());
    } else if (each.is_task()) {
      const auto found = passed.find(static_cast<TaskBase*>(&each));
      if (found != passed.end()) function(*found);
    }
  }
}

// Asks each passed task again, after all tasks that wait for it: their requests are counted first.
void Cancellation::ask_again(PassedTasks& passed) {
  for (const auto& [task, its] : passed)
    for_each_passed(*task->waiting_on_, passed,
                    [](auto& waited) { ++waited.second.waited_for_by; });
  std::vector<TaskBase*> next;
  for (const auto& [task, its] : passed)
    if (its.waited_for_by == 0) next.push_back(task);
  while (!next.empty()) {
    TaskBase& task = *next.back();
    next.pop_back();
    if (const std::uint64_t times = passed[&task].asked_again; times != 0) {
      task.count_cancellation();
      task.cancel_requests_ += static_cast<int>(times - 1);
      if (!ask_again(*task.waiting_on_, times, passed)) task.cancel_again({});
    }
    for_each_passed(*task.waiting_on_, passed, [&](auto& waited) {
      if (--waited.second.waited_for_by == 0) next.push_back(waited.first);
    });
  }
}

// Returns true if the future will be told.
bool Cancellation::ask_again(FutureBase& future, std::uint64_t times, PassedTasks& passed) {
  if (future.done()) return future.cancel({});
  if (future.is_gather()) {
    auto& gather = static_cast<GatherBase&>(future);
    bool any = false;
    for (const FutureRef& child : gather.children_) any |= ask_again(child.base(), times, passed);
    if (any) gather.cancel_requested_ = true;
    return any;
  }
  if (!future.is_task()) return future.cancel({});
  auto& task = static_cast<TaskBase&>(future);
  const auto found = passed.find(&task);
  if (found != passed.end()) {
    found->second.asked_again += times;
  } else {
    task.cancel({});
    task.cancel_requests_ += static_cast<int>(times - 1);
  }
  return true;
}

}  // namespace fiber::asyncio::detail
