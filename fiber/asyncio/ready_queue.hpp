// The loop's one FIFO. An entry is a pointer with its kind in the low bits, so that the kind of the
// next one is known without touching its memory.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace fiber::asyncio::detail {

class TaskBase;
class HandleObject;

// A step of the library's own, which may run on any fiber's stack: it calls no callback of the
// user's, but a destructor that it runs may.
struct Leaf {
  void (*run)(Leaf* self) noexcept = nullptr;
};

class Entry {
 public:
  // A leaf_callback is a leaf that must be called when it is dropped.
  enum class Kind : std::uintptr_t { handle = 0, task = 1, leaf = 2, leaf_callback = 3 };

  Entry() = default;
  explicit Entry(HandleObject* handle) noexcept : bits_(to_bits(handle)) {}
  explicit Entry(TaskBase* task) noexcept : bits_(to_bits(task) | 1U) {}
  explicit Entry(Leaf* leaf, Kind kind = Kind::leaf) noexcept
      : bits_(to_bits(leaf) | static_cast<std::uintptr_t>(kind)) {}

  Kind kind() const noexcept { return static_cast<Kind>(bits_ & 3U); }
  HandleObject* handle() const noexcept { return reinterpret_cast<HandleObject*>(bits_); }
  TaskBase* task() const noexcept {
    return reinterpret_cast<TaskBase*>(bits_ & ~std::uintptr_t{3});
  }
  Leaf* leaf() const noexcept { return reinterpret_cast<Leaf*>(bits_ & ~std::uintptr_t{3}); }
  bool operator==(const Entry&) const = default;

 private:
  static std::uintptr_t to_bits(const void* pointer) noexcept {
    return reinterpret_cast<std::uintptr_t>(pointer);
  }
  std::uintptr_t bits_;
};

// A ring that grows by doubling. Never shrinks while in use: a loop that once had a million ready
// tasks is likely to have a million again.
//
// Room in the ring is claimed before it is needed: each unfinished task, each timer, each
// registered done-callback and each handle on its way has a claim. So ends, wake-ups and
// cancellations, which only push, need no memory; the code that creates a task or registers a
// callback gets the std::bad_alloc. A task keeps its claim until it has ended; any other entry
// gives its claim back when it is popped.
class ReadyQueue {
 public:
  ReadyQueue() { grow(kSmallest - kSpare); }
  bool empty() const noexcept { return head_ == tail_; }
  std::size_t size() const noexcept { return tail_ - head_; }
  Entry front() const noexcept { return ring_[head_ & mask_]; }
  Entry at(std::size_t index) const noexcept { return ring_[(head_ + index) & mask_]; }
  // Pops a task's entry; see take().
  void pop() noexcept { ++head_; }
  // Puts back the entry that was popped last. Nothing was pushed meanwhile.
  void unpop() noexcept { --head_; }
  // Claims room for `count` more. Throws std::bad_alloc without any change.
  void claim(std::size_t count = 1) {
    if (room_ < static_cast<std::ptrdiff_t>(count)) [[unlikely]]
      grow(count);
    room_ -= static_cast<std::ptrdiff_t>(count);
  }
  // Claims room for one entry that may also be queued later: a ready descriptor, a handle of
  // another thread. Returns false if there is no memory. A few places are kept for these entries
  // alone, so that work from outside goes on when memory is short.
  bool try_claim() noexcept;
  // Claims the room that take() has just given back, for an entry that will be pushed again.
  void claim_again() noexcept { --room_; }
  void give_back(std::size_t count = 1) noexcept { room_ += static_cast<std::ptrdiff_t>(count); }
  // Appends an entry that has a claim.
  void push(Entry entry) noexcept {
    if (size() == capacity_) [[unlikely]]
      grow(1);  // an entry is in the queue twice
    ring_[tail_++ & mask_] = entry;
  }
  // Removes and returns the first entry. If it is no task's, its claim is given back.
  Entry take() noexcept {
    const Entry entry = front();
    ++head_;
    if (entry.kind() != Entry::Kind::task) ++room_;
    return entry;
  }
  void swap(std::size_t a, std::size_t b) noexcept {
    std::swap(ring_[(head_ + a) & mask_], ring_[(head_ + b) & mask_]);
  }
  // Returns the place of the next entry; it stays there until it is popped.
  std::size_t end() const noexcept { return tail_; }
  // Replaces `old` if it is still at `position`.
  void replace(std::size_t position, Entry old, Entry replacement) noexcept {
    if (position - head_ < size() && ring_[position & mask_] == old)
      ring_[position & mask_] = replacement;
  }
  // Replaces `old` wherever it is in the queue.
  void replace(Entry old, Entry replacement) noexcept {
    for (std::size_t at = head_; at != tail_; ++at) replace(at, old, replacement);
  }

 private:
  static constexpr std::size_t kSmallest = 64;
  static constexpr std::size_t kSpare = 16;  // kept for try_claim() alone

  // Makes room for `count` more.
  [[gnu::noinline, gnu::cold]] void grow(std::size_t count) {
    std::size_t capacity = capacity_ == 0 ? kSmallest : capacity_ * 2;
    const auto used = static_cast<std::ptrdiff_t>(capacity_) - room_;
    while (static_cast<std::ptrdiff_t>(capacity) - used < static_cast<std::ptrdiff_t>(count))
      capacity *= 2;
    core::Owner<Entry[]> ring(new Entry[capacity]);
    for (std::size_t at = head_; at != tail_; ++at) ring[at & (capacity - 1)] = ring_[at & mask_];
    ring_ = std::move(ring);
    capacity_ = capacity;
    mask_ = capacity - 1;
    room_ = static_cast<std::ptrdiff_t>(capacity) - used;
  }

  core::Owner<Entry[]> ring_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t capacity_ = 0;
  std::size_t mask_ = 0;
  // Unclaimed room, without the spare places: below zero when some of those are claimed.
  std::ptrdiff_t room_ = -static_cast<std::ptrdiff_t>(kSpare);
};

inline bool ReadyQueue::try_claim() noexcept {
  if (room_ <= 0) [[unlikely]] {
    try {
      grow(1);
    } catch (...) {
      if (room_ <= -static_cast<std::ptrdiff_t>(kSpare)) return false;
    }
  }
  --room_;
  return true;
}

}  // namespace fiber::asyncio::detail
