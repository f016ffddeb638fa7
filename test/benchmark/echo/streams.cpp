// The echo server on the library's streams: a task for each connection. It prints its port.
#include <fiber/asyncio.hpp>

#include <cstdio>

using namespace fiber;
using asyncio::await;

int main() {
  asyncio::run([] {
    const auto server = await(asyncio::start_server(
        [](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
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
        },
        "127.0.0.1", 0));
    std::printf("%d\n", server.sockets().front().port());
    std::fflush(stdout);
    await(server.serve_forever());
  });
}
