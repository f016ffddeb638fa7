// Clients of the echo row: connections that each send a message, wait for it to come back, and send
// the next. Prints the messages per second.
//
//   echo_load PORT CONNECTIONS BYTES SECONDS
#include "socket.hpp"

#include <sys/epoll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const int port = std::atoi(argv[1]);
  const auto connections = static_cast<std::size_t>(std::atoi(argv[2]));
  const auto bytes = static_cast<std::size_t>(std::atoi(argv[3]));
  const auto limit = std::chrono::duration<double>(std::atof(argv[4]));

  const int poller = ::epoll_create1(0);
  const std::vector<int> sockets = echo::connect_all(poller, port, connections);
  std::vector<std::size_t> received(connections);
  const std::vector<char> message(bytes, 'x');
  std::vector<char> buffer(64 * 1024);
  for (const int fd : sockets) echo::send_all(fd, message.data(), bytes);

  long done = 0;
  const auto start = std::chrono::steady_clock::now();
  auto now = start;
  epoll_event events[256];
  while (now - start < limit) {
    const int count = ::epoll_wait(poller, events, 256, 1000);
    if (count <= 0) return 1;
    for (int i = 0; i < count; ++i) {
      const auto which = static_cast<std::size_t>(events[i].data.u64);
      const ssize_t got = ::recv(sockets[which], buffer.data(), buffer.size(), 0);
      if (got <= 0) return 1;
      received[which] += static_cast<std::size_t>(got);
      if (received[which] < bytes) continue;
      received[which] = 0;
      ++done;
      echo::send_all(sockets[which], message.data(), bytes);
    }
    now = std::chrono::steady_clock::now();
  }
  std::printf("%.0f\n",
              static_cast<double>(done) / std::chrono::duration<double>(now - start).count());
}
