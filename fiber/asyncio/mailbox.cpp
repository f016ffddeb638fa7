#include <fiber/asyncio/mailbox.hpp>

#include <fiber/asyncio/selectors.hpp>

#include <utility>

namespace fiber::asyncio::detail {

bool Mailbox::put(core::Ref<HandleObject>& handle, State last) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (state_ > last) return false;
    posted_.append(*handle.detach());
    if (state_ != State::open) return true;
    any_.store(true, std::memory_order_release);
  }
  wake();
  return true;
}

void Mailbox::wake() noexcept {
  // Only a loop that sleeps, or is about to, must be woken by the system call.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!sleeping()) return;
  const std::lock_guard lock(mutex_);
  if (selector_ != nullptr) selector_->wake();
}

bool Mailbox::empty() noexcept {
  const std::lock_guard lock(mutex_);
  return posted_.empty();
}

void Mailbox::take(ReadyQueue& ready) noexcept {
  const std::lock_guard lock(mutex_);
  while (!posted_.empty() && ready.try_claim())
    ready.push(Entry(static_cast<HandleObject*>(posted_.pop())));
  any_.store(!posted_.empty(), std::memory_order_relaxed);
}

void Mailbox::set(State state) noexcept {
  const std::lock_guard lock(mutex_);
  state_ = state;
}

void Mailbox::stop_waking() noexcept {
  const std::lock_guard lock(mutex_);
  selector_ = nullptr;
}

void Mailbox::drop() noexcept {
  while (Callback* callback = posted_.pop()) static_cast<HandleObject*>(callback)->abandon();
}

}  // namespace fiber::asyncio::detail
