// Python's concurrent.futures: Future, wait(), as_completed(). No loop and no fiber is involved:
// waiting here blocks the calling thread. asyncio::wrap_future is the bridge to a loop.
//
// Every function may be called from any thread. A Future is a cheap counted handle; `==` is
// Python's `is`.
#pragma once

#include <fiber/concurrent/future_state.hpp>
#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/standard.hpp>
#include <fiber/exceptions.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fiber::concurrent::futures {

/// The functions that all futures have, whatever their result. Futures of different types can be
/// waited for together as a vector<FutureBase>. A handle that was moved from may be assigned to and
/// compared; all other functions throw ValueError.
class FIBER_API FutureBase {
 public:
  /// Cancels a future that is still pending and runs its callbacks here. Returns false if it is
  /// running or finished, true if it is cancelled (by this call or an earlier one).
  bool cancel() const { return state().cancel(); }
  bool cancelled() const { return state().cancelled(); }  ///< cancelled before it ran
  /// True while the call is executed; it cannot be cancelled then.
  bool running() const { return state().running(); }
  /// Returns true if the future is finished or cancelled.
  bool done() const { return state().done(); }
  /// Waits for the end and returns the exception, null if there is none. Throws CancelledError if
  /// the future was cancelled, TimeoutError if it is not done in time.
  std::exception_ptr exception(Timeout timeout = {}) const { return state().exception(timeout); }

  /// The three below are for executors and tests.
  ///
  /// Notes that the work is about to start. Returns false if the future was cancelled (its waiters
  /// are notified now): then the work must not be done. Throws RuntimeError when called a second
  /// time.
  bool set_running_or_notify_cancel() const { return state().set_running_or_notify_cancel(); }
  /// Ends the future with an error. Throws InvalidStateError if it is done.
  void set_exception(std::exception_ptr error) const { state().set_exception(std::move(error)); }
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  void set_exception(E error) const {
    set_exception(std::make_exception_ptr(std::move(error)));
  }

  /// Returns the address that repr() shows: unique among living futures.
  const void* id() const noexcept { return state_.get(); }
  // Returns one of "<Future at 0x... state=running>", "<Future at 0x... state=finished returned
  // int>", "<Future at 0x... state=finished raised ValueError>".
  friend std::string repr(const FutureBase& future) { return future.state().repr(); }
  friend FIBER_API std::ostream& operator<<(std::ostream& out, const FutureBase& future);
  friend bool operator==(const FutureBase& a, const FutureBase& b) noexcept {
    return a.id() == b.id();
  }

 protected:
  explicit FutureBase(detail::Ref<detail::FutureState> state) noexcept : state_(std::move(state)) {}

  /// Returns the state. Throws ValueError if the handle was moved from.
  detail::FutureState& state() const {
    if (state_.get() == nullptr) [[unlikely]]
      refuse_moved();
    return *state_;
  }

  detail::Ref<detail::FutureState> state_;

 private:
  friend class detail::Waiter;
  [[noreturn]] static void refuse_moved();
};

/// The result of a call that runs on another thread or in another process. T may be void. Python:
/// concurrent.futures.Future.
template <class T>
class Future : public FutureBase {
 public:
  using value_type = T;
  /// The type of the stored value: std::monostate stands for the None of a Future<void>.
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  /// What result() returns.
  using Reference = std::conditional_t<std::is_void_v<T>, void, const Value&>;

  /// Makes a pending future, for code that acts as the executor.
  Future() : FutureBase(detail::Ref<detail::FutureState>(new detail::ValueState<Value>)) {}

