#include <fiber/asyncio/taskgroups.hpp>

#include <fiber/asyncio/log.hpp>

#include <memory>
#include <utility>

namespace fiber::asyncio {
namespace {

enum class Kind { none, cancelled, interrupt, other };

Kind kind_of(const std::exception_ptr& error) {
  if (!error) return Kind::none;
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError&) {
    return Kind::cancelled;
  } catch (const KeyboardInterrupt&) {
    return Kind::interrupt;
  } catch (const SystemExit&) {
    return Kind::interrupt;
  } catch (...) {
    return Kind::other;
  }
}

}  // namespace

// A task of the group, until the callback that notes its end has run.
struct TaskGroup::Child : detail::LeafCallback {
  explicit Child(TaskGroup* its_group) : group(its_group) {
    run = &TaskGroup::on_task_done;
    drop = [](detail::LeafCallback* leaf) noexcept {
      auto* self = static_cast<Child*>(leaf);
      if (self->group == nullptr) delete self;
    };
    dependent = [](const detail::LeafCallback& leaf) noexcept -> detail::FutureBase* {
      const TaskGroup* its = static_cast<const Child&>(leaf).group;
      return its != nullptr ? static_cast<detail::FutureBase*>(its->parent_.get()) : nullptr;
    };
  }
  TaskGroup* group;  // null once the group is gone
  FutureRef task;
  core::Links<Child> in_group;
};

core::Links<TaskGroup::Child>& TaskGroup::InGroup::of(Child& child) noexcept {
  return child.in_group;
}

// Children are left only if the loop is gone.
TaskGroup::~TaskGroup() {
  while (Child* child = children_.pop()) {
    child->group = nullptr;
    if (child->queued) continue;
    if (child->future != nullptr) child->future->remove(child);
    delete child;
  }
}

std::string TaskGroup::repr() const {
  std::string text = "<TaskGroup";
  if (count_ != 0) text += " tasks=" + std::to_string(count_);
  if (!errors_.empty()) text += " errors=" + std::to_string(errors_.size());
  if (aborting_)
    text += " cancelling";
  else if (entered_)
    text += " entered";
  return text + ">";
}

void TaskGroup::check_can_create() const {
  const char* problem = nullptr;
  if (!entered_)
    problem = " has not been entered";
  else if (exiting_ && count_ == 0)
    problem = " is finished";
  else if (aborting_)
    problem = " is shutting down";
  if (problem != nullptr) throw RuntimeError("TaskGroup " + repr() + problem);
}

TaskGroup::Child* TaskGroup::prepare() {
  // One place more for the error of the block.
  const std::size_t errors = errors_.size() + count_ + 2;
  if (errors_.capacity() < errors) errors_.reserve(errors * 2);
  auto child = std::make_unique<Child>(this);
  parent_.base().claim();
  return child.release();
}

void TaskGroup::give_up(Child* child) noexcept {
  if (child == nullptr) return;
  parent_.base().loop()->ready_queue().give_back();
  delete child;
}

void TaskGroup::adopt(Child* child, detail::FutureBase& task) {
  // A task that has already ended, as an eager one may have, gets the callback, too: noting its end
  // right here could cancel the task that is calling create_task.
  child->task = FutureRef(&task);
  children_.append(*child);
  ++count_;
  task.add_or_schedule_claimed(child);
}

TaskGroup& TaskGroup::enter() {
  if (entered_) throw RuntimeError("TaskGroup " + repr() + " has already been entered");
  if (detail::running_loop().turns().current_task == nullptr)
    throw RuntimeError("TaskGroup " + repr() + " cannot determine the parent task");
  parent_ = current_task();
  entered_ = true;
  return *this;
}

bool TaskGroup::exit(std::exception_ptr error) {
  exiting_ = true;
  auto& parent = static_cast<detail::TaskBase&>(parent_.base());
  if (parent.abandoned()) return false;
  error = parent.overdue_cancellation(std::move(error));
  const Kind kind = kind_of(error);
  if (kind == Kind::interrupt && !base_error_) base_error_ = error;
  std::exception_ptr cancellation = kind == Kind::cancelled ? error : nullptr;
  if (error && !aborting_) abort();
  wait_for_tasks(cancellation);
  const TaskRef held = std::exchange(parent_, TaskRef());
  if (base_error_) std::rethrow_exception(std::exchange(base_error_, nullptr));
  // The cancellation by the group itself is over; one from outside goes on.
  if (parent_cancel_requested_ && parent.uncancel() == 0) cancellation = nullptr;
  if (cancellation && errors_.empty()) std::rethrow_exception(cancellation);
  if (kind == Kind::other) errors_.push_back(error);
  if (errors_.empty()) return false;
  if (parent.cancelling() != 0) {
    // Cancelled from outside as well: the next await throws the cancellation, and the count stays.
    parent.uncancel();
    parent.cancel({});
  }
  std::rethrow_exception(
      make_exception_group("unhandled errors in a TaskGroup", std::exchange(errors_, {})));
}

// Waits for the tasks. Several cancellations may arrive meanwhile; the first is passed on to the
// tasks, unless all are being cancelled anyway.
void TaskGroup::wait_for_tasks(std::exception_ptr& cancellation) {
  detail::TaskBase& task = detail::task_for_await();
  while (count_ != 0) {
    detail::FutureBase completed(task.loop());
    completed.retain();
    on_completed_ = &completed;
    try {
      task.wait(&completed);
      completed.check_result();
    } catch (const CancelledError&) {
      if (!aborting_) {
        cancellation = std::current_exception();
        abort();
      }
    } catch (...) {
      on_completed_ = nullptr;
      throw;
    }
    on_completed_ = nullptr;
  }
}

void TaskGroup::abort() {
  aborting_ = true;
  for (const Child& child : children_)
    if (!child.task.done()) child.task.cancel();
}

void TaskGroup::on_task_done(detail::Leaf* leaf) noexcept {
  const std::unique_ptr<Child> child(static_cast<Child*>(leaf));
  if (child->group == nullptr) return;
  child->group->children_.remove(*child);
  --child->group->count_;
  try {
    child->group->task_done(child->task.base());
  } catch (...) {
    // A task that cannot be cancelled: it waits for itself.
    detail::log(LogLevel::error, "Exception in TaskGroup", std::current_exception());
  }
}

void TaskGroup::task_done(detail::FutureBase& task) {
  if (on_completed_ != nullptr && count_ == 0 && !on_completed_->done()) on_completed_->finish();
  if (task.cancelled()) return;
  const std::exception_ptr error = task.exception();
  if (!error) return;
  errors_.push_back(error);
  if (!base_error_ && kind_of(error) == Kind::interrupt) base_error_ = error;
  if (parent_.done()) {
    task.loop()->errors().report({.message = "Task " + task.repr() +
                                             " has errored out but its parent task " +
                                             parent_.repr() + " is already completed",
                                  .exception = error,
                                  .future = FutureRef(&task)});
    return;
  }
  if (aborting_ || parent_cancel_requested_) return;
  abort();
  parent_cancel_requested_ = true;
  parent_.cancel();
}

}  // namespace fiber::asyncio
