// Deadlines, soonest first; equal ones in the order in which they were set.
#pragma once

#include <fiber/asyncio/ready_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace fiber::asyncio::detail {

// A timer: its entry goes into the ready queue when it is due. Lives in a TimerHandle or on the
// stack of a sleeping task; knows its place in the heap, so that a cancelled one leaves at once.
struct TimerNode {
  static constexpr std::uint32_t kNotInHeap = std::numeric_limits<std::uint32_t>::max();
  std::int64_t when = 0;  // nanoseconds of the loop's clock
  std::uint32_t index = kNotInHeap;
  Entry entry{};
  std::size_t position = 0;  // of the entry in the ready queue, once it was put there
};

// A 4-ary heap: half as deep as a binary one, and the four children share cache lines.
class TimerHeap {
 public:
  bool empty() const noexcept { return items_.empty(); }
  std::size_t size() const noexcept { return items_.size(); }
  std::int64_t soonest() const noexcept { return items_.front().when; }

  // Reserves room for one more, so that push() needs no memory. Throws std::bad_alloc.
  void reserve() {
    if (items_.size() == items_.capacity()) [[unlikely]]
      grow();
  }
  void push(TimerNode* node) noexcept {
    items_.push_back({node->when, ++sequence_, node});
    sift_up(static_cast<std::uint32_t>(items_.size() - 1));
  }
  TimerNode* pop() noexcept {
    TimerNode* node = items_.front().node;
    remove(node);
    return node;
  }
  // Moves the timers that are due before `end` to the ready queue, in their order. Each has a claim
  // there.
  void take_due(std::int64_t end, ReadyQueue& ready) noexcept;
  // Removes a node; does nothing if it is not in the heap.
  void remove(TimerNode* node) noexcept {
    const std::uint32_t index = node->index;
    if (index == TimerNode::kNotInHeap) return;
    node->index = TimerNode::kNotInHeap;
    const Item last = items_.back();
    items_.pop_back();
    if (index == items_.size()) return;
    items_[index] = last;
    last.node->index = index;
    sift_up(index);
    sift_down(last.node->index);
  }

 private:
  struct Item {
    std::int64_t when;
    std::uint64_t sequence;
    TimerNode* node;
    bool operator<(const Item& other) const noexcept {
      return when != other.when ? when < other.when : sequence < other.sequence;
    }
  };

  FIBER_API void grow();
  void take_many(std::int64_t end, ReadyQueue& ready);
  static void queue(TimerNode* node, ReadyQueue& ready) noexcept {
    node->position = ready.end();
    ready.push(node->entry);
  }
  void place(std::uint32_t index, const Item& item) {
    items_[index] = item;
    item.node->index = index;
  }
  void sift_up(std::uint32_t index) {
    const Item item = items_[index];
    while (index > 0) {
      const std::uint32_t parent = (index - 1) / 4;
      if (!(item < items_[parent])) break;
      place(index, items_[parent]);
      index = parent;
    }
    place(index, item);
  }
  void sift_down(std::uint32_t index) {
    const Item item = items_[index];
    const auto count = static_cast<std::uint32_t>(items_.size());
    for (;;) {
      const std::uint32_t first = index * 4 + 1;
      if (first >= count) break;
      std::uint32_t least = first;
      const std::uint32_t end = first + 4 < count ? first + 4 : count;
      for (std::uint32_t child = first + 1; child < end; ++child)
        if (items_[child] < items_[least]) least = child;
      if (!(items_[least] < item)) break;
      place(index, items_[least]);
      index = least;
    }
    place(index, item);
  }

  std::vector<Item> items_;
  std::uint64_t sequence_ = 0;
};

}  // namespace fiber::asyncio::detail
