// The order of events: the ready queue, timers, futures and sleeps.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::get_running_loop;

namespace {

template <class F>
asyncio::Handle soon(F function) {
  return get_running_loop().call_soon(std::move(function));
}
template <class F>
asyncio::TimerHandle later(asyncio::nanoseconds delay, F function) {
  return get_running_loop().call_later(delay, std::move(function));
}

}  // namespace

TEST_CASE("what a callback queues runs an iteration later, behind what was queued before") {
  Trace trace;
  run([&] {
    trace("main start");
    soon([&] {
      trace("a");
      soon([&] { trace("c"); });
    });
    soon([&] {
      trace("b");
      soon([&] { trace("d"); });
    });
    turns(1);
    trace("main 1");
    turns(1);
    trace("main 2");
  });
  CHECK(trace.take() == "[1] main start | [2] a | [2] b | [2] main 1 | [3] c | [3] d | [3] main 2");
}

TEST_CASE("create_task only queues the first step") {
  Trace trace;
  run([&] {
    const auto worker = asyncio::async([&](std::string name) {
      trace(name, " step1");
      turns(1);
      trace(name, " step2");
    });
    trace("main before");
    auto t1 = asyncio::create_task(worker("t1"));
    auto t2 = asyncio::create_task(worker("t2"));
    trace("main after create");
    turns(1);
    trace("main after sleep0");
    await(t1);
    trace("main after await t1");
    await(t2);
    trace("main after await t2");
  });
  CHECK(trace.take() ==
        "[1] main before | [1] main after create | [2] t1 step1 | [2] t2 step1 | "
        "[2] main after sleep0 | [3] t1 step2 | [3] t2 step2 | [4] main after await t1 | "
        "[4] main after await t2");
}

TEST_CASE("a done future does not suspend; a pending one wakes an iteration after it is set") {
  Trace trace;
  run([&] {
    const auto done = get_running_loop().create_future<int>();
    done.set_result(1);
    soon([&] { trace("call_soon cb"); });
    CHECK(await(done) == 1);
    trace("awaited done future (before cb)");
    const auto pending = get_running_loop().create_future<int>();
    soon([&] {
      trace("set_result");
      pending.set_result(2);
      trace("set_result returned");
      soon([&] { trace("cb after setter"); });
    });
    CHECK(await(pending) == 2);
    trace("awaited undone future");
    turns(1);
  });
  CHECK(trace.take() ==
        "[1] awaited done future (before cb) | [2] call_soon cb | [2] set_result | "
        "[2] set_result returned | [3] awaited undone future | [3] cb after setter");
}

TEST_CASE("two tasks that sleep(0) in turn alternate strictly") {
  Trace trace;
  run([&] {
    const auto worker = asyncio::async([&](std::string name) {
      for (int i = 0; i < 3; ++i) {
        trace(name, " ", i);
        await(asyncio::sleep(0));
      }
    });
    await(asyncio::gather(worker("a"), worker("b")));
  });
  CHECK(trace.take() == "[2] a 0 | [2] b 0 | [3] a 1 | [3] b 1 | [4] a 2 | [4] b 2");
}

TEST_CASE("a sleep of zero or less takes one iteration, any other goes by the timers") {
  Trace trace;
  run([&] {
    trace("a");
    await(asyncio::sleep(-1));
    trace("b");
    turns(1);
    trace("c ", await(asyncio::sleep(0, std::string("res"))));
    await(asyncio::sleep(1ns));
    trace("after sleep(1e-9)");
  });
  CHECK(trace.take() == "[1] a | [2] b | [4] c res | [6] after sleep(1e-9)");
  CHECK(thrown_by([] { static_cast<void>(asyncio::sleep(0.0 / 0.0)); }) ==
        "ValueError('Invalid delay: NaN (not a number)')");
}

