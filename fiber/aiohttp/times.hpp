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

/// Any number of seconds; more than a century is a century.
inline std::chrono::nanoseconds nanoseconds(http::Seconds duration) {
  constexpr http::Seconds for_ever = std::chrono::hours(24 * 365 * 100);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(duration, for_ever));
}

}  // namespace fiber::aiohttp::detail
