// Awaitables in the order in which they end. Python: asyncio.as_completed.
//
// Two ways to iterate, as in Python 3.13:
//
//   for (auto next : asyncio::as_completed(tasks))  // for next in as_completed(tasks):
//     show(await(next));                            //   show(await next)
//
//   for (auto task : asyncio::as_completed(tasks).async_())  // async for task in ...
//     show(task.get_name(), task.result());
//
// The first way returns an awaitable before any task has ended: awaiting it returns, or throws, the
// outcome of the task that ends next. The second waits in the loop itself and returns the finished
// task.
#pragma once

#include <fiber/asyncio/queues.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio {

namespace detail {

/// Lives until all futures have ended, or the time is up.
class FIBER_API CompletionOrder final : public core::Counted<CompletionOrder>, LoopDependent {
 public:
  /// Each future counts once. Throws ValueError if one belongs to another loop.
  CompletionOrder(LoopObject& loop, const std::vector<FutureRef>& futures,
                  const time_limit& timeout);
  ~CompletionOrder() override;

  /// Reserves the next future to end; returns false if none is left.
  bool take() noexcept;
  /// Waits for the future that ends next. Throws TimeoutError.
  FutureRef wait_for_one();
  void loop_closed() noexcept override;

 private:
  struct Node : LeafCallback {
    CompletionOrder* order = nullptr;
    FutureRef wanted;
  };
  void on_timeout();
  void nodes_over(std::size_t count) noexcept;  ///< may end this object
  static void on_done(Leaf* leaf) noexcept;
  static void on_drop(LeafCallback* leaf) noexcept;
  void remove_callbacks() noexcept;

  Queue<FutureRef> done_;  ///< a null reference for each future that ran out of time
  core::Owner<Node[]> nodes_;
  std::size_t node_count_ = 0;
  std::size_t registered_ = 0;  ///< registered nodes; together they are one reference
  std::size_t todo_ = 0;
  std::size_t left_ = 0;
  Handle timeout_;
};

/// The common part of the iterators of as_completed: a place in the order.
class CompletionPlace {
 public:
  using iterator_concept = std::input_iterator_tag;
  using difference_type = std::ptrdiff_t;

  CompletionPlace() = default;
  explicit CompletionPlace(core::Ref<CompletionOrder> order) : order_(std::move(order)) {}
  CompletionPlace(const CompletionPlace&) noexcept = default;  ///< moving is copying: never empty
  CompletionPlace& operator=(const CompletionPlace&) noexcept = default;
  ~CompletionPlace() = default;
  friend bool operator==(const CompletionPlace& at, std::default_sentinel_t) { return !at.more_; }

 protected:
  /// Moves on; returns false at the end.
  bool advance() { return more_ = order_->take(); }

  core::Ref<CompletionOrder> order_;

 private:
  bool more_ = false;
};

/// An awaitable: the future that ends next.
template <class F>
class [[nodiscard]] NextCompleted {
 public:
  explicit NextCompleted(core::Ref<CompletionOrder> order) noexcept : order_(std::move(order)) {}
  /// Waits, once. Throws RuntimeError the second time.
  typename F::result_type await_() {
    const core::Ref<CompletionOrder> order = std::move(order_);
    if (order.get() == nullptr) refuse_second_await();
    return asyncio::await(F(order->wait_for_one().get()));
  }

 private:
  core::Ref<CompletionOrder> order_;
};

}  // namespace detail

/// Keyword arguments of as_completed.
struct AsCompletedOptions {
  time_limit timeout = {};  ///< for all awaitables, from the call
};

/// The result of as_completed: a range of awaitables, each of which may be awaited once, in any
/// order and by any task. A counted reference. F is Task<T> or Future<T>.
template <class F>
class AsCompleted {
 public:
  using awaitable_type = detail::NextCompleted<F>;  ///< what iteration returns: await it

  /// One position for all copies, which is that of the range.
  class iterator : public detail::CompletionPlace {
   public:
    using value_type = awaitable_type;

