// Attempts that begin one after the other and race, as in RFC 8305. Python: asyncio.staggered.
#pragma once

#include <fiber/asyncio/base_events.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace fiber::asyncio::detail {

/// Calls attempt(0), attempt(1), ... each in a task of its own: the next one as soon as one has
/// failed (has thrown), or `delay` nanoseconds after it began. Once one has returned, the others
/// are cancelled. Returns the index of that attempt when all have ended; nullopt if all failed by
/// OSErrors, which they keep. Otherwise throws the first other exception, such as the
/// CancelledError of an attempt whose task was cancelled. In a task, which may be cancelled: then
/// the attempts are cancelled too, and end after it.
std::optional<std::size_t> staggered_race(LoopObject& loop, std::size_t count, std::int64_t delay,
                                          std::function<void(std::size_t)> attempt);

}  // namespace fiber::asyncio::detail
