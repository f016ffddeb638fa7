// The end of a thread's greenlets when the thread exits.
#include <fiber/greenlet.hpp>
#include <fiber/greenlet/inbox.hpp>

#include <mutex>
#include <utility>

namespace fiber::detail {

// Marks a greenlet dead that could not be unwound while its thread exits: no code can continue it
// any more. Its stack stays.
void GreenletThread::abandon(GreenletObject* object) noexcept {
  object->state = GreenletState::dead;
  if (std::exchange(object->unkillable, false)) release(object);
}

// Ends the newest greenlet, as one step of the thread's exit: newest first, as a stack unwinds.
void GreenletThread::end_newest() noexcept {
  GreenletObject* object = live.first();
  unlink(object);
  // A scheduled greenlet is ended by its scheduler.
  if (object->state != GreenletState::suspended || object->is_main || object->scheduled) return;
  ++object->refs;
  if (!object->unkillable) {
    unwind(object);
    if (object->state == GreenletState::suspended)
      unraisable(nullptr, "GreenletExit did not end", object);
  }
  if (object->state == GreenletState::suspended) abandon(object);
  release(object);
}

void GreenletThread::thread_exits() noexcept {
  // Unwinding runs code of the user's, which may start other greenlets: here, or by dropping a
  // handle on another thread.
  for (bool open = true; open;) {
    drain_inbox();
    while (!live.empty()) end_newest();
    trace = nullptr;
    const std::lock_guard lock(inbox_->mutex);
    open = inbox_->first != nullptr || !live.empty();
    inbox_->closed = !open;
  }
  // The thread is being ended by pthread_exit, or the process by exit, in a greenlet that is not
  // main.
  if (current != main) core::sanitizer::own_stack_abandoned(&thread.own_stack);
  current->state = GreenletState::dead;
  main->state = GreenletState::dead;
  GreenletObject* root = main;
  thread.layers[kThreadSlot] = nullptr;
  release(root);  // the last object to go ends this GreenletThread
}

}  // namespace fiber::detail
