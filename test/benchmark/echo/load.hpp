// The clients of the network rows. A peer is made from the server's port and its own index, and has
// `fd`, send(data, size), and receive(buffer, size), which returns the number of bytes, 0 if the
// message is not complete.
#pragma once

#include "socket.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace load {

using Clock = std::chrono::steady_clock;

struct Arguments {
  int port;
  std::size_t count;
  std::size_t bytes;
  std::chrono::duration<double> limit;
};

// Returns the arguments after the mode: PORT COUNT [BYTES SECONDS].
inline Arguments arguments(int argc, char** argv) {
  if (argc < 4) std::exit(2);
  return {std::atoi(argv[2]), static_cast<std::size_t>(std::atoi(argv[3])),
          argc > 4 ? static_cast<std::size_t>(std::atoi(argv[4])) : 0,
          std::chrono::duration<double>(argc > 5 ? std::atof(argv[5]) : 0)};
}

// Waits for events until the time is over; calls ready(index) for each, which returns how many
// items it has ended. Prints the items per second.
template <class Ready>
int measure(int poller, std::chrono::duration<double> limit, Ready ready) {
  long done = 0;
  const auto start = Clock::now();
  auto now = start;
  epoll_event events[256];
  while (now - start < limit) {
    const int count = ::epoll_wait(poller, events, 256, 1000);
    if (count <= 0) return 1;
    for (int i = 0; i < count; ++i) done += ready(static_cast<std::size_t>(events[i].data.u64));
    now = Clock::now();
  }
  std::printf("%.0f\n",
              static_cast<double>(done) / std::chrono::duration<double>(now - start).count());
  return 0;
}

// Each peer sends a message, waits for it to come back, and sends the next.
template <class Peer>
int echo(const Arguments& its) {
  const int poller = ::epoll_create1(0);
  std::vector<Peer> peers;
  for (std::size_t i = 0; i < its.count; ++i) {
    peers.emplace_back(its.port, i);
    echo::watch(poller, peers[i].fd, i);
  }
  std::vector<std::size_t> received(its.count);
  const std::vector<char> message(its.bytes, 'x');
  std::vector<char> buffer(64 * 1024);
  for (Peer& peer : peers) peer.send(message.data(), its.bytes);
  return measure(poller, its.limit, [&](std::size_t which) {
    received[which] += peers[which].receive(buffer.data(), buffer.size());
    if (received[which] < its.bytes) return 0;
    received[which] = 0;
    peers[which].send(message.data(), its.bytes);
    return 1;
  });
}

// Keeps connections open until the standard input ends.
template <class Peer>
int hold(const Arguments& its) {
  std::vector<Peer> peers;
  for (std::size_t i = 0; i < its.count; ++i) peers.emplace_back(its.port, i);
  std::printf("%zu\n", peers.size());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

}  // namespace load
