// The echo of datagrams on the library's plain sockets. It prints its port.
#include "socket.hpp"

#include <fiber/asyncio.hpp>

using namespace fiber;
using asyncio::await;

int main() {
  asyncio::run([] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    const int fd = echo::bind_somewhere(SOCK_DGRAM | SOCK_NONBLOCK);
    echo::print_port(fd);
    for (;;) {
      auto [data, from] = await(loop.sock_recvfrom(fd, 2048));
      await(loop.sock_sendto(fd, std::move(data), from));
    }
  });
}
