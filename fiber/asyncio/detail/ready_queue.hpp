// The loop's one FIFO. An entry is a pointer with its kind in the low bits, so that the next fiber's
// memory need not be touched to know what it is.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

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
class ReadyQueue {
 public:
  bool empty() const noexcept { return head_ == tail_; }
  std::size_t size() const noexcept { return tail_ - head_; }
  Entry front() const noexcept { return ring_[head_ & mask_]; }
  Entry at(std::size_t index) const noexcept { return ring_[(head_ + index) & mask_]; }
  void pop() noexcept { ++head_; }
  // Puts back what was popped last. Nothing was pushed meanwhile.
  void unpop() noexcept { --head_; }
  // So many can be pushed now without a need for memory.
  void reserve(std::size_t count) {
    while (capacity_ - size() < count) [[unlikely]]
      grow();
  }
  void push(Entry entry) {
    if (size() == capacity_) [[unlikely]] grow();
    ring_[tail_++ & mask_] = entry;
  }
  // Where the next entry will stand; it stays there until it is popped.
  std::size_t end() const noexcept { return tail_; }
  // Puts another entry in the place of one that may still stand there.
  void replace(std::size_t position, Entry old, Entry replacement) noexcept {
    if (position - head_ < size() && ring_[position & mask_] == old)
      ring_[position & mask_] = replacement;
  }
  // The same, wherever it stands.
  void replace(Entry old, Entry replacement) noexcept {
    for (std::size_t at = head_; at != tail_; ++at) replace(at, old, replacement);
  }

 private:
  [[gnu::noinline, gnu::cold]] void grow() {
    const std::size_t capacity = capacity_ == 0 ? 64 : capacity_ * 2;
    auto ring = std::make_unique<Entry[]>(capacity);
    for (std::size_t at = head_; at != tail_; ++at) ring[at & (capacity - 1)] = ring_[at & mask_];
    ring_ = std::move(ring);
    capacity_ = capacity;
    mask_ = capacity - 1;
  }

  std::unique_ptr<Entry[]> ring_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t capacity_ = 0;
  std::size_t mask_ = 0;
};

}  // namespace fiber::asyncio::detail
