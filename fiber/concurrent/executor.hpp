// Python's concurrent.futures.Executor: the common part of the pools of thread.hpp and process.hpp,
// and the base of a program's own executors.
#pragma once

#include <fiber/concurrent/futures.hpp>
#include <fiber/config.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/standard.hpp>
#include <fiber/exceptions.hpp>

#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::concurrent::futures {

/// An executor can no longer be used, after a failure that it could not survive.
class FIBER_API BrokenExecutor : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~BrokenExecutor() override;
};

/// One submitted call, waiting to be run.
class FIBER_API Work {
 public:
  Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  virtual ~Work();
  virtual const FutureBase& future() const noexcept = 0;  ///< the future that run() ends
  /// Does the work, unless it was cancelled, and ends the future, whose callbacks run here. The
  /// called function and its arguments are destroyed before. Throws only exceptions that callbacks
  /// let through.
  void run();
  /// run() for a future that is running already.
  virtual void run_started() = 0;
};

namespace detail {

/// Ends the future of work that will not be done with an error, unless it was cancelled.
FIBER_API void fail(const FutureBase& future, std::exception_ptr error);
/// Cancels the future of work that will not be done, and wakes the threads that wait for it.
FIBER_API void cancel(const FutureBase& future);
/// Ends the future of work that has called pthread_exit.
FIBER_API void thread_ends(const FutureBase& future);

/// The result of a call as a Future holds it: a copy, never a reference.
template <class F, class... Args>
using CallResult =
    std::remove_cvref_t<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>;

template <class R, class F, class... Args>
class Call final : public Work {
 public:
  template <class... Given>
  explicit Call(Given&&... given) : call_(std::in_place, std::forward<Given>(given)...) {}
  const Future<R>& future() const noexcept override { return future_; }

  void run_started() override {
    std::optional<typename Future<R>::Value> value;
    std::exception_ptr error;
    try {
      const auto invoke = [](auto& function, auto&... arguments) -> decltype(auto) {
        return std::apply(std::move(function), std::forward_as_tuple(std::move(arguments)...));
      };
      if constexpr (std::is_void_v<R>) {
        std::apply(invoke, *call_);
        value.emplace();
      } else {
        value.emplace(std::apply(invoke, *call_));
      }
    } catch (const fiber::detail::forced_unwind&) {
      thread_ends(future_);
      throw;
    } catch (...) {
      error = std::current_exception();
    }
    call_.reset();
    if (error)
      future_.set_exception(std::move(error));
    else
      end_with(future_, std::move(*value));
  }

 private:
  Future<R> future_;
  std::optional<std::tuple<F, Args...>> call_;
};

/// The results of Executor::map, in order; cancels those that were not fetched.
template <class R>
class MapResults {
 public:
  using value_type = typename Future<R>::Value;
  MapResults(std::vector<Future<R>> futures, Timeout timeout)
      : futures_(std::move(futures)), deadline_(timeout.deadline()) {}
  MapResults(const MapResults&) = delete;
  MapResults& operator=(const MapResults&) = delete;
  ~MapResults() {
    for (; next_ < futures_.size(); ++next_) futures_[next_].cancel();
  }

  bool advance() {
    if (next_ == futures_.size()) return false;
    const Future<R> future = std::move(futures_[next_++]);
    try {
      if constexpr (std::is_void_v<R>) {
        future.result(remaining());
        current_.emplace();
      } else {
        current_.emplace(future.take_result(remaining()));
      }
    } catch (...) {
      future.cancel();
      throw;
    }
    return true;
  }
  value_type& current() { return *current_; }

 private:
  Timeout remaining() const {
    if (!deadline_) return {};
    return *deadline_ - Timeout::Clock::now();
  }

