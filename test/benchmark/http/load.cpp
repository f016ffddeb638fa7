// An open load: requests are due at a steady rate, whether or not the server keeps up. A request
// that finds no free connection waits for one. Latencies count from the time when a request was
// due, so that a server that stands still pays for all that it has kept waiting. Prints the median
// and the 99th percentile in nanoseconds.
//
//   http_load URL CONNECTIONS RATE SECONDS
#include "stream.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  using Clock = std::chrono::steady_clock;
  by_hand::Clients clients(argv[1], static_cast<std::size_t>(std::atoi(argv[2])));
  const double rate = std::atof(argv[3]);
  const auto total = static_cast<std::size_t>(rate * std::atof(argv[4]));
  std::vector<std::size_t> free(clients.count());
  std::iota(free.begin(), free.end(), std::size_t{0});
  std::vector<Clock::time_point> due_of(clients.count());
  std::vector<Clock::duration> latencies;
  latencies.reserve(total);
  const auto start = Clock::now();
  const auto due = [&](std::size_t number) {
    return start + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(static_cast<double>(number) / rate));
  };
  std::size_t sent = 0;
  while (latencies.size() < total) {
    while (sent < total && !free.empty() && due(sent) <= Clock::now()) {
      const std::size_t which = free.back();
      free.pop_back();
      due_of[which] = due(sent++);
      clients.ask(which);
    }
    clients.wait(0, [&](std::size_t which) {
      latencies.push_back(Clock::now() - due_of[which]);
      free.push_back(which);
    });
  }
  std::sort(latencies.begin(), latencies.end());
  const auto percentile = [&](std::size_t percent) {
    const std::chrono::duration<double, std::nano> time = latencies[total * percent / 100];
    return time.count();
  };
  std::printf("%.0f %.0f\n", percentile(50), percentile(99));
}
