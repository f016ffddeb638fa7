// Servers on the library's streams. They print their port.
#pragma once

#include <fiber/asyncio.hpp>

#include <cstdio>
#include <utility>

namespace streams {

using namespace fiber;
using asyncio::await;

template <class Callback>
void serve(Callback callback, asyncio::StartServerOptions options = {}) {
  options.backlog = 1024;
  asyncio::run([&] {
    const auto server =
        await(asyncio::start_server(std::move(callback), "127.0.0.1", 0, std::move(options)));
    std::printf("%d\n", server.sockets().front().port());
    std::fflush(stdout);
    await(server.serve_forever());
  });
}

inline void echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  try {
    for (;;) {
      const std::string data = await(reader.read(64 * 1024));
      if (data.empty()) break;
      writer.write(data);
      await(writer.drain());
    }
  } catch (const OSError&) {
    // The client has gone.
  }
  writer.close();
}

}  // namespace streams
