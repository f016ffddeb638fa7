// Handles and timers.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <ratio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

TEST_CASE("a timer tells its deadline, and is called when it has come, not before") {
  Trace trace;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock(100s);
  clock.attach(loop);
  loop.run_until_complete([&] {
    const auto later = loop.call_later(10ms, [&] { trace("later ", loop.time() / 1ms); });
    const auto at = loop.call_at(100s + 5ms, [&] { trace("at ", loop.time() / 1ms); });
    const auto past = loop.call_at(1s, [&] { trace("past ", loop.time() / 1ms); });
    CHECK(later.when() == 100s + 10ms);
    CHECK(at.when() == 100s + 5ms);
    CHECK(past.when() == 1s);
    turns(1);
    clock.advance(5ms - 1ns);
    turns(1);
    trace("a nanosecond early");
    await(asyncio::sleep(1s));
  });
  loop.close();
  CHECK(trace.take() ==
        "[2] past 100004 | [3] a nanosecond early | [4] at 100005 | [5] later 100010");
}

TEST_CASE("of many timers the due ones are called in the order of their deadlines") {
  constexpr int kCount = 1000;
  std::vector<int> called, expected;
  std::vector<asyncio::TimerHandle> handles;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock(0s);
  clock.attach(loop);
  loop.run_until_complete([&] {
    // Many deadlines, each about four times, in no order.
    const auto deadline = [](int i) { return std::chrono::milliseconds(i * 7919 % 251); };
    for (int i = 0; i < kCount; ++i)
      handles.push_back(loop.call_at(deadline(i), [&, i] { called.push_back(i); }));
    for (int i = 0; i < kCount; i += 3) handles[static_cast<std::size_t>(i)].cancel();
    for (int i = 0; i < kCount; ++i)
      if (i % 3 != 0) expected.push_back(i);
    std::stable_sort(expected.begin(), expected.end(),
                     [&](int a, int b) { return deadline(a) < deadline(b); });
    // A few become due, then most, then a few again, then the rest.
    for (const auto time : {5ms, 200ms, 203ms, 250ms}) {
      clock.advance(time - loop.time());
      turns(2);
      const auto come =
          std::find_if(expected.begin(), expected.end(), [&](int i) { return deadline(i) > time; });
      CHECK(called == std::vector<int>(expected.begin(), come));
      // A timer that is still in the heap is found when it is cancelled.
      if (come == expected.end()) continue;
      handles[static_cast<std::size_t>(expected.back())].cancel();
      expected.pop_back();
    }
  });
  loop.close();
  CHECK(called == expected);
}

TEST_CASE("a cancelled timer is not called; cancelling twice, or after the call, does nothing") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    const auto never = loop.call_later(1ms, [&] { trace("never"); });
    const auto once = loop.call_later(1ms, [&] { trace("once"); });
    CHECK_FALSE(never.cancelled());
    never.cancel();
    never.cancel();
    CHECK(never.cancelled());
    await(asyncio::sleep(2ms));
    CHECK_FALSE(once.cancelled());
    once.cancel();
    CHECK(once.cancelled());
    // Cancelled by a timer before it in the same batch.
    asyncio::TimerHandle second;
    const auto first = loop.call_later(1ms, [&] { second.cancel(); });
    second = loop.call_later(1ms, [&] { trace("second"); });
    await(asyncio::sleep(2ms));
    CHECK(second.cancelled());
    CHECK_FALSE(first.cancelled());
    // Cancelled by itself.
    asyncio::Handle self;
    self = loop.call_soon([&] {
      self.cancel();
      trace("self");
    });
    turns(1);
  });
  CHECK(trace.take() == "[2] once | [8] self");
}

TEST_CASE("a callback is kept until it is called, then dropped") {
  const auto held = std::make_shared<int>(1);
  run([&] {
    const auto loop = get_running_loop();
    loop.call_soon([held] {});
    CHECK(held.use_count() == 2);
    turns(1);
    CHECK(held.use_count() == 1);
    loop.call_soon([held] {}).cancel();
    turns(1);
    CHECK(held.use_count() == 1);
    {
      const auto timer = loop.call_later(1h, [held] {});
      CHECK(held.use_count() == 2);
      timer.cancel();
    }
    CHECK(held.use_count() == 1);
    static_cast<void>(loop.call_later(1h, [held] {}));
    loop.call_soon([held] {});
  });
  // The loop was closed with a timer and perhaps a callback in it.
  CHECK(held.use_count() == 1);
}

