// asyncio::wait: the time and the value of its return.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::Task;
using asyncio::wait;

namespace {

std::string names(const std::vector<Task<>>& tasks) {
  std::string text;
  for (const auto& task : tasks) text += (text.empty() ? "" : ", ") + task.get_name();
  return "[" + text + "]";
}

std::string both(const asyncio::wait_result<Task<>>& result) {
  return names(result.done) + " " + names(result.pending);
}

Task<> named(std::string name, auto body) {
  return create_task(std::move(body), {.name = std::move(name)});
}

Task<> worker(Trace& trace, std::string name, int count) {
  return named(name, [&trace, name, count] {
    turns(count);
    trace(name, " done");
  });
}

}  // namespace

TEST_CASE("wait takes tasks of any type, as all_tasks() returns them") {
  run([] {
    const auto fast = create_task([] { return 1; });
    const auto slow = create_task([] { turns(9); });
    std::vector<asyncio::TaskRef> others;
    for (const asyncio::TaskRef& task : asyncio::all_tasks())
      if (task != asyncio::current_task()) others.push_back(task);
    others.push_back(others.front());
    const auto first = await(wait(others, {.return_when = asyncio::FIRST_COMPLETED}));
    CHECK(first.done == std::vector<asyncio::TaskRef>{others[0]});
    CHECK(first.done[0] == fast);
    CHECK(first.pending == std::vector<asyncio::TaskRef>{others[1]});
    CHECK(first.pending[0].get_name() == slow.get_name());
    CHECK(await(wait(first.pending)).done.size() == 1);
  });
}

TEST_CASE("wait returns two iterations after the first, with what has ended by then") {
  Trace trace;
  run([&] {
    std::vector<Task<>> tasks;
    for (int i = 0; int count : {0, 0, 1, 2, 3})
      tasks.push_back(worker(trace, std::to_string(i++), count));
    trace(both(await(wait(tasks, {.return_when = asyncio::FIRST_COMPLETED}))));
    trace(both(await(wait(tasks))));
    // All are done: it takes two iterations nevertheless.
    trace(both(await(wait(tasks))));
  });
  CHECK(trace.take() ==
        "[2] 0 done | [2] 1 done | [3] 2 done | [4] [0, 1, 2] [3, 4] | [4] 3 done | [5] 4 done | "
        "[7] [0, 1, 2, 3, 4] [] | [9] [0, 1, 2, 3, 4] []");
}

TEST_CASE("a wait whose time is up throws nothing and leaves the tasks alone") {
  Trace trace;
  run([&] {
    auto slow = named("w", [&] {
      await(asyncio::sleep(5ms));
      trace("w done");
    });
    trace(both(await(wait(std::vector{slow}, {.timeout = 1ms}))), " ", slow.cancelled());
    await(wait(std::vector{slow}));
    // A timeout of zero is one pass.
    auto quick = named("q", [&] { trace("quick"); });
    trace(both(await(wait(std::vector{quick}, {.timeout = 0s}))));
    trace(both(await(wait(std::vector{quick}, {.timeout = 10s}))));
    trace("timers ", asyncio::get_running_loop().time() < 1s);
  });
  CHECK(trace.take() ==
        "[4] [] [w] False | [6] w done | [9] quick | [10] [q] [] | [12] [q] [] | [12] timers True");
}

TEST_CASE("a task that ends when the time is up comes too late") {
  Trace trace;
  run([&] {
    const auto sleeper = [&](std::string name, auto delay) {
      return named(name, [&trace, name, delay] {
        await(asyncio::sleep(delay));
        trace(name);
      });
    };
    auto a = sleeper("a", 10ms);
    auto b = sleeper("b", 15ms);
    trace(both(await(wait(std::vector{a, b}, {.timeout = 15ms}))));
    await(b);
  });
  CHECK(trace.take() == "[4] a | [7] [a] [b] | [7] b");
}

TEST_CASE("FIRST_EXCEPTION waits for an error; a cancelled task is none") {
  Trace trace;
  run([&] {
    auto cancelled = named("c", [] { await(asyncio::sleep(10s)); });
    auto bad = named("bad", [] {
      turns(2);
      throw fiber::ValueError("x");
    });
    auto longer = named("l", [] { turns(6); });
    turns(1);
    cancelled.cancel();
    trace(both(await(
        wait(std::vector{cancelled, bad, longer}, {.return_when = asyncio::FIRST_EXCEPTION}))));
    trace(bad.exception());
    // A task that has failed already counts.
    trace(both(await(wait(std::vector{bad, longer}, {.return_when = asyncio::FIRST_EXCEPTION}))));
    await(longer);
  });
  CHECK(trace.take() == "[6] [c, bad] [l] | [6] ValueError('x') | [8] [bad] [l]");
}

TEST_CASE("cancelling a wait cancels only the wait") {
  Trace trace;
  run([&] {
    auto child = worker(trace, "child", 3);
    auto waiter = create_task([&] { await(wait(std::vector{child})); });
    turns(2);
    waiter.cancel();
    turns(1);
    trace(waiter.cancelled(), " ", child.done());
    await(child);
  });
  CHECK(trace.take() == "[4] True False | [5] child done");
}

TEST_CASE("a task that is passed twice counts once; errors of futures stay in the futures") {
  Trace trace;
  run([&] {
    auto task = worker(trace, "t", 0);
    trace(both(await(wait(std::vector{task, task, task}))));
    const auto loop = asyncio::get_running_loop();
    const auto future = loop.create_future();
    loop.call_soon([&] { future.set_exception(fiber::ValueError("f")); });
    const auto result = await(wait(std::vector{future}, {.return_when = asyncio::FIRST_EXCEPTION}));
    trace(result.done.size(), " ", future.exception());
  });
  CHECK(trace.take() == "[2] t done | [4] [t] [] | [7] 1 ValueError('f')");
}

TEST_CASE("tasks may be listed in the call, or come from any range") {
  Trace trace;
  run([&] {
    const Task<> a = worker(trace, "a", 0), b = worker(trace, "b", 1);
    trace(both(await(wait({a, b}, {.return_when = asyncio::FIRST_COMPLETED}))));
    const std::vector all{b, worker(trace, "c", 0), worker(trace, "d", 0)};
    const auto until_d = [](const Task<>& task) { return task.get_name() != "d"; };
    trace(both(await(wait(all | std::views::take_while(until_d)))));
    await(all.back());
  });
  CHECK(trace.take() ==
        "[2] a done | [3] b done | [4] [a, b] [] | [5] c done | [5] d done | [7] [b, c] []");
}

TEST_CASE("waiting for nothing is an error; a coroutine cannot be waited for") {
  run([&] {
    CHECK(thrown_by([] { await(wait(std::vector<Task<>>{})); }) ==
          "ValueError('Set of Tasks/Futures is empty.')");
  });
  // A static_assert in wait() refuses other types: it takes those with a result_type, and
  // FutureRef.
  CHECK_FALSE(asyncio::future_like<asyncio::Coroutine<int>>);
}
