// Queues between tasks of one loop. Python: asyncio.queues.
//
// A queue is a counted reference, like Python's: a copy is the same queue. It belongs to one thread
// and, once a task has to wait at it, to that task's loop: RuntimeError from another loop. A get()
// from a queue with items and a put() with room do not suspend, and may take the item or room for
// which another task was woken; that task waits again. Items may be move-only. Where a comment says
// "await it", a call alone does nothing. A queue that was moved from may only be assigned to, or
// destroyed.
#pragma once

#include <fiber/asyncio/detail/queue_items.hpp>
#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fiber::asyncio {

namespace detail {

class FIBER_API QueueBase : public core::Counted<QueueBase>, LoopBound {
 public:
  explicit QueueBase(std::ptrdiff_t maxsize);
  virtual ~QueueBase();

  virtual std::size_t qsize() const noexcept = 0;
  std::ptrdiff_t maxsize() const noexcept { return maxsize_; }
  bool full_with(std::size_t size) const noexcept {
    return maxsize_ > 0 && size >= static_cast<std::size_t>(maxsize_);
  }
  void task_done();
  void join();
  void shutdown(bool immediate);
  std::string repr() const;
  std::string str() const;

 protected:
  virtual void discard_one() noexcept = 0;
  virtual const char* class_name() const noexcept = 0;
  virtual std::string items_repr() const = 0;

  /// Waits for an item. Throws QueueShutDown, CancelledError.
  void wait_for_item();
  void wait_for_room();  ///< throws as wait_for_item()
  /// The first and the last steps of the operations that do not wait.
  void check_can_put(std::size_t size) const {
    if (shut_down_ || full_with(size)) [[unlikely]]
      refuse_put();
    getters_.check_thread();
  }
  void was_put() {
    ++unfinished_tasks_;
    finished_.clear();
    if (!getters_.empty()) wake_up_next(getters_);
  }
  void check_can_get(std::size_t size) const {
    if (size == 0) [[unlikely]]
      refuse_get();
    putters_.check_thread();
  }
  void was_taken() {
    if (!putters_.empty()) wake_up_next(putters_);
  }

 private:
  static void wake_up_next(WaitingLine& waiters);
  template <class Ready>
  void wait_until(WaitingLine& waiters, Ready ready);
  std::string format() const;
  [[noreturn]] void refuse_put() const;
  [[noreturn]] void refuse_get() const;

  std::ptrdiff_t maxsize_;
  std::size_t unfinished_tasks_ = 0;
  bool shut_down_ = false;
  WaitingLine getters_;
  WaitingLine putters_;
  EventObject finished_;
};

/// Returns the text of an item as Python shows it, where that is known.
template <class T>
std::string item_repr(const T& item) {
  if constexpr (std::same_as<T, bool>) {
    return item ? "True" : "False";
  } else if constexpr (std::same_as<T, char>) {
    return fiber::detail::quoted({&item, 1});
  } else if constexpr (std::integral<T>) {
    return std::to_string(item);
  } else if constexpr (std::floating_point<T>) {
    return fiber::detail::float_repr(static_cast<double>(item));
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    if constexpr (std::is_pointer_v<T>)
      if (item == nullptr) return "None";
    return fiber::detail::quoted(std::string_view(item));
  } else {
    return "...";
  }
}

template <class T, class Items>
class QueueObject final : public QueueBase {
 public:
  using item_type = T;
  template <class... A>
  explicit QueueObject(std::ptrdiff_t maxsize, A&&... arguments)
      : QueueBase(maxsize), items_(std::forward<A>(arguments)...) {}

  std::size_t qsize() const noexcept override { return items_.size(); }
  bool full() const noexcept { return full_with(items_.size()); }

  FIBER_INLINE void put(T&& item) {
    if (full()) [[unlikely]]
      wait_for_room();
    put_nowait(std::move(item));
  }
  void put_nowait(T&& item) {
    check_can_put(items_.size());
    items_.put(std::move(item));
    was_put();
  }
  FIBER_INLINE T get() {
    if (items_.size() == 0) wait_for_item();
    return take();
  }
  T get_nowait() {
    check_can_get(items_.size());
    return take();
  }
  void reserve(std::size_t count) { items_.reserve(count); }

 protected:
  void discard_one() noexcept override { items_.drop(); }
  const char* class_name() const noexcept override { return Items::kQueueName; }
  std::string items_repr() const override {
    std::string text;
    for (std::size_t i = 0; i < items_.size(); ++i)
      text.append(i == 0 ? "" : ", ").append(item_repr(items_.at(i)));
    return text;
  }