TEST_CASE("a function that suspends is run by the task that calls it") {
  Trace trace;
  run([&] {
    const std::string name = asyncio::current_task().get_name();
    auto other = asyncio::create_task([&] { trace("other"); });
    const auto function = [&] {
      trace(asyncio::current_task().get_name() == name);
      turns(1);
      trace("f");
      return 7;
    };
    trace(function());
    await(other);
    trace(await(asyncio::async(function)()));
  });
  CHECK(trace.take() == "[1] True | [2] other | [2] f | [2] 7 | [2] True | [3] f | [3] 7");
}

TEST_CASE("callbacks and awaiting tasks go in the order in which they came") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future<int>();
    const auto awaiter = asyncio::async([&](int number) {
      await(future);
      trace("awaiter ", number);
    });
    future.add_done_callback([&] { trace("cb1"); });
    auto a = asyncio::create_task(awaiter(1));
    turns(1);
    future.add_done_callback([&] { trace("cb2"); });
    auto b = asyncio::create_task(awaiter(2));
    turns(1);
    future.add_done_callback([&](const asyncio::Future<int>& done) {
      CHECK(done == future);
      trace("cb3");
    });
    trace("set");
    future.set_result(1);
    trace("set done");
    future.add_done_callback([&] { trace("cb4 (added after done)"); });
    turns(1);
    trace("main");
    await(a);
    await(b);
  });
  CHECK(trace.take() ==
        "[3] set | [3] set done | [4] cb1 | [4] awaiter 1 | [4] cb2 | [4] awaiter 2 | [4] cb3 | "
        "[4] cb4 (added after done) | [4] main");
}

TEST_CASE("a cancelled handle is skipped, also when cancelled by one before it in its batch") {
  Trace trace;
  run([&] {
    const asyncio::Handle never = soon([&] { trace("never"); });
    never.cancel();
    CHECK(never.cancelled());
    soon([&] { trace("x"); });
    asyncio::Handle second;
    soon([&] {
      trace("first cancels second");
      second.cancel();
    });
    second = soon([&] { trace("second"); });
    turns(1);
    trace("main");
  });
  CHECK(trace.take() == "[2] x | [2] first cancels second | [2] main");
}

TEST_CASE("a callback that throws is reported with its handle, and the loop goes on") {
  Trace trace;
  run([&] {
    asyncio::Handle reported;
    get_running_loop().set_exception_handler(
        [&](const asyncio::EventLoop& loop, const asyncio::ExceptionContext& context) {
          CHECK(loop == get_running_loop());
          reported = context.handle;
          trace(context.message, " ", context.exception);
        });
    const asyncio::Handle throwing = soon([] { throw fiber::ValueError("x"); });
    soon([&] { trace("next"); });
    turns(1);
    trace("main ", reported.object() == throwing.object());
  });
  CHECK(trace.take() == "[2] Exception in callback ValueError('x') | [2] next | [2] main True");
}

TEST_CASE("timers that are overdue together run by their deadlines, behind what is ready") {
  Trace trace;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock;
  clock.attach(loop);
  loop.run_until_complete([&] {
    later(20ms, [&] { trace("20ms"); });
    later(10ms, [&] { trace("10ms"); });
    later(5ms, [&] { trace("5ms"); });
    clock.advance(50ms);
    trace("slept");
    soon([&] { trace("call_soon"); });
    turns(1);
    trace("main");
    turns(1);
    trace("main2");
  });
  loop.close();
  CHECK(trace.take() ==
        "[1] slept | [2] call_soon | [2] main | [2] 5ms | [2] 10ms | [2] 20ms | [3] main2");
}

TEST_CASE("call_later without a delay is a timer: behind what is ready, in the same iteration") {
  Trace trace;
  run([&] {
    later(0ns, [&] { trace("later0"); });
    later(-1s, [&] { trace("later-1"); });
    soon([&] { trace("soon"); });
    turns(1);
    trace("main");
    turns(1);
  });
  CHECK(trace.take() == "[2] soon | [2] main | [2] later-1 | [2] later0");
}

