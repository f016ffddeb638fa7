// Requests by a hand-written client: one thread, epoll, no parser. Prints nanoseconds per request;
// it is the load of the row of servers, too.
//
//   http_epoll_client PORT CONNECTIONS REQUESTS
#include "../echo/socket.hpp"

#include <sys/epoll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int port = std::atoi(argv[1]);
  const auto connections = static_cast<std::size_t>(std::atoi(argv[2]));
  const int requests = std::atoi(argv[3]);
  const std::string request = "GET / HTTP/1.1\r\nHost: 127.0.0.1:" + std::string(argv[1]) +
                              "\r\nUser-Agent: by hand\r\nAccept: */*\r\n"
                              "Accept-Encoding: gzip, deflate\r\n\r\n";
  const int poller = ::epoll_create1(0);
  const std::vector<int> sockets = echo::connect_all(poller, port, connections);
  std::vector<std::string> received(connections);
  std::vector<char> buffer(64 * 1024);
  int sent = 0, done = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const int fd : sockets) {
    echo::send_all(fd, request.data(), request.size());
    ++sent;
  }
  epoll_event events[256];
  while (done < requests) {
    const int count = ::epoll_wait(poller, events, 256, 10'000);
    if (count <= 0) return 1;
    for (int i = 0; i < count; ++i) {
      const auto which = static_cast<std::size_t>(events[i].data.u64);
      const ssize_t got = ::recv(sockets[which], buffer.data(), buffer.size(), 0);
      if (got <= 0) return 1;
      std::string& answer = received[which];
      answer.append(buffer.data(), static_cast<std::size_t>(got));
      if (!std::string_view(answer).ends_with("\r\n\r\nhello")) continue;
      answer.clear();
      ++done;
      if (sent++ < requests) echo::send_all(sockets[which], request.data(), request.size());
    }
  }
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  std::printf("%.0f\n", time.count() / requests);
}
