// The head of an answer, from a stream.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/http/parser.hpp>

#include <cstddef>
#include <string>

namespace fiber::aiohttp::detail {

// Appends received bytes to `held` until the head at its front is complete, and returns the size of
// the head; 0 if the stream ends before, or the head has more than 64 KiB.
inline std::size_t receive_head(const asyncio::StreamReader& reader, std::string& held) {
  constexpr std::size_t most = 64 * 1024, piece_size = 16 * 1024;
  for (std::size_t scanned = 0;;) {
    if (const std::size_t size = http::end_of_head(held, scanned)) return size;
    if (held.size() > most) return 0;
    scanned = held.size();
    const std::string piece = asyncio::await(reader.read(piece_size));
    if (piece.empty()) return 0;
    held += piece;
  }
}

}  // namespace fiber::aiohttp::detail
