// The growth of the main works' cost with the number of tasks: the points of the README's plot.
#include "works.hpp"

#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
namespace asyncio = fiber::asyncio;
using Seconds = std::chrono::duration<double>;

Seconds since(std::chrono::steady_clock::time_point start) {
  return std::chrono::steady_clock::now() - start;
}

// Returns the time per switch; the tasks exist and have run before the clock starts.
Seconds yields(long tasks, long rounds) {
  Seconds took{};
  asyncio::run([&] {
    std::vector<asyncio::Task<>> all;
    for (long i = 0; i < tasks; ++i)
      all.push_back(asyncio::create_task([rounds] {
        for (long round = 0; round < rounds; ++round) await(asyncio::sleep(0));
      }));
    await(asyncio::sleep(0));
    const auto start = std::chrono::steady_clock::now();
    await(asyncio::gather(all));
    took = since(start);
  });
  return took;
}

// Returns the time per message between tasks in pairs, each sending the other a number.
Seconds messages(long tasks, long rounds) {
  Seconds took{};
  asyncio::run([&] {
    std::vector<asyncio::Queue<int>> queues;
    for (long i = 0; i < tasks; ++i) queues.emplace_back(1);
    std::vector<asyncio::Task<>> all;
    for (long i = 0; i < tasks; ++i)
      all.push_back(asyncio::create_task([&queues, i, rounds] {
        auto& out = queues[static_cast<std::size_t>(i)];
        auto& in = queues[static_cast<std::size_t>(i ^ 1)];
        for (long round = 0; round < rounds; ++round) {
          if (i % 2 == 0) await(out.put(1));
          await(in.get());
          if (i % 2 != 0) await(out.put(1));
        }
      }));
    await(asyncio::sleep(0));
    const auto start = std::chrono::steady_clock::now();
    await(asyncio::gather(all));
    took = since(start);
  });
  return took;
}

// Returns the time per timer that fires, for tasks whose timers are all set.
Seconds timers(long tasks, long rounds) {
  Seconds took{};
  asyncio::run([&] {
    const auto start = std::chrono::steady_clock::now();
    std::vector<asyncio::Task<>> all;
    for (long i = 0; i < tasks; ++i)
      all.push_back(asyncio::create_task([rounds, i] {
        for (long round = 0; round < rounds; ++round)
          await(asyncio::sleep(std::chrono::nanoseconds(1 + (i * 7919) % 1000)));
      }));
    await(asyncio::gather(all));
    took = since(start);
  });
  return took;
}

}  // namespace

void add_growth() {
  for (const long tasks : {10L, 1'000L, 100'000L, 1'000'000L}) {
    const std::string many = std::to_string(tasks) + " tasks";
    const long rounds = std::max(10'000'000L / tasks / 2, 5L);
    add_timed("growth: sleep(0), " + many, "fiber", tasks * rounds,
              [tasks, rounds](long) { return yields(tasks, rounds); });
    const long fewer = std::max(2'000'000L / tasks / 2, 3L);
    add_timed("growth: message between tasks, " + many, "fiber", tasks * fewer,
              [tasks, fewer](long) { return messages(tasks, fewer); });
    // Ten tasks would show only the kernel's timer slack.
    if (tasks > 10)
      add_timed("growth: timer that fires, " + many, "fiber", tasks * fewer,
                [tasks, fewer](long) { return timers(tasks, fewer); });
  }
}

}  // namespace works
