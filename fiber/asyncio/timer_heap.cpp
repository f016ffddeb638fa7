#include <fiber/asyncio/timer_heap.hpp>

#include <algorithm>
#include <new>

namespace fiber::asyncio::detail {

void TimerHeap::grow() { items_.reserve(items_.size() * 2 + 16); }

void TimerHeap::take_due(std::int64_t end, ReadyQueue& ready) noexcept {
  constexpr int kFew = 32;
  for (int taken = 0; !empty() && soonest() < end; ++taken) {
    if (taken == kFew) {
      try {
        take_many(end, ready);
      } catch (const std::bad_alloc&) {
        // No memory: take timers one by one, which needs none.
      }
    }
    if (empty() || soonest() >= end) return;
    queue(pop(), ready);
  }
}

// Moves many timers at once: removed one by one, each would change the places of many nodes, whose
// memory is on the stacks of sleeping tasks. Does nothing if a small part of the heap is due, or
// when it throws std::bad_alloc.
void TimerHeap::take_many(std::int64_t end, ReadyQueue& ready) {
  // Due timers are at the top of the heap: a tree, taken level by level.
  std::vector<std::uint32_t> tree{0};
  for (std::size_t at = 0; at < tree.size(); ++at) {
    const std::size_t first = std::size_t{tree[at]} * 4 + 1;
    const std::size_t last = std::min(first + 4, items_.size());
    for (std::size_t child = first; child < last; ++child)
      if (items_[child].when < end) tree.push_back(static_cast<std::uint32_t>(child));
  }
  if (tree.size() < items_.size() / 8) return;
  std::vector<Item> due;
  due.reserve(tree.size());
  for (const std::uint32_t index : tree) due.push_back(items_[index]);
  std::sort(due.begin(), due.end());

  constexpr std::size_t kAhead = 8;
  for (std::size_t at = 0; at < due.size(); ++at) {
    if (at + kAhead < due.size()) __builtin_prefetch(due[at + kAhead].node, 1);
    due[at].node->index = TimerNode::kNotInHeap;
    queue(due[at].node, ready);
  }
  std::erase_if(items_, [end](const Item& item) { return item.when < end; });
  for (std::size_t index = 0; index < items_.size(); ++index)
    items_[index].node->index = static_cast<std::uint32_t>(index);
  for (std::size_t index = items_.size() / 4 + 1; index-- > 0;)
    if (index < items_.size()) sift_down(static_cast<std::uint32_t>(index));
}

}  // namespace fiber::asyncio::detail
