// The loop's one FIFO. An entry is a pointer with its kind in the low bits, so that the next
// fiber's memory need not be touched to know what it is.
#pragma once

#include <fiber/config.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace fiber::asyncio::detail {

class TaskBase;
class HandleObject;
struct Leaf;

// A step of the library's own that runs no user code, and so may run on any fiber's stack.
struct Leaf {
  void (*run)(Leaf* self) noexcept = nullptr;
};

class Entry {
 public:
  // A leaf_callback is a leaf that must be told when it is dropped.
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
// tasks is likely to have them again.
//
// Its room is claimed before it is needed: by each unfinished task, each timer, each done-callback
// that is registered, each handle on its way. So ends, wake-ups and cancellations, which push, need
// no memory, and the want of it is told to whoever creates or registers. An entry that is no task's
// gives its claim back when it is popped.
class ReadyQueue {
 public:
  ReadyQueue() { grow(kSmallest - kSpare); }
  bool empty() const noexcept { return head_ == tail_; }
  std::size_t size() const noexcept { return tail_ - head_; }
  Entry front() const noexcept { return ring_[head_ & mask_]; }
  Entry at(std::size_t index) const noexcept { return ring_[(head_ + index) & mask_]; }
  // A task; see take().
  void pop() noexcept { ++head_; }
  // Puts back what was popped last. Nothing was pushed meanwhile.
  void unpop() noexcept { --head_; }
  // Room for so many more. Throws std::bad_alloc, and then nothing has changed.
  void claim(std::size_t count = 1) {
    if (room_ < static_cast<std::ptrdiff_t>(count)) [[unlikely]]
      grow(count);
    room_ -= static_cast<std::ptrdiff_t>(count);
  }
  // Room for one entry that can come later: false if there is no memory. A few places are kept for
  // such entries alone, so that what comes from outside moves on when memory is short.
  bool try_claim() noexcept;
  // By one that is claimed for longer than it stands here: right after it was popped.
  void claim_again() noexcept { --room_; }
  void give_back(std::size_t count = 1) noexcept { room_ += static_cast<std::ptrdiff_t>(count); }
  // Of what has a claim.
  void push(Entry entry) noexcept {
    if (size() == capacity_) [[unlikely]]
      grow(1);  // somebody stands here twice
    ring_[tail_++ & mask_] = entry;
  }
  // Takes the first out. If that is no task's, its claim is given back.
  Entry take() noexcept {
    const Entry entry = front();
    ++head_;
    if (entry.kind() != Entry::Kind::task) ++room_;
    return entry;
  }
  void swap(std::size_t a, std::size_t b) noexcept {
    std::swap(ring_[(head_ + a) & mask_], ring_[(head_ + b) & mask_]);
  }
  // Where the next entry will stand; it stays there until it is popped.
  std::size_t end() const noexcept { return tail_; }
  // Puts another entry in the place of one that may still stand there.
  void replace(std::size_t position, Entry old, Entry replacement) noexcept {
    if (position - head_ < size() && ring_[position & mask_] == old)
      ring_[position & mask_] = replacement;
  }
  // Puts another entry in the place of one that may stand anywhere.
  void replace(Entry old, Entry replacement) noexcept {
    for (std::size_t at = head_; at != tail_; ++at) replace(at, old, replacement);
  }

 private:
  static constexpr std::size_t kSmallest = 64;
  static constexpr std::size_t kSpare = 16;  // what try_claim() alone may take

  // To have room for so many.
  [[gnu::noinline, gnu::cold]] void grow(std::size_t count) {
    std::size_t capacity = capacity_ == 0 ? kSmallest : capacity_ * 2;
    const auto used = static_cast<std::ptrdiff_t>(capacity_) - room_;
    while (static_cast<std::ptrdiff_t>(capacity) - used < static_cast<std::ptrdiff_t>(count))
      capacity *= 2;
    std::unique_ptr<Entry[]> ring(new Entry[capacity]);
    for (std::size_t at = head_; at != tail_; ++at) ring[at & (capacity - 1)] = ring_[at & mask_];
    ring_ = std::move(ring);
    capacity_ = capacity;
    mask_ = capacity - 1;
    room_ = static_cast<std::ptrdiff_t>(capacity) - used;
  }

  std::unique_ptr<Entry[]> ring_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t capacity_ = 0;
  std::size_t mask_ = 0;
  // What is not claimed, without the spare places: below zero when some of those are.
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