TEST_CASE("an object that keeps the handle of its own callback ends after the call") {
  struct Owner {
    asyncio::Handle soon, posted, done;
    asyncio::TimerHandle later;
  };
  std::weak_ptr<Owner> watched;
  run([&] {
    const auto loop = get_running_loop();
    auto owner = std::make_shared<Owner>();
    watched = owner;
    int calls = 0;
    owner->soon = loop.call_soon([owner, &calls] { ++calls; });
    owner->posted = loop.call_soon_threadsafe([owner, &calls] { ++calls; });
    owner->later = loop.call_later(0s, [owner, &calls] {
      ++calls;
      throw fiber::ValueError("reported");
    });
    const auto future = loop.create_future();
    owner->done = future.add_done_callback([owner, &calls] { ++calls; });
    future.set_result();
    loop.set_exception_handler([](const auto&, const auto&) {});
    owner = nullptr;
    turns(2);
    CHECK(calls == 4);
    CHECK(watched.expired());
  });
}

TEST_CASE("an object that keeps the handle of its own callback ends with the loop") {
  struct Owner {
    asyncio::Handle soon, posted, never_done;
    asyncio::TimerHandle later;
  };
  auto owner = std::make_shared<Owner>();
  const std::weak_ptr<Owner> watched = owner;
  const auto loop = asyncio::new_event_loop();
  owner->soon = loop.call_soon([owner] {});
  owner->posted = loop.call_soon_threadsafe([owner] {});
  owner->later = loop.call_later(1h, [owner] {});
  owner->never_done = loop.create_future().add_done_callback([owner] {});
  owner = nullptr;
  CHECK_FALSE(watched.expired());
  loop.close();
  CHECK(watched.expired());
}

namespace {

// Returns an object to be held by a callback, which notes when it is dropped.
std::shared_ptr<void> note_end(Trace& trace, const std::string& name) {
  return std::shared_ptr<void>(nullptr, [&trace, name](void*) { trace("end of ", name); });
}

}  // namespace

TEST_CASE("cancel drops the callable at once, though the handle lives on") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    const auto soon = loop.call_soon([held = note_end(trace, "soon")] {});
    const auto later = loop.call_later(1h, [held = note_end(trace, "later")] {});
    const auto due = loop.call_later(0s, [&, held = note_end(trace, "due")] { trace("called"); });
    const auto posted = loop.call_soon_threadsafe([held = note_end(trace, "posted")] {});
    const auto future = loop.create_future();
    const auto done = future.add_done_callback([held = note_end(trace, "done-callback")] {});
    for (const asyncio::Handle& handle : {soon, asyncio::Handle(later), posted, done}) {
      handle.cancel();
      handle.cancel();
      trace("cancelled");
    }
    // In one batch with the timer, which has left the heap.
    loop.call_soon([&] {
      due.cancel();
      trace("cancelled");
    });
    future.set_result();
    turns(2);
  });
  CHECK(trace.take() ==
        "[1] end of soon | [1] cancelled | [1] end of later | [1] cancelled | "
        "[1] end of posted | [1] cancelled | [1] end of done-callback | [1] cancelled | "
        "[2] end of due | [2] cancelled");
}

TEST_CASE("a callback that cancels itself keeps its callable until the call is over") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    asyncio::Handle self;
    self = loop.call_soon([&, held = note_end(trace, "callable")] {
      self.cancel();
      trace("cancelled");
    });
    turns(1);
    trace("handle kept");
    asyncio::TimerHandle timer;
    timer = loop.call_later(0s, [&, held = note_end(trace, "timer")] {
      timer.cancel();
      trace("cancelled");
      throw fiber::ValueError("x");
    });
    trace_errors(trace, loop);
    turns(2);
  });
  CHECK(trace.take() ==
        "[2] cancelled | [2] end of callable | [2] handle kept | [3] cancelled | "
        "[3] end of timer | [3] EXC_HANDLER Exception in callback ValueError('x')");
}

TEST_CASE("a callable may hold the last reference to its own handle") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    for (const bool late : {false, true}) {
      auto own = std::make_shared<asyncio::Handle>();
      auto callback = [own, held = note_end(trace, late ? "timer" : "callback")] {};
      *own = late ? loop.call_later(1h, std::move(callback)) : loop.call_soon(std::move(callback));
      const asyncio::Handle& handle = *std::exchange(own, nullptr);
      handle.cancel();
      trace("cancelled");
    }
    turns(1);
  });
  CHECK(trace.take() == "[1] end of callback | [1] cancelled | [1] end of timer | [1] cancelled");
}

