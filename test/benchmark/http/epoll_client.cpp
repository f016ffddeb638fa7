// Requests by a hand-written client: one thread, epoll, no parser. Prints nanoseconds per request;
// it is the load of the rows of servers, too.
//
//   http_epoll_client URL CONNECTIONS REQUESTS
#include "stream.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  by_hand::Clients clients(argv[1], static_cast<std::size_t>(std::atoi(argv[2])));
  const int requests = std::atoi(argv[3]);
  int sent = 0, done = 0;
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < clients.count(); ++i, ++sent) clients.ask(i);
  while (done < requests)
    clients.wait(10'000, [&](std::size_t which) {
      ++done;
      if (sent++ < requests) clients.ask(which);
    });
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  std::printf("%.0f\n", time.count() / requests);
}
