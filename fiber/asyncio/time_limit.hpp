// Times as arguments: durations in any unit, and limits.
#pragma once

#include <fiber/asyncio/detail/durations.hpp>

#include <optional>

namespace fiber::asyncio {

/// The unit of the loop's clock: 64 bits last for 292 years. Functions that take a time take a
/// duration in any unit and round it towards zero. A time that the clock cannot show is cut: a
/// delay or deadline too far ahead never comes, one too far back came long ago.
using std::chrono::nanoseconds;

namespace detail {

template <class T>
concept any_duration = requires(T time) { detail::to_nanoseconds(time); };

constexpr nanoseconds in_ns(any_duration auto time) {
  return nanoseconds(detail::to_nanoseconds(time));
}

}  // namespace detail

/// A time limit as an argument: any std::chrono duration, or std::nullopt for none.
class time_limit {
 public:
  time_limit() noexcept = default;
  time_limit(std::nullopt_t) noexcept {}  // NOLINT(google-explicit-constructor)
  template <detail::any_duration D>
  time_limit(D limit) : limit_(detail::in_ns(limit)) {}  // NOLINT(*-explicit-constructor)
  template <detail::any_duration D>
  time_limit(const std::optional<D>& limit) {  // NOLINT(google-explicit-constructor)
    if (limit) limit_ = detail::in_ns(*limit);
  }
  /// Nothing: no limit.
  const std::optional<nanoseconds>& value() const noexcept { return limit_; }

 private:
  std::optional<nanoseconds> limit_;
};

}  // namespace fiber::asyncio
