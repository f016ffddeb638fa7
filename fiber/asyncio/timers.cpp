#include <fiber/asyncio/timers.hpp>

#include <fiber/asyncio/base_handles.hpp>

namespace fiber::asyncio::detail {

void Timers::drop(ReadyQueue& ready) noexcept {
  while (!heap_.empty()) {
    TimerNode* node = heap_.pop();
    ready.give_back();
    if (node->entry.kind() == Entry::Kind::handle) node->entry.handle()->release();
  }
}

// A task that was woken by something else, earlier in the same batch, leaves before its timer's
// turn comes.
void Timers::withdraw(TimerNode* node, ReadyQueue& ready, bool moved) noexcept {
  static Leaf nothing{[](Leaf*) noexcept {}};
  if (moved)
    ready.replace(node->entry, Entry(&nothing));
  else
    ready.replace(node->position, node->entry, Entry(&nothing));
}

}  // namespace fiber::asyncio::detail