  /// Waits for the end. Throws the call's exception, CancelledError, or TimeoutError when it is not
  /// done in time. The reference lives as long as any handle; a temporary handle
  /// (`pool.submit(f).result()`) returns the value itself, moved unless the future has other
  /// handles.
  Reference result(Timeout timeout = {}) const& {
    return static_cast<Reference>(typed().get(timeout));
  }
  T result(Timeout timeout = {}) && { return static_cast<T>(typed().get_or_move(timeout)); }
  /// Moves the value out, for callers who know that no code reads it later: after this, result()
  /// throws InvalidStateError. Python has no counterpart.
  T take_result(Timeout timeout = {}) const { return static_cast<T>(typed().take(timeout)); }

  /// Calls fn(future), or fn() if it takes no argument, when the future ends: in the thread that
  /// ends or cancels it, in the order added; at once and here if it is done. Exceptions of the
  /// callback are reported on stderr and dropped, unless they are BaseExceptions.
  template <class F>
  void add_done_callback(F&& fn) const {
    add_callback(callback_of(std::forward<F>(fn)));
  }
  /// add_done_callback() in two steps. The second needs no memory for the first callback of a
  /// future: for code that starts a call and must not fail once it has.
  template <class F>
  static core::Owner<detail::Callback> callback_of(F&& fn) {
    using Fn = std::decay_t<F>;
    static_assert(std::invocable<Fn&, Future> || std::invocable<Fn&>,
                  "a done callback takes the Future or nothing");
    struct Callback final : detail::Callback {
      explicit Callback(F&& f) : fn(std::forward<F>(f)) {}
      void call(const detail::Ref<detail::FutureState>& state) override {
        if constexpr (std::invocable<Fn&, Future>)
          std::apply(fn, std::tuple(Future(state)));
        else
          std::apply(fn, std::tuple());
      }
      Fn fn;
    };
    return core::make_owner<Callback>(std::forward<F>(fn));
  }
  /// Adds a callback that add_done_callback has made of a callable.
  void add_callback(core::Owner<detail::Callback> callback) const {
    this->state().add_callback(std::move(callback));
  }

  /// Ends the future, for executors and tests. Throws InvalidStateError if it is done.
  void set_result(Value value) const { typed().set(std::move(value)); }
  void set_result() const
    requires std::is_void_v<T>
  {
    typed().set({});
  }

 private:
  explicit Future(detail::Ref<detail::FutureState> state) noexcept : FutureBase(std::move(state)) {}
  detail::ValueState<Value>& typed() const {
    return static_cast<detail::ValueState<Value>&>(this->state());
  }
};

namespace detail {

/// Ends a future with a result, or with the exception of a result that cannot be moved. Throws the
/// exception of a done-callback.
template <class T, class Value>
void end_with(const Future<T>& future, Value&& value) {
  try {
    future.set_result(std::forward<Value>(value));
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (...) {
    if (future.done()) throw;
    future.set_exception(std::current_exception());
  }
}

}  // namespace detail

template <class R>
concept FutureRange =
    std::ranges::input_range<R> && std::derived_from<std::ranges::range_value_t<R>, FutureBase>;

/// The condition for which wait() waits.
enum ReturnWhen {
  FIRST_COMPLETED,  ///< when any future ends or is cancelled
  FIRST_EXCEPTION,  ///< when any future raises; otherwise as ALL_COMPLETED
  ALL_COMPLETED,
};

/// Keyword arguments of wait.
struct WaitOptions {
  Timeout timeout = {};  ///< throws no error: the futures that are not done are returned
  ReturnWhen return_when = ALL_COMPLETED;  ///< see ReturnWhen
};

/// The results of wait(): both lists in the order given, each future once.
template <class F>
struct DoneAndNotDoneFutures {
  std::vector<F> done;      ///< finished, or cancelled
  std::vector<F> not_done;  ///< pending or running at the time of the return
};

/// Keyword arguments of as_completed.
struct AsCompletedOptions {
  Timeout timeout = {};  ///< for the whole iteration, counted from the call
};

namespace detail {

/// Waits; returns one entry for each future. Repeated futures count once.
enum class Verdict : unsigned char { done, not_done, repeated };
FIBER_API std::vector<Verdict> wait(const std::vector<FutureBase>& futures, WaitOptions options);

/// Hands out the positions of futures as they complete.
class FIBER_API Completion {
 public:
  Completion(std::vector<FutureBase> futures, Timeout timeout);
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion();
  std::optional<std::size_t> next();

