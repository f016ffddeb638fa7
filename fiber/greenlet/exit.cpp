// How the greenlets of a thread end with it.
#include <fiber/greenlet.hpp>
#include <fiber/greenlet/inbox.hpp>

#include <mutex>
#include <utility>

namespace fiber::detail {

// Its thread exits and it could not be unwound: nobody can continue it any more. Its stack stays.
void GreenletThread::abandon(GreenletObject* object) noexcept {
  object->state = GreenletState::dead;
  if (std::exchange(object->unkillable, false)) release(object);
}

// One step of the thread's exit: newest first, as a stack unwinds.
void GreenletThread::end_newest() noexcept {
  GreenletObject* object = live.first();
  unlink(object);
  // A scheduled one is its scheduler's to end.
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
  // Unwinding runs any code, which may start others, on this thread or by a drop on another one.
  for (bool open = true; open;) {
    drain_inbox();
    while (!live.empty()) end_newest();
    trace = nullptr;
    const std::lock_guard lock(inbox_->mutex);
    open = inbox_->first != nullptr || !live.empty();
    inbox_->closed = !open;
  }
  // Not main: the thread is being ended by pthread_exit, or the process by exit, in a greenlet.
  if (current != main) core::sanitizer::own_stack_abandoned(&thread.own_stack, main->context.sp);
  current->state = GreenletState::dead;
  main->state = GreenletState::dead;
  GreenletObject* root = main;
  thread.layers[kThreadSlot] = nullptr;
  release(root);  // the last one to go ends this object
}

}  // namespace fiber::detail
