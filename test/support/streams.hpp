// Streams between the tasks of a test.
#pragma once

#include <fiber/asyncio.hpp>

#include <cstddef>
#include <string>
#include <utility>

#include "support/socket_pair.hpp"

namespace support {

// Sends back what comes, until the peer says no more. The callback of a server.
inline void echo(const fiber::asyncio::StreamReader& reader,
                 const fiber::asyncio::StreamWriter& writer) {
  for (;;) {
    const std::string data = fiber::asyncio::await(reader.read(65536));
    if (data.empty()) break;
    writer.write(data);
    fiber::asyncio::await(writer.drain());
  }
  writer.close();
  fiber::asyncio::await(writer.wait_closed());
}

// Begins to serve on a port that the system chooses; to be awaited.
auto serve(auto callback, fiber::asyncio::StartServerOptions options = {}) {
  return fiber::asyncio::start_server(std::move(callback), "127.0.0.1", 0, options);
}

inline void finish(const fiber::asyncio::Server& server) {
  server.close();
  fiber::asyncio::await(server.wait_closed());
}

// Returns a connection's two ends.
inline std::pair<fiber::asyncio::StreamPair, fiber::asyncio::StreamPair> make_pair_of_streams(
    std::size_t limit = 65536) {
  using fiber::asyncio::await, fiber::asyncio::open_connection_from;
  SocketPair ends;
  return {await(open_connection_from(ends.one.release(), {.limit = limit})),
          await(open_connection_from(ends.other.release(), {.limit = limit}))};
}

}  // namespace support
