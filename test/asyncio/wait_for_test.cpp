// asyncio::wait_for: a time limit on one awaitable.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;
using asyncio::wait_for;

namespace {

// Returns the cause of the exception being handled.
std::string cause() {
  try {
    try {
      throw;
    } catch (const std::exception& error) {
      std::rethrow_if_nested(error);
    }
  } catch (...) {
    return caught();
  }
  return "none";
}

// Sleeps; when cancelled, calls `then`.
template <class F>
auto value_of_cancelled(F then) {
  return asyncio::async([then] {
    try {
      await(asyncio::sleep(10s));
    } catch (const CancelledError&) {
      return then();
    }
    return then();
  });
}

}  // namespace

TEST_CASE("an awaitable that does not suspend runs at once, in the task that calls") {
  Trace trace;
  run([&] {
    auto marker = create_task([&] { trace("marker"); });
    const auto self = asyncio::current_task();
    const auto inner = asyncio::async([&] {
      trace("inner ", asyncio::current_task() == self);
      return 5;
    });
    trace("got ", await(wait_for(inner(), 1s)));
    trace("got ", await(wait_for(inner(), std::nullopt)));
    await(marker);
  });
  CHECK(trace.take() == "[1] inner True | [1] got 5 | [1] inner True | [1] got 5 | [2] marker");
}

TEST_CASE(
    "with a timeout of zero a future that is done gives its result, and another is cancelled") {
  Trace trace;
  run([&] {
    const auto body = asyncio::async([&] { trace("entered"); });
    trace(thrown_by([&] { await(wait_for(body(), 0s)); }));
    const auto done = get_running_loop().create_future<int>();
    done.set_result(7);
    trace(await(wait_for(done, 0s)), await(wait_for(done, -1s)));
    for (int turn : {0, 1}) {
      auto task = create_task([&] { turns(2); });
      turns(turn);
      const auto thrown = thrown_by([&] { await(wait_for(task, 0s)); });
      trace(thrown, " ", task.cancelled());
    }
  });
  CHECK(trace.take() ==
        "[4] TimeoutError() | [4] 77 | [7] TimeoutError() True | [11] TimeoutError() True");
}

TEST_CASE("with a timeout of zero a gather that is cancelled is a timeout too") {
  Trace trace;
  run([&] {
    const auto a = get_running_loop().create_future<int>();
    const auto b = get_running_loop().create_future<int>();
    for (int i = 0; i < 2; ++i) {
      try {
        if (i == 0)
          await(wait_for(asyncio::gather(a, b), 0s));
        else
          await(wait_for(asyncio::gather(asyncio::return_exceptions, b, b), 0s));
        trace("done");
      } catch (const fiber::TimeoutError&) {
        trace(caught(), " from ", cause());
      }
    }
  });
  CHECK(trace.take() == "[4] TimeoutError() from CancelledError() | [4] done");
}

TEST_CASE("the timeout comes when the clean-up is over, from the cancellation") {
  Trace trace;
  run([&] {
    const auto body = asyncio::async([&] {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace("cancelled");
        turns(3);
        trace("cleanup over");
        throw;
      }
    });
    const auto limited = [&](auto awaitable, auto limit) {
      try {
        await(wait_for(std::move(awaitable), limit));
      } catch (const fiber::TimeoutError&) {
        trace(caught(), " from ", cause());
      }
    };
    limited(body(), 10ms);
    auto task = create_task(body());
    limited(task, 10ms);
    CHECK(task.cancelled());
    auto started = create_task(body());
    turns(1);
    limited(started, 0ms);
    CHECK(started.cancelled());
  });
  CHECK(trace.take() ==
        "[3] cancelled | [6] cleanup over | [6] TimeoutError() from CancelledError() | "
        "[9] cancelled | [12] cleanup over | [13] TimeoutError() from CancelledError() | "
        "[15] cancelled | [18] cleanup over | [20] TimeoutError() from CancelledError()");
}

TEST_CASE(
    "an awaitable that swallows the cancellation gives its result, one that fails its error") {
  Trace trace;
  run([&] {
    const auto late = value_of_cancelled([] { return std::string("late value"); });
    const auto fails =
        value_of_cancelled([]() -> std::string { throw fiber::ValueError("cleanup"); });
    trace(await(wait_for(late(), 1ms)));
    trace(thrown_by([&] { await(wait_for(fails(), 1ms)); }));
    auto task = create_task(late());
    turns(1);
    trace(await(wait_for(task, 0s)));
    auto failing = create_task(fails());
    turns(1);
    trace(thrown_by([&] { await(wait_for(failing, 0s)); }));
  });
  CHECK(trace.take() ==
        "[3] late value | [5] ValueError('cleanup') | [9] late value | [13] ValueError('cleanup')");
}

TEST_CASE("a result and a cancellation in one iteration: the cancellation wins") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future<int>();
    auto task = create_task([&] {
      try {
        trace("got ", await(wait_for(future, 10s)));
      } catch (const CancelledError&) {
        trace("cancelled");
        throw;
      }
    });
    turns(1);
    future.set_result(1);
    task.cancel();
    turns(2);
    trace("task.cancelled ", task.cancelled());
  });
  CHECK(trace.take() == "[3] cancelled | [4] task.cancelled True");
}

TEST_CASE("cancelling a wait_for cancels its awaitable, and waits for the end of that") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future();
    auto simple = create_task([&] { await(wait_for(future, 10s)); });
    turns(1);
    simple.cancel();
    trace(thrown_by([&] { await(simple); }), " ", future.cancelled());
    auto outer = create_task([&] {
      await(wait_for(
          [&] {
            const AtEnd end([&] { trace("inner over"); });
            try {
              await(asyncio::sleep(10s));
            } catch (const CancelledError&) {
              turns(1);
              throw;
            }
          },
          10s));
    });
    turns(1);
    outer.cancel();
    trace(thrown_by([&] { await(outer); }));
    auto swallowing = create_task([&] {
      return await(wait_for(value_of_cancelled([] { return std::string("kept"); })(), 10s));
    });
    turns(1);
    swallowing.cancel();
    trace(await(swallowing), " ", swallowing.cancelling());
  });
  CHECK(trace.take() ==
        "[4] CancelledError() True | [7] inner over | [8] CancelledError() | [11] kept 1");
}

TEST_CASE("a shield keeps what it waits for running") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      turns(5);
      trace("inner done");
      return 3;
    });
    trace(thrown_by([&] { await(wait_for(asyncio::shield(task), 0s)); }), " ", task.done());
    trace(await(wait_for(asyncio::shield(task), std::nullopt)));
    auto slow = create_task([] { await(asyncio::sleep(20ms)); });
    trace(thrown_by([&] { await(wait_for(asyncio::shield(slow), 10ms)); }), " ", slow.done());
    await(slow);
  });
  CHECK(trace.take() ==
        "[3] TimeoutError() False | [7] inner done | [9] 3 | [12] TimeoutError() False");
}

TEST_CASE("wait_for takes callables and awaitables of all kinds") {
  run([&] {
    CHECK(await(wait_for([] { return 1; }, 1s)) == 1);
    CHECK(await(wait_for(asyncio::sleep(1ms, 2), 1s)) == 2);
    asyncio::Event event;
    auto setter = create_task([&] { event.set(); });
    await(wait_for(event.wait(), 1s));
    CHECK(event.is_set());
    CHECK(thrown_by([&] { await(wait_for(asyncio::Event().wait(), 1ms)); }) == "TimeoutError()");
    await(setter);
  });
}
