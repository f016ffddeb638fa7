// Cancellations of tasks that wait for tasks that wait for others.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;

TEST_CASE("a cancellation goes down a chain of tasks of any length") {
  run([] {
    constexpr int kLength = 20'000;
    const auto innermost = get_running_loop().create_future();
    std::vector<asyncio::Task<>> chain{create_task([=] { await(innermost); })};
    while (chain.size() < kLength)
      chain.push_back(create_task([inner = chain.back()] { await(inner); }));
    turns(1);
    chain.back().cancel("far");
    CHECK(innermost.cancelled());
    CHECK(thrown_by([&] { await(chain.back()); }) == "CancelledError('far')");
    CHECK(chain.front().cancelled());
  });
}

TEST_CASE("a cancellation goes down gathers in gathers to any depth") {
  run([] {
    constexpr int kDepth = 5'000;
    const auto innermost = get_running_loop().create_future();
    int cancelled = 0;
    std::function<void(int)> descend = [&](int depth) {
      try {
        if (depth == 0)
          await(innermost);
        else
          await(asyncio::gather([&, depth] { descend(depth - 1); }));
      } catch (const CancelledError&) {
        ++cancelled;
        throw;
      }
    };
    const auto task = create_task([&] { descend(kDepth); });
    turns(kDepth + 1);
    CHECK(task.cancel("far"));
    CHECK(innermost.cancelled());
    CHECK(thrown_by([&] { await(task); }) == "CancelledError('far')");
    CHECK(cancelled == kDepth + 1);
  });
}