TEST_CASE("a handle cancelled on another thread is dropped on the loop's") {
  Trace trace;
  std::thread::id dropped_on;
  run([&] {
    const auto loop = get_running_loop();
    const auto held =
        std::shared_ptr<void>(nullptr, [&](void*) { dropped_on = std::this_thread::get_id(); });
    auto handle = loop.call_soon([held] { FAIL("called"); });
    std::thread([&] { handle.cancel(); }).join();
    trace(handle.cancelled(), " ", held.use_count());
    turns(1);
    trace(held.use_count());
  });
  CHECK(trace.take() == "[1] True 2 | [2] 1");
  CHECK(dropped_on == std::this_thread::get_id());
}

TEST_CASE("callables that only move may be called back") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    loop.call_soon([&, value = std::make_unique<int>(1)] { trace(*value); });
    const auto timer =
        loop.call_later(0s, [&, value = std::make_unique<int>(2)] { trace(*value); });
    loop.call_soon_threadsafe([&, value = std::make_unique<int>(3)] { trace(*value); });
    turns(2);
  });
  CHECK(trace.take() == "[2] 1 | [2] 3 | [2] 2");
}

TEST_CASE("a handle that is null can be asked and cancelled") {
  const asyncio::TimerHandle none;
  CHECK_FALSE(static_cast<bool>(none));
  CHECK_FALSE(none.cancelled());
  none.cancel();
  CHECK(thrown_by([&] { none.when(); }) == "ValueError('this handle refers to no callback')");
}

TEST_CASE("a loop that is null refuses everything") {
  const asyncio::EventLoop none;
  CHECK_FALSE(static_cast<bool>(none));
  const std::string refused =
      "ValueError('this EventLoop refers to nothing; get one from asyncio::new_event_loop()')";
  CHECK(thrown_by([&] { none.stop(); }) == refused);
  CHECK(thrown_by([&] { none.is_running(); }) == refused);
  CHECK(thrown_by([&] { none.is_closed(); }) == refused);
  CHECK(thrown_by([&] { none.time(); }) == refused);
  CHECK(thrown_by([&] { none.call_later(1s, [] {}); }) == refused);
  CHECK(thrown_by([&] { none.get_debug(); }) == refused);
  CHECK(thrown_by([&] { none.slow_callback_duration(1s); }) == refused);
}

TEST_CASE("callbacks that call themselves again do not keep timers and others from running") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    int spins = 0;
    bool over = false;
    std::function<void()> spin = [&] {
      ++spins;
      if (!over) loop.call_soon(spin);
    };
    loop.call_soon(spin);
    turns(50);
    over = true;
    trace(spins > 40);
    turns(2);
  });
  CHECK(trace.take() == "[51] True");
}

TEST_CASE("ten thousand timers come in their order, whatever the order of making and cancelling") {
  std::vector<std::pair<int, int>> called;
  run([&] {
    const auto loop = get_running_loop();
    std::vector<asyncio::TimerHandle> timers;
    std::uint32_t random = 1;
    for (int i = 0; i < 10'000; ++i) {
      random = random * 1664525U + 1013904223U;
      const int delay = static_cast<int>(random >> 22U);
      timers.push_back(loop.call_later(std::chrono::milliseconds(delay),
                                       [&called, delay, i] { called.emplace_back(delay, i); }));
    }
    for (std::size_t i = 0; i < timers.size(); i += 3) timers[i].cancel();
    await(asyncio::sleep(10s));
  });
  CHECK(called.size() == 6666);
  CHECK(std::is_sorted(called.begin(), called.end()));
}

TEST_CASE("a delay that is not a number is refused") {
  run([] {
    const double nan = std::nan("");
    const std::chrono::duration<double> never(nan);
    const std::string refused = "ValueError('Invalid delay: NaN (not a number)')";
    CHECK(thrown_by([&] { await(asyncio::sleep(nan)); }) == refused);
    CHECK(thrown_by([&] { await(asyncio::sleep(nan, 1)); }) == refused);
    CHECK(thrown_by([&] { await(asyncio::wait_for([] {}, never)); }) == refused);
    CHECK(thrown_by([&] { asyncio::with(asyncio::timeout(never), [] {}); }) == refused);
    CHECK(thrown_by([&] { get_running_loop().call_later(never, [] {}); }) == refused);
  });
}

