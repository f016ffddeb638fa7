#include "works.hpp"

#include <fiber/asyncio.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
namespace asyncio = fiber::asyncio;

// Makes each thread yield among ten tasks of a loop of its own.
long yields_on(int threads, long items) {
  constexpr long kTasks = 10;
  const auto work = [rounds = items / threads / kTasks] {
    asyncio::run([&] {
      std::vector<asyncio::Task<>> all;
      for (long i = 0; i < kTasks; ++i)
        all.push_back(asyncio::create_task([rounds] {
          for (long round = 0; round < rounds; ++round) await(asyncio::sleep(0));
        }));
      await(asyncio::gather(all));
    });
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  return items;
}

// Lets two threads hand over to each other: what any round trip to another thread costs.
long hands_over(long items) {
  const int there = ::eventfd(0, EFD_CLOEXEC);
  const int back = ::eventfd(0, EFD_CLOEXEC);
  std::uint64_t count = 1;
  std::thread other([=] {
    std::uint64_t got = 0;
    for (long i = 0; i < items; ++i)
      if (::read(there, &got, sizeof got) < 0 || ::write(back, &got, sizeof got) < 0) return;
  });
  for (long i = 0; i < items; ++i)
    if (::write(there, &count, sizeof count) < 0 || ::read(back, &count, sizeof count) < 0) break;
  other.join();
  ::close(there);
  ::close(back);
  return items;
}

}  // namespace

void add_threads() {
  add("call_soon_threadsafe, one way to another thread", "fiber", 200'000, [](long items) {
    long called = 0;
    asyncio::run([&] {
      const asyncio::EventLoop loop = asyncio::get_running_loop();
      asyncio::Event all;
      std::thread other([&] {
        for (long i = 0; i < items; ++i)
          loop.call_soon_threadsafe([&] {
            if (++called == items) all.set();
          });
      });
      await(all.wait());
      other.join();
    });
    return items;
  });
  add("run_in_executor, round trip", "fiber", 5'000, [](long items) {
    asyncio::run([&] {
      const asyncio::EventLoop loop = asyncio::get_running_loop();
      for (long i = 0; i < items; ++i) await(loop.run_in_executor(nullptr, [] { return 1; }));
    });
    return items;
  });
  add("run_in_executor, round trip", "two threads and eventfds", 5'000, hands_over);
  add("sleep(0), 10 tasks, one loop", "fiber", 4'000'000,
      [](long items) { return yields_on(1, items); });
  add("sleep(0), 10 tasks each, two loops on two threads", "fiber", 4'000'000,
      [](long items) { return yields_on(2, items); });
}

}  // namespace works
