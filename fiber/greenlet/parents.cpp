// Chains of parents, which take the outcome of greenlets that end; and how a pending greenlet moves
// to another thread when it gets a parent there.
#include <fiber/greenlet.hpp>
#include <fiber/greenlet/inbox.hpp>

#include <mutex>
#include <utility>

namespace fiber::detail {

// Returns whether `object` is `at` or one of its ancestors. The search stops behind the first
// greenlet of another thread, whose parent that thread may change: outcomes do not go there either.
bool GreenletThread::descends(const GreenletObject* at, const GreenletObject* object) noexcept {
  for (; at != nullptr; at = at->parent) {
    if (at == object) return true;
    if (at->owner.load(std::memory_order_relaxed) != this) return false;
  }
  return false;
}

void GreenletThread::set_parent(GreenletObject* object, GreenletObject* parent) {
  if (parent == nullptr) throw TypeError("the parent of a greenlet must be a greenlet, not null");
  if (object->is_main) throw AttributeError("the parent of a main greenlet cannot be set");
  if (parent->owner.load(std::memory_order_relaxed) != this)
    throw ValueError("parent cannot be on a different thread");
  if (descends(parent, object)) throw ValueError("cyclic parent chain");
  if (object->owner.load(std::memory_order_relaxed) != this) take_over(object);
  GreenletObject* previous = object->parent;
  retain(parent);
  object->parent = parent;
  if (previous != nullptr) release(previous);
}

// Makes a pending greenlet of another thread one of this thread.
void GreenletThread::take_over(GreenletObject* object) {
  GreenletThread* owner = object->owner.load(std::memory_order_acquire);
  bool last = false;
  {
    Inbox& inbox = *owner->inbox_;
    const std::lock_guard lock(inbox.mutex);
    if (object->state != GreenletState::pending || object->listed)
      throw ValueError("parent cannot be on a different thread");
    if (object->returned != 0) {
      GreenletObject** at = &inbox.first;
      while (*at != object) at = &(*at)->next_returned;
      *at = object->next_returned;
      object->refs -= std::exchange(object->returned, 0U);
    }
    ++inbox.moved_away;
    last = inbox.closed && owner->live_objects == inbox.moved_away;
    object->owner.store(this, std::memory_order_release);
  }
  ++live_objects;
  if (last) delete owner;
}

}  // namespace fiber::detail