    iterator() = default;
    explicit iterator(core::Ref<detail::CompletionOrder> order)
        : CompletionPlace(std::move(order)) {
      ++*this;
    }
    awaitable_type operator*() const { return awaitable_type(order_); }
    iterator& operator++() {
      advance();
      return *this;
    }
    void operator++(int) { ++*this; }
  };

  /// Continues where an earlier iteration has stopped.
  iterator begin() const { return iterator(order_); }
  static std::default_sentinel_t end() noexcept { return {}; }  ///< the end: all were returned

  /// A range of the futures and tasks themselves, as they end: the given ones, or those made of the
  /// given awaitables. Its begin() and ++ wait, and throw TimeoutError.
  class finished_range {
   public:
    /// Waits for the next one when it is advanced.
    class iterator : public detail::CompletionPlace {
     public:
      using value_type = F;

      iterator() = default;
      explicit iterator(core::Ref<detail::CompletionOrder> order)
          : CompletionPlace(std::move(order)) {
        ++*this;
      }
      iterator(const iterator&) noexcept = default;  ///< moving is copying: never empty
      iterator& operator=(const iterator&) noexcept = default;
      ~iterator() = default;
      const F& operator*() const noexcept { return current_; }
      const F* operator->() const noexcept { return &current_; }
      iterator& operator++() {
        current_ = advance() ? F(order_->wait_for_one().get()) : F();
        return *this;
      }
      void operator++(int) { ++*this; }

     private:
      F current_;
    };

    explicit finished_range(core::Ref<detail::CompletionOrder> order) : order_(std::move(order)) {}
    finished_range(const finished_range&) noexcept = default;  ///< moving is copying
    finished_range& operator=(const finished_range&) noexcept = default;
    ~finished_range() = default;
    iterator begin() const { return iterator(order_); }           ///< waits for the first one
    static std::default_sentinel_t end() noexcept { return {}; }  ///< the end: all have ended

   private:
    core::Ref<detail::CompletionOrder> order_;
  };
  finished_range async_() const { return finished_range(order_); }  ///< Python: async for

  explicit AsCompleted(core::Ref<detail::CompletionOrder> order) : order_(std::move(order)) {}
  AsCompleted(const AsCompleted&) noexcept = default;  ///< moving is copying: never empty
  AsCompleted& operator=(const AsCompleted&) noexcept = default;
  ~AsCompleted() = default;

 private:
  core::Ref<detail::CompletionOrder> order_;
};

/// Runs the awaitables of a range (futures, tasks, coroutine objects, callables) concurrently and
/// returns them as they end: see the top of this file. When `timeout` is over, each remaining one
/// throws TimeoutError; the tasks run on. An awaitable that is given twice comes once. Tasks are
/// made at the call.
template <std::ranges::input_range R>
  requires(detail::gatherable<std::ranges::range_reference_t<R>>)
auto as_completed(R&& awaitables, AsCompletedOptions options = {}) {
  using Reference = std::ranges::range_reference_t<R>;
  using F = decltype(asyncio::ensure_future(std::declval<Reference>()));
  std::vector<FutureRef> futures;
  try {
    for (auto&& awaitable : awaitables) {
      FutureRef& place = futures.emplace_back();  // before there is a task, so that none is lost
      place = asyncio::ensure_future(std::forward<decltype(awaitable)>(awaitable));
    }
    return AsCompleted<F>(core::Ref(
        new detail::CompletionOrder(detail::loop_for_futures(), futures, options.timeout)));
  } catch (...) {
    if constexpr (!future_like<Reference>)
      for (const FutureRef& task : futures) detail::withdraw(task);
    throw;
  }
}
/// Takes a list: as_completed({task1, task2}).
template <class A>
auto as_completed(std::initializer_list<A> awaitables, AsCompletedOptions options = {}) {
  return asyncio::as_completed(std::vector<A>(awaitables), std::move(options));
}
/// Refuses a range of other things in one line; the result converts to anything.
template <std::ranges::input_range R>
  requires(!detail::gatherable<std::ranges::range_reference_t<R>>)
std::span<const detail::Anything> as_completed(R&&, const AsCompletedOptions& = {}) {
  detail::refuse_task<std::ranges::range_reference_t<R>>();
  return {};
}

}  // namespace fiber::asyncio