 private:
  T take() {
    struct WakeUp {
      QueueObject& queue;
      ~WakeUp() { queue.was_taken(); }
    } wake_up{*this};
    return items_.get();
  }
  Items items_;
};

template <class Object>
struct [[nodiscard]] QueueGet {
  core::Ref<Object> queue;
  Once once = {};
  FIBER_INLINE auto await_() && {
    once.use();
    return queue->get();
  }
};

template <class Object>
struct [[nodiscard]] QueuePut {
  core::Ref<Object> queue;
  typename Object::item_type item;
  Once once = {};
  FIBER_INLINE void await_() && {
    once.use();
    queue->put(std::move(item));
  }
};

/// The common part of all kinds of queue.
template <class T, class Items>
class QueueHandle {
 public:
  using value_type = T;

  /// Removes and returns the oldest item (of a PriorityQueue the smallest, of a LifoQueue the
  /// newest); await it. Throws QueueShutDown.
  auto get() const { return QueueGet<Object>{.queue = object_}; }
  /// Returns an item without waiting; throws QueueEmpty, QueueShutDown.
  T get_nowait() const { return object_->get_nowait(); }
  /// Puts an item, and waits for room; await it. Throws QueueShutDown.
  auto put(T item) const { return QueuePut<Object>{.queue = object_, .item = std::move(item)}; }
  /// Puts an item without waiting; throws QueueFull, QueueShutDown.
  void put_nowait(T item) const { object_->put_nowait(std::move(item)); }

  std::size_t qsize() const noexcept { return object_->qsize(); }
  bool empty() const noexcept { return object_->qsize() == 0; }
  /// Returns whether the queue is full; never true without a limit.
  bool full() const noexcept { return object_->full(); }
  /// Returns the limit; 0 or less: no limit.
  std::ptrdiff_t maxsize() const noexcept { return object_->maxsize(); }

  /// Notes that an item has been dealt with. Throws ValueError if called more often than items were
  /// put.
  void task_done() const { object_->task_done(); }
  /// Waits until task_done() was called for every item that was put; await it.
  auto join() const {
    return Deferred([object = object_] { object->join(); });
  }
  /// Makes put() throw QueueShutDown from now on, and get() once the queue is empty; `immediate`
  /// empties it. Waiting tasks are woken, and throw.
  void shutdown(bool immediate = false) const { object_->shutdown(immediate); }

  /// Returns Python's repr: "<Queue at 0x… maxsize=3>".
  std::string repr() const { return object_->repr(); }
  /// Returns Python's str: "<Queue maxsize=3 _queue=[1, 2] tasks=2>".
  std::string str() const { return object_->str(); }

  friend bool operator==(const QueueHandle& a, const QueueHandle& b) noexcept {
    return a.object_ == b.object_;
  }

  QueueHandle(const QueueHandle&) noexcept = default;  ///< moving is copying: never empty
  QueueHandle& operator=(const QueueHandle&) noexcept = default;
  ~QueueHandle() = default;

  // Reserves room for the library: put_nowait() needs no memory for `count` items then.
  friend void reserve_items(const QueueHandle& queue, std::size_t count) {
    queue.object_->reserve(count);
  }

 protected:
  using Object = QueueObject<T, Items>;
  template <class... A>
  explicit QueueHandle(std::ptrdiff_t maxsize, A&&... arguments)
      : object_(new Object(maxsize, std::forward<A>(arguments)...)) {}

 private:
  core::Ref<Object> object_;
};

}  // namespace detail

/// First in, first out. `maxsize` of 0 or less: no limit. Python: asyncio.Queue.
template <class T>
class Queue : public detail::QueueHandle<T, detail::FifoItems<T>> {
 public:
  explicit Queue(std::ptrdiff_t maxsize = 0) : Queue::QueueHandle(maxsize) {}
};

/// Returns the smallest item first, by `less`; equal items in the order of Python's heapq. Python:
/// asyncio.PriorityQueue.
template <class T, class Compare = std::less<T>>
class PriorityQueue : public detail::QueueHandle<T, detail::PriorityItems<T, Compare>> {
 public:
  explicit PriorityQueue(std::ptrdiff_t maxsize = 0, Compare less = Compare())
      : PriorityQueue::QueueHandle(maxsize, std::move(less)) {}
};

/// Last in, first out. Python: asyncio.LifoQueue.
template <class T>
class LifoQueue : public detail::QueueHandle<T, detail::LifoItems<T>> {
 public:
  explicit LifoQueue(std::ptrdiff_t maxsize = 0) : LifoQueue::QueueHandle(maxsize) {}
};

}  // namespace fiber::asyncio
