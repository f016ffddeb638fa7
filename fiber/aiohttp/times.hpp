// Durations and timers, as the client and the server of HTTP use those of the loop.
#pragma once

#include <fiber/asyncio/events.hpp>
#include <fiber/http/arguments.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace fiber::aiohttp::detail {

inline void cancel(asyncio::TimerHandle& timer) noexcept {
  if (timer) std::exchange(timer, {}).cancel();
}

/// Any number of seconds; more than a century is a century, and so is what is no number.
inline std::chrono::nanoseconds nanoseconds(http::Seconds duration) {
  constexpr std::chrono::hours century(24 * 365 * 100);
  if (!(duration < century)) return century;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::max(duration, http::Seconds(-century)));
}

}  // namespace fiber::aiohttp::detail
