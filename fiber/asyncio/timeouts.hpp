// Limits on the time of a block. Python: asyncio.timeouts.
#pragma once

#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/with.hpp>

#include <concepts>
#include <optional>
#include <string>

namespace fiber::asyncio {

/// The result of timeout() and timeout_at(); use it with asyncio::with:
///
///   asyncio::with(asyncio::timeout(2s), [&](asyncio::Timeout& limit) { await(download()); });
///
/// When the time is up the current task is cancelled, and the CancelledError that leaves the block
/// becomes a TimeoutError. Python: asyncio.Timeout.
class FIBER_API Timeout {
 public:
  /// `when` on the clock of loop.time(); nullopt: no limit.
  explicit Timeout(time_limit when) noexcept : when_(when.value()) {}
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;
  Timeout(Timeout&& other) noexcept;  ///< before the block is entered
  ~Timeout();

  /// The deadline; nothing: none.
  std::optional<nanoseconds> when() const noexcept { return when_; }
  /// Moves the limit, or removes it; `when` as in timeout_at(). Throws RuntimeError unless inside
  /// the block.
  void reschedule(std::optional<nanoseconds> when);
  template <std::convertible_to<time_limit> When>
  void reschedule(When when) {
    reschedule(time_limit(when).value());
  }
  /// Returns true once the time was up inside the block.
  bool expired() const noexcept { return state_ == State::expiring || state_ == State::expired; }
  /// Returns Python's repr: "<Timeout [active] when=…>".
  std::string repr() const;

  Timeout& enter();
  bool exit(std::exception_ptr error);

 private:
  enum class State : unsigned char { created, active, expiring, expired, finished };
  static const char* name_of(State state) noexcept;
  Handle timer_for(std::optional<nanoseconds> when);
  void on_timeout();

  std::optional<nanoseconds> when_;
  State state_ = State::created;
  int cancelling_ = 0;
  TaskRef task_;
  Handle timer_;
};

namespace detail {
FIBER_API std::optional<nanoseconds> deadline_after(std::optional<nanoseconds> delay);
}

/// Limits a block to `delay` from now; nullopt: no limit yet, see reschedule().
template <class Rep, class Period>
Timeout timeout(std::chrono::duration<Rep, Period> delay) {
  return Timeout(detail::deadline_after(nanoseconds(detail::to_nanoseconds(delay))));
}
inline Timeout timeout(std::nullopt_t) { return Timeout(std::nullopt); }
/// Refuses a plain number in one line.
template <detail::plain_number Number>
Timeout timeout(Number) {
  static_assert(!detail::plain_number<Number>, "timeout takes a time with its unit: timeout(3s)");
  return Timeout(std::nullopt);
}
/// Limits a block up to a point on the clock of loop.time(); nullopt: no limit yet. A point too late
/// for that clock never comes, one too early has come.
inline Timeout timeout_at(time_limit when) { return Timeout(when); }

/// Waits for one awaitable (or callable), at most for `limit`; after that cancels it, waits for
/// its end, and throws TimeoutError. std::nullopt: waits as long as it takes. Python:
/// asyncio.wait_for.
template <class A>
auto wait_for(A&& operand, time_limit limit) {
  const std::optional<nanoseconds> timeout = limit.value();
  using Held = std::decay_t<A>;
  using Made = decltype(asyncio::ensure_future(std::declval<Held>()));
  using Result = detail::result_of_t<typename Made::result_type>;
  return detail::Deferred([held = Held(std::forward<A>(operand)), timeout]() mutable -> Result {
    if (timeout && *timeout <= nanoseconds::zero()) {
      const auto future = asyncio::ensure_future(std::move(held));
      if (future.done()) return asyncio::await(future);
      try {
        detail::cancel_and_wait(future.base());
      } catch (...) {
        if constexpr (!future_like<Held>) detail::withdraw(future);
        throw;
      }
      try {
        return asyncio::await(future);
      } catch (const CancelledError&) {
        std::throw_with_nested(TimeoutError());
      }
    }
    return asyncio::with(Timeout(detail::deadline_after(timeout)), [&](Timeout&) -> Result {
      if constexpr (awaitable<Held>)
        return asyncio::await(std::move(held));
      else
        return asyncio::await(detail::as_coroutine(std::move(held)));
    });
  });
}
/// Refuses a plain number in one line; the result converts to anything.
template <class A, detail::plain_number Number>
detail::Anything wait_for(A&&, Number) {
  static_assert(!detail::plain_number<Number>,
                "wait_for takes a time with its unit: wait_for(task, 3s)");
  return {};
}

}  // namespace fiber::asyncio
