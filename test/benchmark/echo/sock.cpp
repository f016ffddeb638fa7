// The echo server on the library's plain sockets: a task for each connection. It prints its port.
#include "socket.hpp"

#include <fiber/asyncio.hpp>

#include <array>

using namespace fiber;
using asyncio::await;

int main() {
  asyncio::run([] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    const int listener = echo::listen_somewhere(SOCK_NONBLOCK);
    std::vector<asyncio::Task<>> tasks;
    for (;;) {
      const int fd = await(loop.sock_accept(listener)).first;
      echo::no_delay(fd);
      tasks.push_back(asyncio::create_task([loop, fd] {
        static std::array<char, 64 * 1024> buffer;
        for (;;) {
          const std::size_t got = await(loop.sock_recv_into(fd, buffer));
          if (got == 0) break;
          await(loop.sock_sendall(fd, std::string(buffer.data(), got)));
        }
        ::close(fd);
      }));
    }
  });
}