  std::vector<Future<R>> futures_;
  std::size_t next_ = 0;
  std::optional<Timeout::Clock::time_point> deadline_;
  std::optional<value_type> current_;
};

/// Returns an element of a range. A reference that is an object of its own, as std::vector<bool>
/// has it, becomes a value, for it may point into a range that is gone before the call.
template <class Range, class Reference>
decltype(auto) item_of(Reference&& item) {
  using Value = std::ranges::range_value_t<Range>;
  if constexpr (std::same_as<std::remove_cvref_t<Reference>, Value>)
    return std::forward<Reference>(item);
  else
    return Value(std::forward<Reference>(item));
}

/// Calls submit(element...) for each step of the ranges taken together, until the shortest ends.
template <class Submit, class... Ranges>
auto map(Timeout timeout, Submit submit, Ranges&&... ranges) {
  static_assert(sizeof...(Ranges) > 0, "map() needs at least one range");
  using F = decltype(submit(item_of<Ranges>(*std::ranges::begin(ranges))...));
  std::vector<F> futures;
  const auto submit_all = [&](auto... at) {
    for (; (... && (at != std::ranges::end(ranges))); (..., ++at))
      futures.push_back(submit(item_of<Ranges>(*at)...));
  };
  submit_all(std::ranges::begin(ranges)...);
  using Source = MapResults<typename F::value_type>;
  return Pull(std::in_place_type<Source>, std::move(futures), timeout);
}

/// Returns the number of processors that this process may use, at least 1.
FIBER_API int process_cpu_count();

/// Returns the max_workers of a pool: throws ValueError unless it is positive.
FIBER_API int checked_max_workers(std::optional<int> max_workers, int fallback);

}  // namespace detail

/// Keyword arguments of Executor::shutdown.
struct ShutdownOptions {
  bool wait = true;             ///< return when all work is done and the pool's resources are freed
  bool cancel_futures = false;  ///< cancel pending work
};

/// Keyword arguments of Executor::map.
struct MapOptions {
  Timeout timeout = {};  ///< for the whole iteration, counted from the call
};

namespace detail {

/// The base of an executor for its map(), which calls the executor's own submit().
template <class Self>
class Maps {
 public:
  /// Submits fn(element...) for each step of the ranges taken together and returns a range of the
  /// results, in order; getting a result waits for it, and throws its exception or TimeoutError.
  /// Results that are not fetched are cancelled with the range. For void, elements are
  /// std::monostate.
  template <class F, std::ranges::input_range... Ranges>
  auto map(F fn, Ranges&&... ranges) {
    return map(MapOptions{}, std::move(fn), std::forward<Ranges>(ranges)...);
  }
  template <class F, std::ranges::input_range... Ranges>
  auto map(MapOptions options, F fn, Ranges&&... ranges) {
    const auto submit_one = [&](auto&&... item) {
      return static_cast<Self&>(*this).submit(fn, std::forward<decltype(item)>(item)...);
    };
    return detail::map(options.timeout, submit_one, ranges...);
  }
};

}  // namespace detail

/// A pool of threads or processes. May be used from any thread. Destroying a pool is leaving
/// Python's `with`: the destructor waits for all the work. After shutdown({.wait = false}) it does
/// not wait: the work goes on, and the program's exit waits.
class FIBER_API Executor : public detail::Maps<Executor> {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor();

  /// Has fn(args...) called on another thread or in another process. Arguments are copied or moved,
  /// as std::thread does it, and may be move-only; std::ref passes a reference. Throws RuntimeError
  /// after a shutdown, BrokenExecutor when the executor is broken.
  template <class F, class... Args>
  Future<detail::CallResult<F, Args...>> submit(F&& fn, Args&&... args) {
    using R = detail::CallResult<F, Args...>;
    auto work = std::make_unique<detail::Call<R, std::decay_t<F>, std::decay_t<Args>...>>(
        std::forward<F>(fn), std::forward<Args>(args)...);
    Future<R> future = work->future();
    submit_work(std::move(work));
    return future;
  }

  /// Ends the executor: submit throws from now on. May be called again. Throws RuntimeError when
  /// one of the executor's own workers would wait for itself.
  virtual void shutdown(ShutdownOptions options = {}) = 0;

 protected:
  /// Implements an executor: has work->run() called once, perhaps on another thread.
  virtual void submit_work(std::unique_ptr<Work> work) = 0;
};

}  // namespace fiber::concurrent::futures
