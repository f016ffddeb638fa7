// Times of any size as the loop counts them: nanoseconds in 64 bits, which last for 292 years.
// Longer times count as the longest one; nothing overflows.
#pragma once

#include <fiber/standard.hpp>
#include <fiber/exceptions.hpp>

#include <concepts>
#include <cstdint>
#include <ratio>
#include <type_traits>

namespace fiber::asyncio::detail {

// Returns the time of the clock that never jumps, whatever clock the loop has.
inline std::int64_t monotonic() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline constexpr std::int64_t kForever = INT64_MAX;
// Limits of deadlines and clocks: beyond them lies kForever, and sums must fit, too.
inline constexpr std::int64_t kLatest = INT64_MAX - 1;
inline constexpr std::int64_t kEarliest = INT64_MIN / 2;

constexpr std::int64_t bounded(std::int64_t when) noexcept {
  return when > kLatest ? kLatest : when < kEarliest ? kEarliest : when;
}

// A plain number, given in place of a time with a unit.
template <class Number>
concept plain_number = std::is_arithmetic_v<Number>;

// Returns the deadline `delay` after `now`. Both are not below kEarliest, or `now` is not negative.
constexpr std::int64_t deadline_after(std::int64_t now, std::int64_t delay) noexcept {
  return now > 0 && delay > kLatest - now ? kLatest : bounded(now + delay);
}

// Returns the time from `now` to the deadline, not negative. Virtual clocks may be: the difference
// may be too large for 64 bits.
constexpr std::int64_t time_left(std::int64_t now, std::int64_t deadline) noexcept {
  if (deadline <= now) return 0;
  return now < 0 && deadline > kLatest + now ? kLatest : deadline - now;
}

// Holds the product of any count and any number of nanoseconds.
__extension__ using Product = __int128;

// Rounds towards zero. Throws ValueError for a duration that is not a number.
template <class Rep, class Period>
constexpr std::int64_t to_nanoseconds(std::chrono::duration<Rep, Period> time) {
  if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
    const double count = std::chrono::duration<double, std::nano>(time).count();
    if (count != count) throw ValueError("Invalid delay: NaN (not a number)");
    if (count > 9e18) return kLatest;
    if (count < -4e18) return kEarliest;
    return static_cast<std::int64_t>(count);
  } else if constexpr (std::integral<Rep>) {
    using Unit = std::ratio_divide<Period, std::nano>;
    const Product count = static_cast<Product>(time.count()) * Unit::num / Unit::den;
    return count > kLatest     ? kLatest
           : count < kEarliest ? kEarliest
                               : static_cast<std::int64_t>(count);
  } else {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  }
}

}  // namespace fiber::asyncio::detail
