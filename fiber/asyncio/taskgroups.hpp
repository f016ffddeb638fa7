// Tasks that end together. Python: asyncio.taskgroups.
#pragma once

#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/with.hpp>
#include <fiber/core/list.hpp>
#include <fiber/exceptiongroup.hpp>
#include <fiber/core/take.hpp>

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace fiber::asyncio {

/// Waits, at the end of its block, for all tasks that were made in it:
///
///   asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
///     group.create_task(fetch(1));
///     group.create_task(fetch(2));
///   });
///
/// The first task that fails, or the block if it throws, cancels the others and the block. When all
/// have ended, their exceptions are thrown as one ExceptionGroup (see except_star), or a
/// BaseExceptionGroup, in the order in which they failed, the block's own last. CancelledErrors are
/// no failures; KeyboardInterrupt and SystemExit are thrown as they are. A task that other code
/// cancels does not affect the rest. Cancelling the task that runs the block cancels all. Python:
/// asyncio.TaskGroup.
class FIBER_API TaskGroup {
 public:
  TaskGroup() = default;
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  /// Makes a task as asyncio::create_task does; also from the tasks of the group, until the last of
  /// them has ended. Throws RuntimeError outside of the block and once the group is being
  /// cancelled; in these cases the coroutine is closed.
  template <detail::taskable A>
  auto create_task(A&& coroutine, TaskOptions options = {}) {
    auto object = detail::as_coroutine(std::forward<A>(coroutine));
    struct Place {
      TaskGroup& group;
      Child* child = nullptr;
      ~Place() { group.give_up(child); }
    } place{*this};
    try {
      check_can_create();
      place.child = prepare();
    } catch (...) {
      object.close();
      throw;
    }
    auto task = asyncio::create_task(std::move(object), std::move(options));
    adopt(core::take(place.child), task.base());
    return task;
  }
  /// Refuses a type that no task can run in one line; the result converts to anything.
  template <class A>
    requires(!detail::taskable<A>)
  detail::Anything create_task(A&&, const TaskOptions& = {}) {
    return detail::refuse_task<A>();
  }

  /// Returns Python's repr: "<TaskGroup tasks=2 entered>".
  std::string repr() const;

  /// For asyncio::with.
  TaskGroup& enter();
  bool exit(std::exception_ptr error);

 private:
  struct Child;

  void check_can_create() const;
  /// Allocates everything that noting the end of one more task needs.
  Child* prepare();
  void give_up(Child* child) noexcept;
  void adopt(Child* child, detail::FutureBase& task);
  void abort();
  void wait_for_tasks(std::exception_ptr& cancellation);
  void task_done(detail::FutureBase& task);
  static void on_task_done(detail::Leaf* leaf) noexcept;

  bool entered_ = false;
  bool exiting_ = false;
  bool aborting_ = false;
  bool parent_cancel_requested_ = false;
  TaskRef parent_;
  struct InGroup {
    static core::Links<Child>& of(Child& child) noexcept;
  };
  core::List<Child, InGroup> children_;  ///< tasks whose end was not noted yet, oldest first
  std::size_t count_ = 0;
  std::vector<std::exception_ptr> errors_;
  std::exception_ptr base_error_;
  detail::FutureBase* on_completed_ = nullptr;  ///< on the stack of exit()
};

}  // namespace fiber::asyncio
