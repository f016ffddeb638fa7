#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::BrokenBarrierError;

namespace {

std::string state_of(const asyncio::Barrier& barrier) {
  const std::string text = barrier.repr();
  return text.substr(text.find('['));
}

}  // namespace

TEST_CASE("the last to come does not wait and goes first") {
  Trace trace;
  run([&] {
    const asyncio::Barrier barrier(3);
    const auto user = asyncio::async([&](std::string name) {
      trace(name, " arrives");
      trace(name, " index ", await(barrier.wait()));
    });
    await(asyncio::gather(user("a"), user("b"), user("c")));
  });
  CHECK(trace.take() ==
        "[2] a arrives | [2] b arrives | [2] c arrives | [2] c index 2 | [3] a index 0 | "
        "[3] b index 1");
}

TEST_CASE("a cancelled waiter leaves; abort breaks the barrier until reset; reset throws") {
  Trace trace;
  run([&] {
    const asyncio::Barrier barrier(2);
    const auto user = [&](std::string name) {
      try {
        trace(name, " index ", await(barrier.wait()));
      } catch (...) {
        trace(name, " ", caught());
      }
    };
    auto x = asyncio::create_task([&] { user("x"); });
    turns(1);
    trace("n_waiting ", barrier.n_waiting());
    x.cancel();
    await(asyncio::wait(std::vector{x}));
    trace("n_waiting ", barrier.n_waiting(), " broken ", barrier.broken());
    auto y = asyncio::create_task([&] { user("y"); });
    turns(1);
    await(barrier.abort());
    await(asyncio::wait(std::vector{y}));
    trace("broken ", barrier.broken());
    user("late");
    await(barrier.reset());
    trace("broken after reset ", barrier.broken());
    auto z = asyncio::create_task([&] { user("z"); });
    turns(1);
    await(barrier.reset());
    await(asyncio::wait(std::vector{z}));
  });
  CHECK(trace.take() ==
        "[2] n_waiting 1 | [3] x CancelledError() | [5] n_waiting 0 broken False | "
        "[7] y BrokenBarrierError('Abort or reset of barrier') | [9] broken True | "
        "[9] late BrokenBarrierError('Barrier aborted') | [9] broken after reset False | "
        "[11] z BrokenBarrierError('Abort or reset of barrier')");
}

TEST_CASE("a task that comes while a round is leaving waits for the next round") {
  Trace trace;
  run([&] {
    const asyncio::Barrier barrier(2);
    std::vector<asyncio::Task<>> tasks;
    for (const std::string name : {"a", "b", "c", "d", "e", "f"})
      tasks.push_back(asyncio::create_task([&, name] {
        trace(name, " arrives ", state_of(barrier));
        trace(name, " index ", await(barrier.wait()));
      }));
    await(asyncio::wait(tasks));
    trace(state_of(barrier));
  });
  CHECK(trace.take() ==
        "[2] a arrives [filling, waiters:0/2]> | [2] b arrives [filling, waiters:1/2]> | "
        "[2] b index 1 | [2] c arrives [draining, waiters:0/2]> | "
        "[2] d arrives [draining, waiters:0/2]> | [2] e arrives [draining, waiters:0/2]> | "
        "[2] f arrives [draining, waiters:0/2]> | [3] a index 0 | [4] d index 1 | "
        "[5] c index 0 | [6] f index 1 | [7] e index 0 | [9] [filling, waiters:0/2]>");
}

TEST_CASE("a barrier can be used again after reset") {
  Trace trace;
  run([&] {
    const asyncio::Barrier barrier(3);
    const auto user = [&](std::string name) {
      try {
        trace(name, " index ", await(barrier.wait()));
      } catch (const BrokenBarrierError&) {
        trace(name, " ", caught());
      }
    };
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    trace("reset");
    await(barrier.reset());
    trace(state_of(barrier));
    auto c = asyncio::create_task([&] {
      trace("c comes ", state_of(barrier));
      user("c");
    });
    turns(6);
    trace(state_of(barrier));
    c.cancel();
    await(asyncio::wait(std::vector{a, b}));
  });
  CHECK(trace.take() ==
        "[2] reset | [2] [resetting, waiters:0/3]> | "
        "[3] a BrokenBarrierError('Abort or reset of barrier') | "
        "[3] b BrokenBarrierError('Abort or reset of barrier') | "
        "[3] c comes [filling, waiters:0/3]> | [8] [filling, waiters:1/3]>");
}

TEST_CASE("asyncio::with gives the index to the block") {
  Trace trace;
  run([&] {
    const asyncio::Barrier barrier(2);
    auto task = asyncio::create_task(
        [&] { return asyncio::with(barrier, [&](std::size_t index) { return index; }); });
    turns(1);
    CHECK(barrier.n_waiting() == 1);
    CHECK(asyncio::with(barrier, [](auto index) { return index; }) == 1);
    CHECK(await(task) == 0);
    CHECK(barrier.parties() == 2);
    CHECK(barrier.repr().starts_with("<asyncio.locks.Barrier object at 0x"));
    await(barrier.abort());
    CHECK(state_of(barrier) == "[broken]>");
  });
}

TEST_CASE("a barrier needs a party, and one party never waits") {
  CHECK(thrown_by([] { asyncio::Barrier(0); }) == "ValueError('parties must be > 0')");
  CHECK(thrown_by([] { asyncio::Barrier(-1); }) == "ValueError('parties must be > 0')");
  CHECK(run([] { return await(asyncio::Barrier(1).wait()); }) == 0);
}

TEST_CASE("a loop that ends under waiting tasks unwinds them") {
  const asyncio::EventLoop loop = virtual_loop();
  loop.set_exception_handler([](const auto&, const auto&) {});
  const asyncio::Barrier barrier(3);
  auto a = loop.create_task(barrier.wait());
  auto b = loop.create_task(barrier.wait());
  loop.run_until_complete(asyncio::sleep(0));
  CHECK(barrier.n_waiting() == 2);
  loop.close();
  CHECK(a.cancelled());
  CHECK(b.cancelled());
  CHECK(barrier.n_waiting() == 0);
}
