// A loop's timers and the clock that they go by.
//
// Invariants
//  1. Each timer has a claim in the ready queue, so that becoming due needs no memory.
//  2. A timer is in the heap until it is due; from then on its entry is in the ready queue, where a
//     removed timer leaves a leaf that does nothing.
#pragma once

#include <fiber/asyncio/detail/durations.hpp>
#include <fiber/asyncio/ready_queue.hpp>
#include <fiber/asyncio/timer_heap.hpp>
#include <fiber/standard.hpp>

#include <cstdint>
#include <utility>

namespace fiber::asyncio::detail {

/// The seam for virtual time (see asyncio/testing.hpp).
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t now() noexcept = 0;
  /// Called when the loop would sleep until `deadline` (INT64_MAX: for ever) with nothing ready.
  /// Returns true if the clock has moved and the loop need not wait.
  virtual bool jump(std::int64_t deadline) noexcept = 0;
  /// Returns the real time, in nanoseconds, to wait for descriptors before a jump.
  virtual std::int64_t patience() noexcept { return 0; }
  /// Returns the deadline to store for the one that call_at requested.
  virtual std::int64_t register_deadline(std::int64_t when) noexcept { return when; }
};

class Timers {
 public:
  /// Returns the clock's time in nanoseconds; the machine's monotonic clock unless another was set.
  std::int64_t now() const noexcept {
    if (clock_ != nullptr) [[unlikely]]
      return clock_->now();
    return monotonic();
  }
  /// Returns null for the machine's clock.
  Clock* clock() const noexcept { return clock_.get(); }
  void set_clock(std::shared_ptr<Clock> clock) noexcept { clock_ = std::move(clock); }

  bool empty() const noexcept { return heap_.empty(); }
  /// Returns the soonest deadline; not to be called without timers.
  std::int64_t soonest() const noexcept { return heap_.soonest(); }
  bool any_due() const noexcept { return !empty() && soonest() < now() + kResolution; }

  /// Adds a timer. Throws std::bad_alloc without any change.
  void add(TimerNode* node, ReadyQueue& ready) {
    heap_.reserve();
    ready.claim();
    if (clock_ != nullptr) [[unlikely]]
      node->when = clock_->register_deadline(node->when);
    heap_.push(node);
  }
  /// Removes a timer. Afterwards nothing refers to a node whose entry is a leaf, even if it was
  /// due. `moved`: entries of the ready queue may not be in their original places.
  void remove(TimerNode* node, ReadyQueue& ready, bool moved) noexcept {
    if (node->index != TimerNode::kNotInHeap) {
      heap_.remove(node);
      ready.give_back();
    } else if (node->entry.kind() == Entry::Kind::leaf) {
      withdraw(node, ready, moved);
    }
  }
  /// Queues the timers that are due, in their order.
  void take_due(ReadyQueue& ready) noexcept { heap_.take_due(now() + kResolution, ready); }
  /// Drops all timers: they will not become due.
  void drop(ReadyQueue& ready) noexcept;

 private:
  static constexpr std::int64_t kResolution = 1;  ///< nanoseconds

  static void withdraw(TimerNode* node, ReadyQueue& ready, bool moved) noexcept;

  TimerHeap heap_;
  std::shared_ptr<Clock> clock_;
};

}  // namespace fiber::asyncio::detail