 private:
  void forget_all() noexcept;
  struct Impl;
  core::Owner<Impl> impl_;
};

/// A single-pass range over a source with `bool advance()` and `current()`.
template <class Source>
class Pull {
 public:
  class iterator {
   public:
    using value_type = typename Source::value_type;
    using difference_type = std::ptrdiff_t;
    explicit iterator(Source* source) : source_(source) { ++*this; }
    value_type& operator*() const { return source_->current(); }
    iterator& operator++() {
      if (!source_->advance()) source_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return source_ == nullptr; }

   private:
    Source* source_;
  };

  template <class... Args>
  explicit Pull(std::in_place_type_t<Source>, Args&&... args)
      : source_(std::forward<Args>(args)...) {}
  iterator begin() { return iterator(&source_); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  Source source_;
};

template <class F>
class CompletedFutures {
 public:
  using value_type = F;
  CompletedFutures(std::vector<F> futures, Timeout timeout)
      : futures_(std::move(futures)),
        completion_(core::make_owner<Completion>(
            std::vector<FutureBase>(futures_.begin(), futures_.end()), timeout)) {}
  bool advance() {
    current_ = completion_->next();
    return current_.has_value();
  }
  F& current() { return futures_[*current_]; }

 private:
  std::vector<F> futures_;
  core::Owner<Completion> completion_;
  std::optional<std::size_t> current_;
};

template <class R>
auto to_vector(R&& range) {
  std::vector<std::ranges::range_value_t<R>> all;
  if constexpr (std::ranges::sized_range<R>) all.reserve(std::ranges::size(range));
  for (auto&& item : range) all.push_back(item);
  return all;
}

}  // namespace detail

/// Blocks until the futures are done, as far as `return_when` asks, or the time is up (no error).
/// Python: concurrent.futures.wait.
template <FutureRange R>
DoneAndNotDoneFutures<std::ranges::range_value_t<R>> wait(R&& futures, WaitOptions options = {}) {
  auto all = detail::to_vector(futures);
  const auto verdicts = detail::wait({all.begin(), all.end()}, options);
  DoneAndNotDoneFutures<std::ranges::range_value_t<R>> result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (verdicts[i] == detail::Verdict::repeated) continue;
    auto& list = verdicts[i] == detail::Verdict::done ? result.done : result.not_done;
    list.push_back(std::move(all[i]));
  }
  return result;
}
template <std::derived_from<FutureBase> F>
DoneAndNotDoneFutures<F> wait(std::initializer_list<F> futures, WaitOptions options = {}) {
  return wait(std::vector<F>(futures), options);
}

/// Returns a range of the futures as they complete (each once, those already done first); its
/// iterator blocks, and throws TimeoutError when the time is up. Python:
/// concurrent.futures.as_completed.
template <FutureRange R>
auto as_completed(R&& futures, AsCompletedOptions options = {}) {
  using Source = detail::CompletedFutures<std::ranges::range_value_t<R>>;
  return detail::Pull(std::in_place_type<Source>, detail::to_vector(futures), options.timeout);
}
template <std::derived_from<FutureBase> F>
auto as_completed(std::initializer_list<F> futures, AsCompletedOptions options = {}) {
  return as_completed(std::vector<F>(futures), options);
}

}  // namespace fiber::concurrent::futures

/// Futures as keys of unordered containers, by identity.
template <class T>
struct std::hash<fiber::concurrent::futures::Future<T>> {
  std::size_t operator()(const fiber::concurrent::futures::Future<T>& future) const noexcept {
    return std::hash<const void*>()(future.id());
  }
};
