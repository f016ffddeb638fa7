// The README's programs with asyncio.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::nanoseconds;

namespace {

support::Events say;

void worker(int number, asyncio::Queue<nanoseconds> queue) {
  for (;;) {
    nanoseconds delay = await(queue.get());
    say("w" + std::to_string(number) + " sleeps " + std::to_string(delay / 1ms) + " ms");
    await(asyncio::sleep(delay));
    queue.task_done();
  }
}

}  // namespace

// Python's output is equal: w0 sleeps 100 ms, w1 sleeps 200 ms, w0 sleeps 300 ms, done.
TEST_CASE("workers of a group take delays from a queue until it is empty") {
  support::run([] {
    asyncio::Queue<nanoseconds> queue;
    for (nanoseconds delay : {100ms, 200ms, 300ms}) queue.put_nowait(delay);
    asyncio::with(asyncio::timeout(10s), [&] {
      asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
        std::vector<asyncio::Task<>> workers;
        for (int i = 0; i < 2; ++i) workers.push_back(group.create_task([=] { worker(i, queue); }));
        await(queue.join());
        for (auto& w : workers) w.cancel();
      });
    });
    say("done");
  });
  CHECK(say.take() == "w0 sleeps 100 ms w1 sleeps 200 ms w0 sleeps 300 ms done");
}