TEST_CASE("a timer that is set in a batch is looked at in the next iteration") {
  Trace trace;
  run([&] {
    soon([&] {
      trace("soon1");
      later(0ns, [&] {
        trace("timer");
        soon([&] { trace("soon-from-timer"); });
        later(0ns, [&] { trace("timer-from-timer"); });
      });
    });
    soon([&] { trace("soon2"); });
    for (int i = 0; i < 4; ++i) {
      turns(1);
      trace("main ", i);
    }
  });
  CHECK(trace.take() ==
        "[2] soon1 | [2] soon2 | [2] main 0 | [3] main 1 | [3] timer | [4] main 2 | "
        "[4] soon-from-timer | [4] timer-from-timer | [5] main 3");
}

TEST_CASE("equal sleeps wake in the order in which they began") {
  Trace trace;
  run([&] {
    const auto sleeper = asyncio::async([&](int number) {
      await(asyncio::sleep(10ms));
      trace(number);
    });
    await(asyncio::gather(sleeper(0), sleeper(1), sleeper(2)));
    std::vector<int> order;
    const auto loop = get_running_loop();
    for (int i = 0; i < 100; ++i)
      loop.call_at(loop.time() + 1s, [&order, i] { order.push_back(i); });
    await(asyncio::sleep(2s));
    std::vector<int> expected(100);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(order == expected);
  });
  CHECK(trace.take() == "[4] 0 | [4] 1 | [4] 2");
}

TEST_CASE("a sleep that is cancelled in the step in which its time comes leaves no timer behind") {
  Trace trace;
  for (const std::uint64_t shuffle : {0, 1, 2}) {
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    const asyncio::testing::VirtualClock clock;
    clock.attach(loop);
    asyncio::testing::set_shuffle(loop, shuffle);
    loop.run_until_complete([&] {
      const asyncio::Future<void> never = loop.create_future();
      auto sleeper = asyncio::create_task([] { await(asyncio::sleep(10ms)); });
      auto waiter = asyncio::create_task(
          [&] { await(asyncio::wait(std::vector{never}, {.timeout = 10ms})); });
      turns(2);
      clock.advance(20ms);
      sleeper.cancel();
      waiter.cancel();
      await(asyncio::wait(std::vector{sleeper, waiter}));
      trace(sleeper.cancelled() && waiter.cancelled());
    });
    loop.close();
  }
  CHECK(trace.take() == "[6] True | [6] True | [6] True");
}

TEST_CASE("in one iteration: what was ready, then descriptors, then timers") {
  const support::Pipe pipe;
  REQUIRE(::write(pipe.writes, "x", 1) == 1);
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    later(0ns, [&] { trace("timer"); });
    loop.add_reader(pipe.reads, [&, loop] {
      trace("reader");
      loop.remove_reader(pipe.reads);
    });
    soon([&] { trace("soon"); });
    turns(1);
    trace("main");
    turns(1);
  });
  CHECK(trace.take() == "[2] soon | [2] main | [2] reader | [2] timer");
}

TEST_CASE("tasks that pass the turn to each other keep no descriptor waiting") {
  const support::Pipe pipe;
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    loop.add_reader(pipe.reads, [&, loop] {
      trace("reader");
      loop.remove_reader(pipe.reads);
    });
    const auto three = [&](const char* name) {
      for (int i = 0; i < 3; ++i) {
        trace(name, " ", i);
        turns(1);
      }
    };
    auto other = asyncio::create_task([&] { three("other"); });
    REQUIRE(::write(pipe.writes, "x", 1) == 1);
    three("main");
    await(other);
  });
  CHECK(trace.take() ==
        "[1] main 0 | [2] other 0 | [2] main 1 | [2] reader | [3] other 1 | [3] main 2 | "
        "[4] other 2");
}

TEST_CASE("tasks that pass the turn to each other do not outlast a stop") {
  Trace trace;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  auto turning = loop.create_task([&] {
    for (int i = 0; i < 4; ++i) {
      trace("turn ", i);
      turns(1);
    }
  });
  auto stopping = loop.create_task([&] {
    turns(1);
    trace("stop");
    loop.stop();
    turns(1);
    trace("after");
  });
  loop.run_forever();
  trace("run_forever returned");
  loop.run_until_complete(turning);
  CHECK(stopping.done());
  loop.close();
  CHECK(trace.take() ==
        "[1] turn 0 | [2] turn 1 | [2] stop | [2] run_forever returned | [3] turn 2 | "
        "[3] after | [4] turn 3");
}

