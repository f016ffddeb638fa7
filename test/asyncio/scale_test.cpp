// Many tasks that meet; all their events come as in CPython.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::TaskGroup;

namespace {

constexpr int kTasks = 10'000;
constexpr int kLocks = 50;
constexpr int kPlaces = 20;

class Random {
 public:
  explicit Random(int seed) : state_(static_cast<std::uint32_t>(seed)) {}
  int operator()(int n) {
    state_ = state_ * 1664525U + 1013904223U;
    return static_cast<int>((state_ >> 16U) % static_cast<std::uint32_t>(n));
  }

 private:
  std::uint32_t state_;
};

// The number of events, and a hash over all of them.
class Hash {
 public:
  void operator()(int task, int what) {
    ++count;
    const auto now = asyncio::get_running_loop().time() / 1us;
    for (const char byte :
         std::to_string(now) + " " + std::to_string(task) + " " + std::to_string(what) + ";")
      hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
  }
  int count = 0;
  std::uint64_t hash = 0xcbf29ce484222325U;
};

std::chrono::milliseconds ms(int count) { return std::chrono::milliseconds(count); }

struct Things {
  Hash note;
  std::vector<asyncio::Lock> locks{kLocks};
  std::vector<asyncio::Semaphore> places;
};

void worker(int number, Things& things) {
  Random random(number);
  for (int step = 0; step < 5; ++step) {
    const int op = random(5);
    try {
      switch (op) {
        case 0: await(asyncio::sleep(ms(random(20)))); break;
        case 1:
          asyncio::with(things.locks[random(kLocks)], [&] {
            things.note(number, 90);
            await(asyncio::sleep(ms(random(3))));
          });
          break;
        case 2:
          asyncio::with(asyncio::timeout(ms(1 + random(10))),
                        [&] { await(asyncio::sleep(ms(random(20)))); });
          break;
        case 3: await(asyncio::sleep(0)); break;
        default: asyncio::with(things.places[random(kPlaces)], [] { await(asyncio::sleep(0)); });
      }
      things.note(number, step * 10 + op);
    } catch (const fiber::TimeoutError&) {
      things.note(number, 91);
    } catch (const CancelledError&) {
      things.note(number, 92);
      if (random(3) == 0) throw;
    }
  }
}

}  // namespace

TEST_CASE("ten thousand tasks with locks, timeouts and random cancellations: CPython's events") {
  run([] {
    Things things;
    for (int i = 0; i < kPlaces; ++i) things.places.emplace_back(3);
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < kTasks; ++i)
      tasks.push_back(asyncio::create_task([&things, i] { worker(i, things); }));
    Random random(kTasks);
    for (int round = 0; round < 300; ++round) {
      await(asyncio::sleep(ms(random(3))));
      for (int i = 0; i < 20; ++i) tasks[random(kTasks)].cancel();
    }
    await(asyncio::wait(tasks));
    for (int i = 0; i < kTasks; ++i) things.note(i, 100 + static_cast<int>(tasks[i].cancelled()));
    // Results of conformance/ten_thousand.py.
    CHECK(things.note.count == 67740);
    CHECK(things.note.hash == 0xdd2a55bd83dcc7eeU);
  });
}

TEST_CASE("many waiters are woken one by one in a single step") {
  constexpr int kWaiters = 20'000;
  run([&] {
    const asyncio::Semaphore semaphore(0);
    const asyncio::Condition condition;
    std::vector<int> passed, woken;
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < kWaiters; ++i) {
      tasks.push_back(asyncio::create_task([&, i] {
        await(semaphore.acquire());
        passed.push_back(i);
      }));
      tasks.push_back(asyncio::create_task([&, i] {
        asyncio::with(condition, [&] { await(condition.wait()); });
        woken.push_back(i);
      }));
    }
    turns(1);
    for (int i = 0; i < kWaiters; ++i) semaphore.release();
    asyncio::with(condition, [&] {
      for (int i = 0; i < kWaiters; ++i) condition.notify();
    });
    await(asyncio::wait(tasks));
    std::vector<int> in_order(kWaiters);
    std::iota(in_order.begin(), in_order.end(), 0);
    CHECK(passed == in_order);
    CHECK(woken == in_order);
  });
}

TEST_CASE("a group runs many tasks to their ends") {
  run([] {
    int sum = 0;
    asyncio::with(TaskGroup(), [&](TaskGroup& group) {
      for (int i = 0; i < 1000; ++i)
        group.create_task([&sum, i] {
          turns(i % 3);
          sum += i;
        });
    });
    CHECK(sum == 499500);
  });
}
