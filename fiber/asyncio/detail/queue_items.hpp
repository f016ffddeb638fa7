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

// Smallest first. The heap is CPython's heapq, so that equal items come in CPython's order; but all
// comparisons come before the first move: if one throws, the heap is as it was.
template <class T, class Compare>
class PriorityItems {
 public:
  static constexpr const char* kQueueName = "PriorityQueue";

  PriorityItems() = default;
  explicit PriorityItems(Compare less) : less_(std::move(less)) {}

  void put(T&& item) {
    std::size_t place = items_.size();
    while (place > 0 && less_(item, items_[parent(place)])) place = parent(place);
    items_.push_back(std::move(item));
    for (std::size_t at = items_.size() - 1; at != place; at = parent(at))
      std::swap(items_[at], items_[parent(at)]);
  }
  T get() {
    const std::size_t place = place_of_last();
    if (items_.size() > 1) std::swap(items_.front(), items_.back());
    T item = std::move(items_.back());
    items_.pop_back();
    if (place != 0) {
      // The last item, which is at the root now, goes to its place; those above it rise by one.
      T carried = std::move(items_.front());
      for (std::size_t at = place; at != 0; at = parent(at)) std::swap(carried, items_[at]);
      items_.front() = std::move(carried);
    }
    return item;
  }
  const T& at(std::size_t index) const { return items_[index]; }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  static std::size_t parent(std::size_t child) noexcept { return (child - 1) / 2; }
  // Where the last item belongs once the first is gone: it goes down from the root to a leaf, along
  // the smaller children, and rises from there.
  std::size_t place_of_last() {
    const std::size_t left = items_.size() - 1;
    std::size_t place = 0;
    for (std::size_t child = 1; child < left; child = 2 * place + 1) {
      if (child + 1 < left && !less_(items_[child], items_[child + 1])) ++child;
      place = child;
    }
    while (place > 0 && less_(items_.back(), items_[place])) place = parent(place);
    return place;
  }

  std::vector<T> items_;
  Compare less_{};
};

}  // namespace fiber::asyncio::detail
