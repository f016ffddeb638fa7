#include <fiber/asyncio/mailbox.hpp>

#include <fiber/asyncio/selectors.hpp>

#include <utility>

namespace fiber::asyncio::detail {

bool Mailbox::put(core::Ref<HandleObject>& handle, State last) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (state_ > last) return false;
    append(handle.detach());
    if (state_ != State::open) return true;
    any_.store(true, std::memory_order_release);
  }
  wake();
  return true;
}

void Mailbox::wake() noexcept {
  // Only a loop that sleeps, or is about to, needs the system call.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!sleeping()) return;
  const std::lock_guard lock(mutex_);
  if (selector_ != nullptr) selector_->wake();
}

bool Mailbox::empty() noexcept {
  const std::lock_guard lock(mutex_);
  return first_ == nullptr;
}

void Mailbox::take(ReadyQueue& ready) noexcept {
  const std::lock_guard lock(mutex_);
  while (first_ != nullptr && ready.try_claim()) ready.push(Entry(pop()));
  any_.store(first_ != nullptr, std::memory_order_relaxed);
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
  while (first_ != nullptr) pop()->release();
}

void Mailbox::append(HandleObject* handle) noexcept {
  handle->next = nullptr;
  (first_ != nullptr ? last_->next : first_) = handle;
  last_ = handle;
}

HandleObject* Mailbox::pop() noexcept {
  Callback* popped = first_;
  first_ = std::exchange(popped->next, nullptr);
  return static_cast<HandleObject*>(popped);
}

}  // namespace fiber::asyncio::detail
