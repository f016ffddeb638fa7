// Deadlines that come in the very iteration in which nobody waits for them any more.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <vector>

#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::testing::run_test;
using support::Events;

namespace {

// Makes a deadline come while a task is already about to be resumed by something else.
void advance(std::chrono::nanoseconds time) {
  asyncio::testing::VirtualClock clock(asyncio::get_running_loop().time() + time);
  clock.attach(asyncio::get_running_loop());
}

// What a later fiber has on the stack of an earlier one.
int overwrite(int depth) {
  volatile char bytes[200] = {};
  return depth == 0 ? bytes[100] : overwrite(depth - 1) + bytes[0];
}

}  // namespace

TEST_CASE("a sleep that is cancelled in the iteration before its end leaves no timer behind") {
  for (const std::uint64_t shuffle : {0U, 7U}) {
    Events events;
    run_test(
        [&] {
          std::vector<asyncio::Task<void>> sleepers;
          for (int i = 0; i < 100; ++i)
            sleepers.push_back(asyncio::create_task([] { await(asyncio::sleep(1s)); }));
          await(asyncio::sleep(0));
          await(asyncio::sleep(0));
          for (const auto& sleeper : sleepers) sleeper.cancel();
          advance(1s);  // their deadlines come after what resumes them
          const auto next = asyncio::create_task([] { overwrite(10); });
          await(asyncio::sleep(0));
          await(next);
          await(asyncio::sleep(0));
          for (const auto& sleeper : sleepers) CHECK(sleeper.cancelled());
          events("ended");
        },
        {.shuffle = shuffle});
    CHECK(events.take() == "ended");
  }
}

TEST_CASE("a wait whose futures are done in the iteration before its time limit leaves no timer") {
  run_test([] {
    const auto future = asyncio::get_running_loop().create_future<int>();
    const auto waiting = asyncio::create_task([&] {
      const auto [done, pending] =
          await(asyncio::wait(std::vector{future}, {.timeout = 1s}));
      CHECK(done.size() == 1);
      overwrite(10);
    });
    await(asyncio::sleep(0));
    waiting.cancel();
    advance(1s);
    await(asyncio::sleep(0));
    CHECK(waiting.cancelled());
    future.cancel();
    await(asyncio::sleep(0));
  });
}
