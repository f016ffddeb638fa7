// The items of queues. Each kind has put, get, drop and at, and returns the items in its own order.
// If a copy or a move of an item throws, put and get change nothing.
#pragma once

#include <fiber/standard.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio::detail {

// How a queue holds an item: in the queue's own memory, or, for a type whose move may throw, behind
// a pointer, so that only put and get move the item itself.
template <class T, bool kInPlace>
struct Holder {
  using Held = std::conditional_t<kInPlace, T, std::unique_ptr<T>>;

  static std::conditional_t<kInPlace, T&&, Held> hold(T&& item) {
    if constexpr (kInPlace)
      return std::move(item);
    else
      return std::make_unique<T>(std::move(item));
  }
  // Takes a Held that is const or not.
  static auto& item(auto& held) noexcept {
    if constexpr (kInPlace)
      return held;
    else
      return *held;
  }
};

// Wraps the bool: a std::vector<bool> has no objects as elements, so no references to them.
template <>
struct Holder<bool, true> {
  struct Held {
    bool item;
  };
  static Held hold(bool item) noexcept { return {item}; }
  static auto& item(auto& held) noexcept { return held.item; }
};

template <class T>
inline constexpr bool kSwapsSafely =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
    std::is_nothrow_swappable_v<T>;

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

  // Reserves room for `count` calls of put(), which need no more memory if moving T cannot throw.
  void reserve(std::size_t count) {
    while (capacity_ - size_ < count) grow();
  }
  void put(T&& item) {
    if (size_ == capacity_) [[unlikely]]
      grow();
    std::construct_at(items_ + ((first_ + size_) & (capacity_ - 1)),
                      Holding::hold(std::move(item)));
    ++size_;
  }
  // Removes and returns the first item. The item stays if moving it throws: it may have been
  // copied.
  T get() {
    T item = std::move(Holding::item(items_[first_]));
    drop_front();
    return item;
  }
  void drop() noexcept { drop_front(); }
  const T& at(std::size_t index) const {
    return Holding::item(std::as_const(items_[(first_ + index) & (capacity_ - 1)]));
  }
  std::size_t size() const noexcept { return size_; }

 private:
  using Holding = Holder<T, std::is_nothrow_move_constructible_v<T>>;
  using Held = typename Holding::Held;

  void drop_front() noexcept {
    Held* const first = items_ + first_;
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
    std::destroy_at(first);
  }
  void grow() {
    const std::size_t capacity = capacity_ == 0 ? 8 : capacity_ * 2;
    Held* items = std::allocator<Held>().allocate(capacity);
    const std::size_t count = size_;
    for (std::size_t i = 0; i < count; ++i)
      std::construct_at(items + i, std::move(items_[(first_ + i) & (capacity_ - 1)]));
    while (size_ != 0) drop_front();
    release();
    items_ = items;
    first_ = 0;
    size_ = count;
    capacity_ = capacity;
  }
  void release() noexcept {
    if (items_ != nullptr) std::allocator<Held>().deallocate(items_, capacity_);
  }

  Held* items_ = nullptr;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// Last in, first out.
template <class T>
class LifoItems {
 public:
  static constexpr const char* kQueueName = "LifoQueue";

  void put(T&& item) { items_.push_back(Holding::hold(std::move(item))); }
  T get() {
    T item = std::move(Holding::item(items_.back()));
    items_.pop_back();
    return item;
  }
  void drop() noexcept { items_.pop_back(); }
  const T& at(std::size_t index) const { return Holding::item(items_[index]); }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  using Holding = Holder<T, std::is_nothrow_move_constructible_v<T>>;
  std::vector<typename Holding::Held> items_;
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
    while (place > 0 && less_(item, nth(parent(place)))) place = parent(place);
    items_.push_back(Holding::hold(std::move(item)));
    for (std::size_t at = items_.size() - 1; at != place; at = parent(at))
      std::swap(items_[at], items_[parent(at)]);
  }
  T get() {
    const std::size_t place = place_of_last();
    T item = std::move(Holding::item(items_.front()));
    // The last item goes to its place, and those above it rise by one.
    Held carried = std::move(items_.back());
    items_.pop_back();
    if (!items_.empty()) {
      for (std::size_t at = place; at != 0; at = parent(at)) std::swap(carried, items_[at]);
      items_.front() = std::move(carried);
    }
    return item;
  }
  // Drops one item. The caller drops all items of the queue in this way.
  void drop() noexcept { items_.pop_back(); }
  const T& at(std::size_t index) const { return Holding::item(items_[index]); }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  using Holding = Holder<T, kSwapsSafely<T>>;
  using Held = typename Holding::Held;

  static std::size_t parent(std::size_t child) noexcept { return (child - 1) / 2; }
  T& nth(std::size_t index) noexcept { return Holding::item(items_[index]); }
  // Returns the place for the last item once the first is gone, found as heapq does: the hole goes
  // down from the root to a leaf, along the smaller children; the item rises from there.
  std::size_t place_of_last() {
    const std::size_t left = items_.size() - 1;
    std::size_t place = 0;
    for (std::size_t child = 1; child < left; child = 2 * place + 1) {
      if (child + 1 < left && !less_(nth(child), nth(child + 1))) ++child;
      place = child;
    }
    while (place > 0 && less_(nth(left), nth(place))) place = parent(place);
    return place;
  }

  std::vector<Held> items_;
  Compare less_{};
};

}  // namespace fiber::asyncio::detail
