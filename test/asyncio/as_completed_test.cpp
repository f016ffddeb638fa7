// asyncio::as_completed, both ways to iterate.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::as_completed;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;

namespace {

auto worker(Trace& trace, std::string name, int count) {
  return asyncio::async([&trace, name, count] {
    turns(count);
    trace(name, " done");
    return name;
  });
}

}  // namespace

TEST_CASE("results come in the order in which the tasks end, two iterations later") {
  Trace trace;
  run([&] {
    for (auto next : as_completed(std::vector{worker(trace, "a", 3)(), worker(trace, "b", 0)(),
                                              worker(trace, "c", 1)()}))
      trace("next ", await(std::move(next)));
  });
  CHECK(trace.take() ==
        "[2] b done | [3] c done | [4] next b | [5] a done | [5] next c | [7] next a");
}

TEST_CASE("asynchronous iteration gives the tasks that were passed") {
  Trace trace;
  run([&] {
    std::vector<asyncio::Task<std::string>> tasks;
    for (int count : {3, 0, 1})
      tasks.push_back(create_task(worker(trace, std::to_string(count), count)(),
                                  {.name = std::to_string(count)}));
    for (const auto& task : as_completed(tasks).async_())
      trace(task == tasks[0], " ", task.get_name(), " ", task.done());
  });
  CHECK(trace.take() ==
        "[2] 0 done | [3] 1 done | [4] False 0 True | [5] 3 done | [5] False 1 True | "
        "[7] True 3 True");
}

TEST_CASE("when the time is up each remaining awaitable gives TimeoutError, and its task runs on") {
  Trace trace;
  run([&] {
    std::vector<asyncio::Task<>> tasks;
    const auto sleeper = [] { await(asyncio::sleep(5ms)); };
    tasks.push_back(create_task([&] { trace("a done"); }));
    tasks.push_back(create_task(sleeper));
    tasks.push_back(create_task(sleeper));
    for (auto next : as_completed(tasks, {.timeout = 1ms})) {
      try {
        await(std::move(next));
        trace("got");
      } catch (const fiber::TimeoutError&) {
        trace(caught());
      }
    }
    trace(tasks[1].done(), " ", tasks[2].done());
    await(asyncio::wait(tasks));
    try {
      for (const auto& task :
           as_completed(std::vector{create_task(sleeper)}, {.timeout = 1ms}).async_())
        trace("not reached ", task.done());
    } catch (const fiber::TimeoutError&) {
      trace(caught());
    }
    await(asyncio::sleep(10ms));
  });
  CHECK(trace.take() ==
        "[2] a done | [4] got | [6] TimeoutError() | [6] TimeoutError() | [6] False False | "
        "[14] TimeoutError()");
}

TEST_CASE("errors and cancellations come where they are awaited") {
  Trace trace;
  run([&] {
    const auto bad = asyncio::async([]() -> std::string { throw fiber::ValueError("x"); });
    const auto gone = asyncio::async([]() -> std::string { throw CancelledError(); });
    for (auto next : as_completed(std::vector{bad(), worker(trace, "a", 1)()})) {
      try {
        trace(await(std::move(next)));
      } catch (const fiber::ValueError&) {
        trace(caught());
      }
    }
    for (auto next : as_completed(std::vector{gone()})) {
      try {
        trace(await(std::move(next)));
      } catch (const CancelledError&) {
        trace(caught());
      }
    }
  });
  CHECK(trace.take() == "[3] a done | [4] ValueError('x') | [5] a | [8] CancelledError()");
}

TEST_CASE("an iteration that was left can be taken up again") {
  Trace trace;
  run([&] {
    const auto all = as_completed(
        std::vector{worker(trace, "0", 0)(), worker(trace, "1", 1)(), worker(trace, "2", 2)()});
    for (auto next : all) {
      trace(await(next));
      CHECK(thrown_by([&] { await(next); }) ==
            "RuntimeError('cannot reuse already awaited coroutine')");
      break;
    }
    for (auto next : all) trace("rest ", await(std::move(next)));
  });
  CHECK(trace.take() == "[2] 0 done | [3] 1 done | [4] 0 | [4] 2 done | [5] rest 1 | [6] rest 2");
}

TEST_CASE("the awaitables may be awaited in any order, and by several tasks") {
  Trace trace;
  run([&] {
    const auto collected = [&] {
      std::vector<asyncio::AsCompleted<asyncio::Task<std::string>>::awaitable_type> list;
      for (auto next : as_completed(std::vector{worker(trace, "a", 1)(), worker(trace, "b", 3)()}))
        list.push_back(std::move(next));
      return list;
    };
    auto list = collected();
    trace(await(std::move(list[1])));
    trace(await(std::move(list[0])));
    auto again = collected();
    const auto [a, b] = await(asyncio::gather(std::move(again[0]), std::move(again[1])));
    trace(a, " ", b);
  });
  CHECK(trace.take() ==
        "[3] a done | [5] a | [5] b done | [7] b | [9] a done | [11] b done | [15] a b");
}

TEST_CASE("an awaitable that is passed twice comes once; an empty list gives nothing") {
  Trace trace;
  run([&] {
    auto task = create_task(worker(trace, "once", 0)());
    for (auto next : as_completed(std::vector{task, task})) trace(await(std::move(next)));
    for (auto next : as_completed(std::vector<asyncio::Task<std::string>>{}))
      trace(await(std::move(next)));
  });
  CHECK(trace.take() == "[2] once done | [4] once");
}

TEST_CASE("tasks that fail after their iteration was given up are reported when nobody has them") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    const auto bad = asyncio::async([](int count) {
      turns(count);
      throw fiber::ValueError(std::to_string(count));
    });
    for (auto next : as_completed(std::vector{bad(1), bad(2)}, {.timeout = 10s})) {
      static_cast<void>(next);
      break;
    }
    turns(6);
    trace("main");
    for (auto next : as_completed(std::vector{bad(0)}, {.timeout = 0s})) {
      try {
        await(std::move(next));
      } catch (const fiber::TimeoutError&) {
        trace(caught());
      }
    }
  });
  CHECK(trace.take() ==
        "[5] EXC_HANDLER Task exception was never retrieved ValueError('1') | "
        "[5] EXC_HANDLER Task exception was never retrieved ValueError('2') | [7] main | "
        "[9] EXC_HANDLER Task exception was never retrieved ValueError('0') | [9] TimeoutError()");
}

TEST_CASE("awaitables may be listed in the call") {
  Trace trace;
  run([&] {
    for (auto next : as_completed({worker(trace, "a", 1)(), worker(trace, "b", 0)()}))
      trace("next ", await(std::move(next)));
  });
  CHECK(trace.take() == "[2] b done | [3] a done | [4] next b | [4] next a");
}

TEST_CASE("an iteration whose loop is closed leaves nothing behind") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  {
    auto future = loop.create_future();
    loop.run_until_complete([&] {
      auto all = as_completed(std::vector{future}, {.timeout = 10s});
      static_cast<void>(all);
    });
    loop.close();
  }
  CHECK(loop.object().futures_alive == 0);
}

TEST_CASE("as_completed of a closed loop's futures fails, and leaves nothing in them") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  asyncio::set_event_loop(loop);
  auto pending = loop.create_future<int>();
  const auto done = loop.create_future<int>();
  done.set_result(1);
  loop.close();
  CHECK(thrown_by([&] {
          static_cast<void>(asyncio::as_completed({pending, done}));
        }) == "RuntimeError('Event loop is closed')");
  CHECK(repr(pending).find("cb=") == std::string::npos);
  asyncio::set_event_loop(asyncio::EventLoop());
}
