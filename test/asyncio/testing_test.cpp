// Tools for users' tests: virtual time, shuffled batches, and runs that notice leftovers.
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

#include "support/events.hpp"
#include "support/log.hpp"

using namespace support;
using namespace std::chrono_literals;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::create_task;
using asyncio::testing::LeftBehind;
using asyncio::testing::run_test;
using asyncio::testing::VirtualClock;

namespace {

std::string what_is_left(const std::string& error) {
  const std::size_t line = error.find('\n');
  return error.substr(0, line) + (line == std::string::npos ? "" : " ...");
}

// Returns the order in which three ready tasks run.
std::string order_with(std::uint64_t seed) {
  Events events;
  run_test(
      [&] {
        std::vector<asyncio::Task<>> tasks;
        for (int i = 0; i < 3; ++i) tasks.push_back(create_task([&events, i] { events(i); }));
        await(asyncio::gather(tasks));
      },
      {.shuffle = seed});
  return events.take();
}

}  // namespace

TEST_CASE("hours pass at once, in the order of their deadlines") {
  Events events;
  const auto began = std::chrono::steady_clock::now();
  run_test([&] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    const auto start = loop.time();
    loop.call_later(std::chrono::hours(3), [&] { events("three"); });
    auto day = create_task([&] {
      await(asyncio::sleep(std::chrono::hours(24)));
      events("day");
    });
    await(asyncio::sleep(std::chrono::hours(2)));
    events("two");
    await(day);
    CHECK(loop.time() - start == std::chrono::hours(24));
  });
  CHECK(events.take() == "two three day");
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::hours(1));
}

TEST_CASE("a clock stands still while something is ready, and may be moved by hand") {
  Events events;
  const VirtualClock clock(100s);
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  clock.attach(loop);
  loop.run_until_complete([&] {
    CHECK(loop.time() == 100s);
    for (int i = 0; i < 100; ++i) await(asyncio::sleep(0));
    CHECK(loop.time() == 100s);
    loop.call_later(5s, [&] { events("timer"); });
    clock.advance(7s);
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    CHECK(events.take() == "timer");
    CHECK(clock.time() == 107s);
  });
  loop.close();
}

TEST_CASE("a clock may begin below zero, and stops at its end") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const VirtualClock clock(-10s);
  clock.attach(loop);
  loop.run_until_complete([&] {
    await(asyncio::sleep(1s));
    CHECK(clock.time() == -9s);
    asyncio::with(asyncio::timeout(5s), [] { await(asyncio::sleep(0.5)); });
    CHECK(clock.time() == -8.5s);
    const auto never = loop.call_at(std::chrono::hours::max(), [] {});
    CHECK(loop.poll_timeout() > 0);
    await(asyncio::sleep(0.5));
    never.cancel();
    clock.advance(0.5s);
    CHECK(clock.time() == -7.5s);
    clock.advance(asyncio::nanoseconds::max());
    const asyncio::nanoseconds end = clock.time();
    CHECK(end > 100 * 365 * 24h);
    clock.advance(std::chrono::hours::max());
    await(asyncio::sleep(1s));
    clock.advance(1s);
    CHECK(clock.time() >= end);
    clock.advance(std::chrono::hours::min());
    CHECK(clock.time() < end);
  });
  loop.close();
  CHECK(VirtualClock(std::chrono::hours::max()).time() > 100 * 365 * 24h);
  CHECK(VirtualClock(-1.5s).time() == -1500ms);
}

TEST_CASE("a loop that waits for another thread does not jump meanwhile") {
  CHECK(run_test([] {
          const auto job = [] {
            std::this_thread::sleep_for(20ms);
            return 7;
          };
          return await(asyncio::wait_for(asyncio::to_thread(job), 1s));
        }) == 7);
}

TEST_CASE("a shuffled batch runs in another order, which the seed decides") {
  CHECK(order_with(0) == "0 1 2");
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    orders.insert(order_with(seed));
    CHECK(order_with(seed) == order_with(seed));
  }
  CHECK(orders.size() > 3);
}

TEST_CASE("a test returns what its body returns, and throws what it throws") {
  CHECK(run_test([] { return std::string("value"); }) == "value");
  CHECK(thrown_by([] { run_test([] { throw fiber::ValueError("failed"); }); }) ==
        "ValueError('failed')");
  CHECK(thrown_by([] { run_test([] { run_test([] {}); }); }) ==
        "RuntimeError('run_test() cannot be called from a running event loop')");
}

TEST_CASE("a task that runs on fails the test, and is ended") {
  Events events;
  const auto body = [&] {
    static_cast<void>(create_task(
        [&] {
          const AtEnd end([&] { events("ended"); });
          await(asyncio::sleep(1h));
        },
        {.name = "runs on"}));
    await(asyncio::sleep(0));
  };
  try {
    run_test(body);
    events("passed");
  } catch (const LeftBehind& error) {
    events(what_is_left(error.what()));
    CHECK(std::string(error.what()).find("name='runs on'") != std::string::npos);
  }
  CHECK(events.take() == "ended the test left something behind ...");
  run_test(body, {.allow_tasks = true});
  CHECK(events.take() == "ended");
}

TEST_CASE("a pending future that someone refers to fails the test") {
  asyncio::Future<int> kept;
  const auto body = [&] { kept = asyncio::get_running_loop().create_future<int>(); };
  CHECK_THROWS_AS(run_test(body), LeftBehind);
  run_test(body, {.allow_futures = true});
  // A future that a task waits for is no leftover: it goes with the task.
  asyncio::Task<int> waits;
  run_test(
      [&] {
        kept = asyncio::get_running_loop().create_future<int>();
        waits = asyncio::create_task([&] { return await(kept); });
        await(asyncio::sleep(0));
      },
      {.allow_tasks = true});
  run_test([&] {
    kept = asyncio::get_running_loop().create_future<int>();
    kept.set_result(1);
  });
}

TEST_CASE("a descriptor that was not open before fails the test") {
  int fd = -1;
  const auto body = [&] { fd = ::dup(0); };
  CHECK_THROWS_AS(run_test(body), LeftBehind);
  ::close(fd);
  run_test(body, {.allow_descriptors = true});
  ::close(fd);
  run_test([] { ::close(::dup(0)); });
}

TEST_CASE("a test that waits for what can never happen fails, naming its tasks") {
  const std::string error =
      thrown_by([] { run_test([] { await(asyncio::get_running_loop().create_future()); }); });
  CHECK(error.find("nothing is ready, no timer is set") != std::string::npos);
  CHECK(error.find("<Task pending name=") != std::string::npos);
}

TEST_CASE("a test may run in debug mode") {
  run_test([] { CHECK(asyncio::get_running_loop().get_debug()); }, {.debug = true});
}
