#include <fiber/asyncio/detail/cancellation.hpp>

#include <fiber/asyncio/detail/combinators.hpp>
#include <fiber/asyncio/detail/task_base.hpp>

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

// Every circle has a task in it.
void Cancellation::refuse_circle() const {
  const FutureBase* at = level_;
  while (!at->is_task()) at = static_cast<const GatherBase*>(at)->cancelling_.above;
  throw RuntimeError("Task " + static_cast<const TaskBase*>(at)->repr() +
                     " cannot be cancelled: it waits for itself, by way of what it awaits");
}

// Without memory for it the cancellation goes on without its message.
std::string Cancellation::copy_of_message() const noexcept {
  try {
    return message_;
  } catch (const std::bad_alloc&) {
    return {};
  }
}

// Returns what is to be cancelled before; null if that is settled.
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
  task.count_cancellation();
  if (task.waiting_on_ == nullptr) {
    task.cancel_again(message_);
    told_ = true;
    return nullptr;
  }
  if (task.in_cancel_)
    throw RuntimeError("Task " + task.repr() +
                       " cannot be cancelled: it waits for itself, by way of what it awaits");
  push(task);
  return task.waiting_on_;
}

// The other way, with `told_`. Returns what is to be cancelled next.
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

}  // namespace fiber::asyncio::detail
