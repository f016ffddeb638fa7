#include <fiber/asyncio/home.hpp>

#include <fiber/asyncio/base_events.hpp>

#include <mutex>
#include <string>

namespace fiber::asyncio::detail {
namespace {

using fiber::detail::GreenletObject;
using fiber::detail::GreenletState;
using fiber::detail::GreenletThread;

// Guards `unwinding_` of all loops. A thread must hold it to look at tasks that are suspended on
// another thread, since that thread may be about to end.
std::mutex homes_mutex;

}  // namespace

// --- changing threads ---------------------------------------------------------------------------

void Home::refuse_thread() {
  throw RuntimeError(
      "Non-thread-safe operation invoked on an event loop other than the current one; use "
      "call_soon_threadsafe");
}

bool Home::is_elsewhere() const noexcept {
  if (unwinding_) return true;
  const GreenletThread* here = fiber::detail::greenlet_thread_of(core::tls_thread_state);
  if (loop_.turns().greenlets == here) return false;  // it ran here last
  for (TaskBase& task : loop_.tasks().unfinished()) {
    const GreenletObject& greenlet = *task.own_greenlet();
    if (greenlet.listed && greenlet.owner.load(std::memory_order_relaxed) != here) return true;
  }
  return false;
}

void Home::check(const char* what) const {
  const std::lock_guard lock(homes_mutex);
  if (is_elsewhere())
    throw RuntimeError(std::string("Cannot ") + what +
                       " the event loop on this thread: its tasks are on the thread that ran it "
                       "before, and fibers never change their thread; do it there, or when that "
                       "thread has ended");
}

void Home::arrive() {
  if (made_outside_ || loop_.turns().greenlets != &fiber::detail::greenlet_thread()) settle();
  thread_ = core::tls_thread_state;
}

bool Home::depart() noexcept {
  thread_ = nullptr;
  return std::exchange(exiting_, false);
}

void Home::settle() {
  GreenletThread& here = fiber::detail::greenlet_thread();
  const bool moves = loop_.turns().greenlets != &here;
  if (moves) check("run");
  made_outside_ = false;
  const core::List<TaskBase>& tasks = loop_.tasks().unfinished();
  for (TaskBase* task = tasks.last(); task != nullptr;
       task = core::List<TaskBase>::previous(*task)) {
    GreenletObject* greenlet = task->own_greenlet();
    if (greenlet->listed && !moves) break;  // and all older tasks are listed
    if (greenlet->owner.load(std::memory_order_relaxed) != &here)
      here.set_parent(greenlet, here.current);
    here.link(greenlet);
  }
  loop_.turns().greenlets = &here;
}

// --- the end of a thread ------------------------------------------------------------------------

// Ends the current task, which has switched to another greenlet by itself, and will not be resumed.
void Home::end_current() noexcept {
  Turns& turns = loop_.turns();
  TaskBase* task = turns.current_task;
  task->abandoned_ = true;
  task->resume_point = turns.greenlets->current;
  turns.greenlets->unwind(task->own_greenlet());
  turns.current_task = nullptr;
  task->ended();
}

// Unwinds everything but the fiber that runs this: exit() or pthread_exit was called in the loop,
// or a switch to another greenlet has left it.
void Home::thread_exits() noexcept {
  const core::Ref<LoopObject> held(&loop_);
  AsyncioThread& thread = asyncio_thread();
  thread.running = nullptr;  // tasks that are being unwound cannot wait
  Turns& turns = loop_.turns();
  GreenletObject* here = turns.greenlets->current;
  GreenletObject* root = turns.root;
  const bool hub_ends = root != here && !root->is_main && root->state == GreenletState::suspended;
  if (TaskBase* task = turns.current_task) {
    if (task->own_greenlet() != here) {
      end_current();
    } else {
      // The frames of this task stay in use for ever, so its object is kept. The task is cancelled
      // here, so that no other task waits for it.
      task->retain();
      turns.current_task = nullptr;
      task->complete(FutureState::cancelled);
      task->ended();
    }
  }
  loop_.tasks().end_here(!hub_ends);
  if (hub_ends) {
    thread.running = &loop_;
    turns.hub = root;
    exiting_ = true;
    loop_.stop();
    turns.interrupt = std::make_exception_ptr(GreenletExit("the thread of the event loop ends"));
    const greenlet held_root(root);
    turns.greenlets->unwind(root);
  }
}

// Unwinds the tasks that are suspended on this thread, for a loop that does not run.
void Home::leave() noexcept {
  const core::Ref<LoopObject> held(&loop_);
  {
    const std::lock_guard lock(homes_mutex);
    unwinding_ = true;
  }
  loop_.tasks().end_here(false);
  {
    const std::lock_guard lock(homes_mutex);
    unwinding_ = false;
  }
  if (loop_.unreachable() && !loop_.is_closed()) loop_.close();
}

void Home::thread_exits(const GreenletThread& thread) noexcept {
  for (GreenletObject* at = thread.live.first(); at != nullptr;) {
    TaskBase* task = at->scheduled && at->state == GreenletState::suspended
                         ? static_cast<TaskGreenlet*>(at)->task
                         : nullptr;
    if (task != nullptr && !task->abandoned()) {
      task->loop()->home().leave();
      at = thread.live.first();
    } else {
      at = at->links.next;
    }
  }
}

}  // namespace fiber::asyncio::detail
