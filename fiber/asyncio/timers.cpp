#include <fiber/asyncio/timers.hpp>

#include <fiber/asyncio/base_handles.hpp>

namespace fiber::asyncio::detail {

void Timers::drop(ReadyQueue& ready) noexcept {
  while (!heap_.empty()) {
    TimerNode* node = heap_.pop();
    ready.give_back();
    if (node->entry.kind() == Entry::Kind::handle) node->entry.handle()->abandon();
  }
}

// Takes a due timer's entry back: another event has woken its task earlier in the batch, and the
// task leaves before the timer's turn.
void Timers::withdraw(TimerNode* node, ReadyQueue& ready, bool moved) noexcept {
  static Leaf nothing{[](Leaf*) noexcept {}};
  if (moved)
    ready.replace(node->entry, Entry(&nothing));
  else
    ready.replace(node->position, node->entry, Entry(&nothing));
}

}  // namespace fiber::asyncio::detail
