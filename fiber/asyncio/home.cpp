// A loop and the threads that run it. Fibers never change their thread: what a loop has suspended
// on one is unwound there, at the latest when the thread ends.
#include <fiber/asyncio/base_events.hpp>

#include <fiber/asyncio/futures.hpp>

#include <mutex>
#include <string>

namespace fiber::asyncio::detail {
namespace {

using fiber::detail::GreenletObject;
using fiber::detail::GreenletState;
using fiber::detail::GreenletThread;

// Guards `unwinding_` of all loops. With it, and only so, a thread looks at tasks that are
// suspended on another one, whose end may be near.
std::mutex homes_mutex;

}  // namespace

// --- changing threads ---------------------------------------------------------------------------

bool LoopObject::lives_elsewhere() const noexcept {
  if (unwinding_) return true;
  const GreenletThread* here = fiber::detail::greenlet_thread_of(core::tls_thread_state);
  if (greenlets == here) return false;  // it ran here last
  for (TaskBase& task : tasks) {
    const GreenletObject& greenlet = *task.own_greenlet();
    if (greenlet.listed && greenlet.owner.load(std::memory_order_relaxed) != here) return true;
  }
  return false;
}

void LoopObject::check_home(const char* what) const {
  const std::lock_guard lock(homes_mutex);
  if (lives_elsewhere())
    throw RuntimeError(std::string("Cannot ") + what +
                       " the event loop on this thread: tasks of it are on the one that ran it "
                       "before, and fibers never change their thread; do it there, or when that "
                       "thread has ended");
}

// The loop is about to run here, and so are the tasks that were made while it did not run.
void LoopObject::settle() {
  GreenletThread& here = fiber::detail::greenlet_thread();
  const bool moves = greenlets != &here;
  if (moves) check_home("run");
  made_outside_ = false;
  for (TaskBase* task = tasks.last(); task != nullptr; task = tasks.previous(*task)) {
    GreenletObject* greenlet = task->own_greenlet();
    if (greenlet->listed && !moves) break;  // and so are all that are older
    if (greenlet->owner.load(std::memory_order_relaxed) != &here)
      here.set_parent(greenlet, here.current);
    here.link(greenlet);
  }
  greenlets = &here;
}

// --- the end of a thread ------------------------------------------------------------------------

// Unwinds the tasks that are suspended on this thread, or ends all, oldest first.
void LoopObject::end_tasks(bool all) noexcept {
  core::List<TaskBase> ending;
  for (TaskBase& task : tasks) {
    if (!all && task.own_greenlet()->state != GreenletState::suspended) continue;
    task.retain();
    task.ended();
    ending.append(task);
  }
  for (TaskBase& task : ending) {
    if (!running_ && task.log_destroy_pending)
      report("Task was destroyed but it is pending!", FutureRef(&task));
    abandon(&task);
    task.abandoned_ = true;
  }
  batch_ = 0;
  for (std::size_t left = ready_.size(); left > 0; --left) {
    const Entry entry = ready_.front();
    ready_.pop();  // and its claim stays, unless it is that of a task, which has gone with that
    if (entry.kind() != Entry::Kind::task || !entry.task()->abandoned_) ready_.push(entry);
  }
  while (TaskBase* task = ending.pop()) task->release();
}

// The current task has switched to another greenlet by itself, and will not be switched back to.
void LoopObject::end_current() noexcept {
  TaskBase* task = current_task;
  task->abandoned_ = true;
  task->resume_point = greenlets->current;
  greenlets->unwind(task->own_greenlet());
  current_task = nullptr;
  task->ended();
}

// exit() or pthread_exit was called in the loop, or it has been left by a switch to another
// greenlet. All is unwound but the fiber that runs this.
void LoopObject::thread_exits() noexcept {
  retain();
  AsyncioThread& thread = asyncio_thread();
  thread.running = nullptr;  // what is being unwound cannot wait
  GreenletObject* here = greenlets->current;
  const bool hub_ends = root != here && !root->is_main && root->state == GreenletState::suspended;
  if (TaskBase* task = current_task) {
    if (task->own_greenlet() != here) {
      end_current();
    } else {
      // Its stack is in use for good. Nobody is to wait for it.
      task->retain();
      current_task = nullptr;
      task->complete(FutureState::cancelled);
      task->ended();
    }
  }
  end_tasks(!hub_ends);
  if (hub_ends) {
    thread.running = this;
    hub = root;
    exiting_ = stopping_ = true;
    interrupt = std::make_exception_ptr(GreenletExit("the thread of the event loop ends"));
    const greenlet held(root);
    greenlets->unwind(root);
  }
  release();
}

// It does not run, and has tasks that are suspended on this thread.
void LoopObject::leave_thread() noexcept {
  {
    const std::lock_guard lock(homes_mutex);
    unwinding_ = true;
    retain();
  }
  end_tasks(false);
  {
    const std::lock_guard lock(homes_mutex);
    unwinding_ = false;
  }
  // This reference and those of its futures and of what others will post: nobody has a handle to it
  // any more.
  const bool unreachable =
      refs_.load(std::memory_order_acquire) == (futures_alive > 0 ? 2 : 1) + outside_work.load();
  if (unreachable && !closed_) close();
  release();
}

void LoopObject::leave_thread(const GreenletThread& thread) noexcept {
  for (GreenletObject* at = thread.live_head; at != nullptr;) {
    TaskBase* task = at->scheduled && at->state == GreenletState::suspended
                         ? static_cast<TaskGreenlet*>(at)->task
                         : nullptr;
    if (task != nullptr && !task->abandoned()) {
      task->loop()->leave_thread();
      at = thread.live_head;
    } else {
      at = at->next_live;
    }
  }
}

}  // namespace fiber::asyncio::detail
