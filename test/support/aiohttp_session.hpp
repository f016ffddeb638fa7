// A session for the length of a test.
#pragma once

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include <utility>

namespace support {

// Runs `body(session)` in a task of a loop of its own; the session and the loop are gone after it.
template <class Body>
void with_session(fiber::aiohttp::SessionOptions options, Body body) {
  fiber::asyncio::run([&] {
    fiber::asyncio::with(fiber::aiohttp::ClientSession(std::move(options)),
                         [&](auto& session) { body(session); });
  });
}
template <class Body>
void with_session(Body body) {
  with_session({}, std::move(body));
}

}  // namespace support