TEST_CASE("stop lets the batch end, and what it queued stays; stop before running is one pass") {
  Trace trace;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.call_soon([&] {
    trace("a stop");
    loop.stop();
    loop.call_soon([&] { trace("c (queued in the batch that stopped)"); });
  });
  loop.call_soon([&] { trace("b same batch"); });
  loop.run_forever();
  trace("run_forever returned 1");
  loop.call_soon([&] {
    trace("d");
    loop.call_soon([&] { trace("e"); });
  });
  loop.stop();
  loop.run_forever();
  trace("run_forever returned 2 (stop was set before)");
  loop.close();
  CHECK(trace.take() ==
        "[1] a stop | [1] b same batch | [1] run_forever returned 1 | "
        "[2] c (queued in the batch that stopped) | [2] d | "
        "[2] run_forever returned 2 (stop was set before)");
}

TEST_CASE("when main returns, its siblings get exactly one more step and are then cancelled") {
  Trace trace;
  run([&] {
    const auto background = [&](std::string name) {
      return asyncio::create_task([&trace, name] {
        try {
          for (int i = 0; i < 9; ++i) {
            trace(name, " ", i);
            turns(1);
          }
        } catch (const asyncio::CancelledError&) {
          trace(name, " cancelled");
          throw;
        }
      });
    };
    background("bg1");
    turns(1);
    background("bg2");
    trace("main returns");
  });
  CHECK(trace.take() ==
        "[2] bg1 0 | [2] main returns | [3] bg1 1 | [3] bg2 0 | [4] bg1 cancelled | "
        "[4] bg2 cancelled");
}

TEST_CASE("calls from another thread join the queue in order, and wake a sleeping loop") {
  Trace trace;
  asyncio::run([&] {
    const auto loop = get_running_loop();
    soon([&] { trace("soon1"); });
    std::thread([&] {
      loop.call_soon_threadsafe([&] { trace("ts1"); });
      loop.call_soon_threadsafe([&] { trace("ts2"); });
    }).join();
    soon([&] { trace("soon2"); });
    turns(1);
    trace("main");

    const auto future = loop.create_future<int>();
    std::thread waker([&] {
      std::this_thread::sleep_for(20ms);
      loop.call_soon_threadsafe([&] { future.set_result(5); });
    });
    const asyncio::Handle long_after = later(60s, [] {});
    CHECK(await(future) == 5);
    long_after.cancel();
    waker.join();
  });
  CHECK(trace.take() == "[2] soon1 | [2] ts1 | [2] ts2 | [2] soon2 | [2] main");
}

TEST_CASE("many cancelled timers leave the order of the rest unchanged") {
  std::vector<int> order;
  run([&] {
    std::vector<asyncio::TimerHandle> cancelled;
    for (int i = 0; i < 300; ++i) {
      const asyncio::TimerHandle timer =
          later(std::chrono::milliseconds((i * 7) % 50), [&order, i] { order.push_back(i); });
      if (i % 3 != 0) cancelled.push_back(timer);
    }
    for (const asyncio::TimerHandle& timer : cancelled) timer.cancel();
    await(asyncio::sleep(1s));
  });
  std::vector<int> expected;
  for (int delay = 0; delay < 50; ++delay)
    for (int i = 0; i < 300; i += 3)
      if ((i * 7) % 50 == delay) expected.push_back(i);
  CHECK(order == expected);
}

TEST_CASE("a failed comparison of vectors shows them") {
  CHECK(doctest::toString(std::vector<int>{1, 22}) == "[1, 22]");
  CHECK(doctest::toString(std::vector<std::string>{}) == "[]");
  CHECK(doctest::toString(std::vector<std::string>{"a", "b"}) == "[a, b]");
}
