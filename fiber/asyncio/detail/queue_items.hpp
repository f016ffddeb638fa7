// The items of queues. Each kind has put, get and at, and returns the items in its own order.
#pragma once

#include <fiber/standard.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace fiber::asyncio::detail {

// First in, first out: a ring that grows by doubling.
template <class T>
class FifoItems {
 public:
  static constexpr const char* kQueueName = "Queue";

  FifoItems() = default;
  FifoItems(const FifoItems&) = delete;
  FifoItems& operator=(const FifoItems&) = delete;
  ~FifoItems() {
    while (size_ != 0) drop_front();
    release();
  }

  // Reserves room for `count` calls of put().
  void reserve(std::size_t count) {
    while (capacity_ - size_ < count) grow();
  }
  void put(T&& item) {
    if (size_ == capacity_) [[unlikely]]
      grow();
    std::construct_at(items_ + ((first_ + size_) & (capacity_ - 1)), std::move(item));
    ++size_;
  }
  // Removes and returns the first item. The item stays if moving it throws: it may have been
  // copied.
  T get() {
    T item = std::move(items_[first_]);
    drop_front();
    return item;
  }
  const T& at(std::size_t index) const { return items_[(first_ + index) & (capacity_ - 1)]; }
  std::size_t size() const noexcept { return size_; }

 private:
  void drop_front() noexcept {
    std::destroy_at(items_ + first_);
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
  }
  void grow() {
    const std::size_t capacity = capacity_ == 0 ? 8 : capacity_ * 2;
    T* items = std::allocator<T>().allocate(capacity);
    const std::size_t count = size_;
    std::size_t moved = 0;
    try {
      for (; moved < count; ++moved)
        std::construct_at(items + moved, std::move(items_[(first_ + moved) & (capacity_ - 1)]));
    } catch (...) {
      std::destroy_n(items, moved);
      std::allocator<T>().deallocate(items, capacity);
      throw;
    }
    while (size_ != 0) drop_front();
    release();
    items_ = items;
    first_ = 0;
    size_ = count;
    capacity_ = capacity;
  }
  void release() noexcept {
    if (items_ != nullptr) std::allocator<T>().deallocate(items_, capacity_);
  }

  T* items_ = nullptr;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// Last in, first out.
template <class T>
class LifoItems {
 public:
  static constexpr const char* kQueueName = "LifoQueue";

  void put(T&& item) { items_.push_back(std::move(item)); }
  T get() {
    T item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  const T& at(std::size_t index) const { return items_[index]; }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  std::vector<T> items_;
};

// Smallest first. The heap is CPython's heapq step by step, so that equal items come in CPython's
// order.
template <class T, class Compare>
class PriorityItems {
 public:
  static constexpr const char* kQueueName = "PriorityQueue";

  PriorityItems() = default;
  explicit PriorityItems(Compare less) : less_(std::move(less)) {}

  void put(T&& item) {
    items_.push_back(std::move(item));
    rise(items_.size() - 1);
  }
  T get() {
    if (items_.size() > 1) std::swap(items_.front(), items_.back());
    T item = std::move(items_.back());
    items_.pop_back();
    sink();
    return item;
  }
  const T& at(std::size_t index) const { return items_[index]; }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  void rise(std::size_t position) {
    while (position > 0) {
      const std::size_t parent = (position - 1) / 2;
      if (!less_(items_[position], items_[parent])) break;
      std::swap(items_[position], items_[parent]);
      position = parent;
    }
  }
  // Moves the item at the root down to a leaf, along the smaller children, and up again from there.
  void sink() {
    std::size_t position = 0;
    for (std::size_t child = 1; child < items_.size(); child = 2 * position + 1) {
      if (child + 1 < items_.size() && !less_(items_[child], items_[child + 1])) ++child;
      std::swap(items_[position], items_[child]);
      position = child;
    }
    rise(position);
  }

  std::vector<T> items_;
  Compare less_{};
};

}  // namespace fiber::asyncio::detail
