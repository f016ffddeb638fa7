// Random order, and the virtual clock among descriptors, threads and several loops.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;
using asyncio::testing::run_test;
using asyncio::testing::VirtualClock;

TEST_CASE("one clock serves several loops of a thread") {
  const VirtualClock clock;
  const asyncio::EventLoop first = asyncio::new_event_loop();
  const asyncio::EventLoop second = asyncio::new_event_loop();
  clock.attach(first);
  clock.attach(second);
  first.run_until_complete([] { await(asyncio::sleep(1h)); });
  CHECK(second.time() == 1h);
  second.run_until_complete([] { await(asyncio::sleep(1h)); });
  CHECK(first.time() == 2h);
  first.close();
  second.close();
}

TEST_CASE("descriptors are looked at before the clock jumps, and threads are waited for") {
  const support::Pipe pipe;
  Trace trace;
  run_test(
      [&] {
        const auto loop = get_running_loop();
        const auto start = loop.time();
        const auto read = loop.create_future();
        loop.add_reader(pipe.reads, [&, loop] {
          loop.remove_reader(pipe.reads);
          read.set_result();
        });
        REQUIRE(::write(pipe.writes, "x", 1) == 1);
        const auto timer = loop.call_later(1h, [&] { trace("timer first"); });
        await(read);
        timer.cancel();
        trace("read at ", (loop.time() - start) / 1s);
        const auto result = await(asyncio::wait_for(asyncio::to_thread([] {
                                                      std::this_thread::sleep_for(20ms);
                                                      return 7;
                                                    }),
                                                    1h));
        trace("thread ", result);
      },
      {.allow_descriptors = true});
  const std::string text = trace.take();
  CHECK(text.find("timer first") == std::string::npos);
  CHECK(text.find("read at 0") != std::string::npos);
  CHECK(text.find("thread 7") != std::string::npos);
}

TEST_CASE("a shuffled loop runs each batch in an order of its seed; what is right stays right") {
  const auto order = [](std::uint64_t seed) {
    return run_test(
        [] {
          std::string text;
          std::vector<asyncio::Task<>> tasks;
          for (char name = 'a'; name < 'i'; ++name)
            tasks.push_back(create_task([&text, name] { text += name; }));
          await(asyncio::wait(tasks));
          return text;
        },
        {.shuffle = seed});
  };
  CHECK(order(0) == "abcdefgh");
  CHECK(order(1) == order(1));
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::string text = order(seed);
    orders.insert(text);
    std::sort(text.begin(), text.end());
    CHECK(text == "abcdefgh");
  }
  CHECK(orders.size() > 10);

  // A program that does not depend on the order: locks, queues, groups, timeouts, cancellations.
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const int total = run_test(
        [] {
          asyncio::Queue<int> queue(3);
          asyncio::Lock lock;
          asyncio::Semaphore semaphore(2);
          int sum = 0;
          int inside = 0;
          int timeouts = 0;
          asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
            for (int i = 1; i <= 10; ++i)
              group.create_task([&, i] {
                await(asyncio::sleep(std::chrono::milliseconds(i % 3)));
                await(queue.put(i));
              });
            for (int i = 1; i <= 10; ++i)
              group.create_task([&] {
                const int got = await(queue.get());
                asyncio::with(semaphore, [&] {
                  CHECK(++inside <= 2);
                  turns(1);
                  --inside;
                });
                asyncio::with(lock, [&] {
                  const int before = sum;
                  await(asyncio::sleep(1ms));
                  sum = before + got;
                });
              });
            auto cancelled = group.create_task([] { await(asyncio::sleep(1h)); });
            turns(2);
            cancelled.cancel();
            try {
              asyncio::with(asyncio::timeout(1ms), [] { await(asyncio::sleep(1h)); });
            } catch (const fiber::TimeoutError&) {
              timeouts = 100;
            }
          });
          return sum + timeouts;
        },
        {.shuffle = seed});
    CHECK(total == 155);
  }
}
