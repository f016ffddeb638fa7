#include <fiber/asyncio/detail/cancellation.hpp>

#include <fiber/asyncio/detail/combinators.hpp>
#include <fiber/asyncio/detail/task_base.hpp>

namespace fiber::asyncio::detail {

Cancellation::~Cancellation() {
  for (const Level& level : levels_)
    if (level.future->is_task()) static_cast<TaskBase*>(level.future)->in_cancel_ = false;
}

bool Cancellation::cancel(FutureBase& first) {
  FutureBase* below = &first;
  for (;;) {
    if (below != nullptr) below = enter(*below);
    if (below != nullptr) continue;
    if (levels_.empty()) return told_;
    below = leave();
  }
}

// Returns what is to be cancelled before; null if that is settled.
FutureBase* Cancellation::enter(FutureBase& future) {
  if (future.done() || (!future.is_task() && !future.is_gather())) {
    told_ = future.cancel(message_);
    return nullptr;
  }
  if (future.is_gather()) {
    levels_.push_back({&future});
    return static_cast<GatherBase&>(future).children_.front().get();
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
  levels_.push_back({&task});
  task.in_cancel_ = true;
  return task.waiting_on_;
}

// The other way, with `told_`. Returns what is to be cancelled next.
FutureBase* Cancellation::leave() {
  Level& level = levels_.back();
  if (level.future->is_task()) {
    auto& task = static_cast<TaskBase&>(*level.future);
    task.in_cancel_ = false;
    if (!told_) task.cancel_again(message_);
    told_ = true;
  } else {
    auto& gather = static_cast<GatherBase&>(*level.future);
    level.any |= told_;
    if (++level.index < gather.children_.size()) return gather.children_[level.index].get();
    if (level.any) gather.cancel_requested_ = true;
    told_ = level.any;
  }
  levels_.pop_back();
  return nullptr;
}

}  // namespace fiber::asyncio::detail