TEST_CASE("delays and deadlines may be of any size") {
  Trace trace;
  using std::chrono::hours;
  using std::chrono::nanoseconds;
  run([&] {
    const auto loop = get_running_loop();
    std::vector<asyncio::Handle> never;
    never.push_back(loop.call_later(nanoseconds::max(), [&] { trace("max"); }));
    never.push_back(loop.call_later(hours::max(), [&] { trace("max hours"); }));
    never.push_back(loop.call_later(std::chrono::duration<double>(1e300), [&] { trace("1e300"); }));
    never.push_back(loop.call_at(nanoseconds::max(), [&] { trace("at max"); }));
    loop.call_later(0.5s, [&] { trace("0.5"); });
    loop.call_later(nanoseconds::min(), [&] { trace("min"); });
    loop.call_later(-hours::max(), [&] { trace("min hours"); });
    loop.call_at(nanoseconds::min(), [&] { trace("at min"); });
    turns(1);
    std::vector<asyncio::Task<>> tasks;
    tasks.push_back(create_task([] { await(asyncio::sleep(hours::max())); }));
    tasks.push_back(create_task([] { await(asyncio::sleep(1e300)); }));
    tasks.push_back(create_task([] {
      asyncio::with(asyncio::timeout(hours::max()),
                    [] { await(asyncio::sleep(nanoseconds::max())); });
    }));
    tasks.push_back(create_task([] {
      await(
          asyncio::wait_for([] { await(asyncio::sleep(nanoseconds::max())); }, nanoseconds::max()));
    }));
    const auto waited = await(asyncio::wait(tasks, {.timeout = 1s}));
    trace(waited.pending.size(), " sleep");
    await(asyncio::sleep(hours::min()));
    await(asyncio::sleep(-1e300));
    trace("short");
    for (const auto& task : tasks) task.cancel();
    await(asyncio::wait(tasks, {.timeout = hours::max()}));
    for (const auto& handle : never) handle.cancel();
    trace("over");
  });
  CHECK(trace.take() ==
        "[2] min | [2] min hours | [2] at min | [4] 0.5 | [6] 4 sleep | [8] short | [11] over");
}

TEST_CASE("delays may be counted in any unit, and are rounded towards zero") {
  using Frames = std::chrono::duration<int, std::ratio<1, 30>>;
  using Ticks = std::chrono::duration<std::int64_t, std::ratio<1, 90'000>>;
  using Attoseconds = std::chrono::duration<std::uint64_t, std::atto>;
  using Odd = std::chrono::duration<std::int64_t, std::ratio<1'000'003, 999'983>>;
  asyncio::testing::run_test([] {
    const auto loop = get_running_loop();
    const auto start = loop.time();
    const auto delayed = [&](auto delay) { return loop.call_later(delay, [] {}).when() - start; };
    CHECK(delayed(Frames(1)) == 33'333'333ns);
    CHECK(delayed(Frames(-1)) == -33'333'333ns);
    CHECK(delayed(Ticks(9)) == 100us);
    CHECK(delayed(Odd(7)) == 7'000'140'002ns);
    CHECK(delayed(Attoseconds(UINT64_MAX)) == 18'446'744'073ns);
    CHECK(delayed(Ticks::max()) == delayed(std::chrono::nanoseconds::max()));
    CHECK(delayed(Ticks::min()) == delayed(std::chrono::nanoseconds::min()));
    await(asyncio::sleep(Frames(3)));
    CHECK(loop.time() == start + 100ms);
    CHECK(thrown_by([&] { await(asyncio::wait_for(asyncio::sleep(1s), Frames(3))); }) ==
          "TimeoutError()");
    asyncio::with(asyncio::timeout(Frames(3)), [] {});
    await(asyncio::wait({create_task([] {})}, {.timeout = Frames(3)}));
    CHECK(loop.time() == start + 200ms);
  });
}

TEST_CASE(
    "deadlines may be in any unit; one too late for the clock is never, one too early is past") {
  Trace trace;
  using std::chrono::hours;
  asyncio::testing::run_test([&] {
    const auto loop = get_running_loop();
    const auto never = loop.call_at(hours::max(), [&] { trace("never"); });
    loop.call_at(hours::min(), [&] { trace("past"); });
    loop.call_at(loop.time() + 0.5s, [&] { trace("0.5"); }, {.context = {}});
    await(asyncio::sleep(1s));
    trace("1");
    never.cancel();
    loop.slow_callback_duration(hours::max());
    CHECK(loop.slow_callback_duration() > 100 * 365 * 24h);
    loop.slow_callback_duration(0.25s);
    CHECK(loop.slow_callback_duration() == 250ms);
  });
  CHECK(trace.take() == "[2] past | [3] 0.5 | [5] 1");
}
