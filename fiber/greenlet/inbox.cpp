#include <fiber/greenlet/inbox.hpp>

#include <fiber/greenlet.hpp>

#include <mutex>
#include <utility>

namespace fiber::detail {

GreenletObject* GreenletThread::drop_foreign(GreenletObject* object) noexcept {
  GreenletThread* owner = object->owner.load(std::memory_order_acquire);
  Inbox& inbox = *owner->inbox_;
  std::unique_lock lock(inbox.mutex);
  if (!inbox.closed) {
    if (object->returned++ == 0) {
      object->next_returned = inbox.first;
      inbox.first = object;
    }
    owner->has_returned_.store(true, std::memory_order_release);
    return nullptr;
  }
  --object->refs;
  if (!object->unreferenced()) return nullptr;
  if (WeakBlock* weak = object->weak.load(std::memory_order_acquire)) {
    const std::lock_guard weak_lock(weak->mutex);
    if (!object->unreferenced()) return nullptr;
    weak->target = nullptr;
  }
  unlink(object);
  const bool last = --owner->live_objects == inbox.moved_away;
  lock.unlock();
  GreenletObject* parent = free_object(object);  // runs destructors, which may come here again
  if (last) delete owner;
  return parent;
}

void GreenletThread::drain_inbox_slow() noexcept {
  // At most one round for each object: a thread that copies and drops a handle without end must not
  // keep this one here.
  for (long left = live_objects; left > 0; --left) {
    GreenletObject* object = nullptr;
    std::uint32_t count = 0;
    {
      const std::lock_guard lock(inbox_->mutex);
      object = inbox_->first;
      if (object == nullptr) {
        has_returned_.store(false, std::memory_order_relaxed);
        return;
      }
      inbox_->first = object->next_returned;
      count = std::exchange(object->returned, 0U);
    }
    object->refs -= count - 1;
    release(object);
  }
}

}  // namespace fiber::detail
