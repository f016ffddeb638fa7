// asyncio::timeout and timeout_at: a time limit on a block.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <typeinfo>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;
using asyncio::Timeout;
using asyncio::timeout;
using asyncio::timeout_at;

namespace {

int cancelling() { return asyncio::current_task().cancelling(); }
void sleep_long() { await(asyncio::sleep(10s)); }

// Runs a main on a virtual clock that it may move.
template <class F>
void run_with_clock(F main) {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock;
  clock.attach(loop);
  loop.run_until_complete([&] { main(clock); });
  loop.close();
}

}  // namespace

TEST_CASE("the block is cancelled, and the cancellation becomes a TimeoutError as it is left") {
  Trace trace;
  run([&] {
    Timeout limit = timeout(10ms);
    try {
      asyncio::with(limit, [&] {
        try {
          sleep_long();
        } catch (const CancelledError&) {
          trace("cancelled inside ", limit.expired(), " ", cancelling());
          throw;
        }
      });
    } catch (const fiber::TimeoutError& error) {
      trace(caught(), " ", limit.expired(), " ", cancelling());
      try {
        std::rethrow_if_nested(error);
      } catch (const CancelledError&) {
        trace("from ", caught());
      }
    }
    Timeout ample = timeout(10ms);
    asyncio::with(ample, [] { await(asyncio::sleep(1ms)); });
    trace("not expired ", ample.expired());
  });
  CHECK(trace.take() ==
        "[3] cancelled inside True 1 | [3] TimeoutError() True 0 | [3] from CancelledError() | "
        "[5] not expired False");
}

TEST_CASE("a timeout of zero ends a block only where it suspends") {
  Trace trace;
  run([&] {
    Timeout limit = timeout(0s);
    asyncio::with(limit, [&] { trace("no suspension"); });
    trace("expired ", limit.expired());
    const auto suspends = [&](Timeout none) {
      const auto thrown = thrown_by([&] { asyncio::with(none, [] { turns(1); }); });
      trace(thrown, " ", none.expired());
    };
    suspends(timeout(0s));
    suspends(timeout(-1s));
    suspends(timeout_at(get_running_loop().time() - 100s));
  });
  CHECK(trace.take() ==
        "[1] no suspension | [1] expired False | [2] TimeoutError() True | "
        "[3] TimeoutError() True | [4] TimeoutError() True");
}

TEST_CASE("of nested timeouts the one that expires throws; the outer one passes the inner") {
  Trace trace;
  run([&] {
    const auto nested = [&](auto inner_limit, auto outer_limit) {
      Timeout inner = timeout(inner_limit);
      Timeout outer = timeout(outer_limit);
      std::string seen;
      try {
        asyncio::with(outer, [&] {
          try {
            asyncio::with(inner, [] { sleep_long(); });
          } catch (const fiber::TimeoutError&) {
            trace("inner TimeoutError");
            throw fiber::LookupError("from inner");
          }
        });
      } catch (const std::exception&) {
        seen = caught();
      }
      trace("outer saw ", seen, " ", inner.expired(), " ", outer.expired(), " ", cancelling());
    };
    nested(10ms, 50ms);
    nested(50ms, 10ms);
    nested(10ms, 10ms);
  });
  CHECK(trace.take() ==
        "[3] inner TimeoutError | [3] outer saw LookupError('from inner') True False 0 | "
        "[5] outer saw TimeoutError() False True 0 | [7] outer saw TimeoutError() True True 0");
}

TEST_CASE("when both have expired in one batch only the outer one throws") {
  Trace trace;
  run_with_clock([&](const asyncio::testing::VirtualClock& clock) {
    Timeout outer = timeout(20ms);
    Timeout inner = timeout(10ms);
    try {
      asyncio::with(outer, [&] {
        asyncio::with(inner, [&] {
          clock.advance(50ms);
          sleep_long();
        });
      });
    } catch (const fiber::TimeoutError&) {
      trace(caught(), " ", inner.expired(), " ", outer.expired(), " ", cancelling());
    }
  });
  CHECK(trace.take() == "[3] TimeoutError() True True 0");
}

TEST_CASE("a timeout and a cancellation in one iteration: the cancellation wins") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      Timeout limit = timeout(10ms);
      try {
        asyncio::with(limit, [] { sleep_long(); });
      } catch (const CancelledError&) {
        trace("CancelledError, expired ", limit.expired(), " ", cancelling());
        throw;
      }
    });
    turns(1);
    static_cast<void>(get_running_loop().call_later(10ms, [task] { task.cancel(); }));
    await(asyncio::wait(std::vector{task}));
    trace(task.cancelled());
  });
  CHECK(trace.take() == "[4] CancelledError, expired True 1 | [6] True");
}

TEST_CASE("a block that swallows the cancellation falls through") {
  Trace trace;
  run([&] {
    Timeout limit = timeout(10ms);
    asyncio::with(limit, [&] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        trace("swallowed");
      }
      turns(1);
      trace("goes on");
    });
    trace("fell through ", limit.expired(), " ", cancelling());
    Timeout failing = timeout(10ms);
    try {
      asyncio::with(failing, [] {
        try {
          sleep_long();
        } catch (const CancelledError&) {
          throw fiber::ValueError("x");
        }
      });
    } catch (const fiber::ValueError&) {
      trace(caught(), " ", failing.expired(), " ", cancelling());
    }
  });
  CHECK(trace.take() ==
        "[3] swallowed | [4] goes on | [4] fell through True 0 | [6] ValueError('x') True 0");
}

TEST_CASE("errors and cancellations that a timeout has not caused pass through it") {
  Trace trace;
  run([&] {
    Timeout never = timeout(std::nullopt);
    asyncio::with(never, [&] { trace("when ", never.when().has_value()); });
    Timeout limit = timeout(10s);
    trace(thrown_by([&] { asyncio::with(limit, [] { throw CancelledError("mine"); }); }), " ",
          limit.expired());
    trace(thrown_by([&] { asyncio::with(timeout(10s), [] { throw fiber::LookupError("k"); }); }));
  });
  CHECK(trace.take() == "[1] when False | [1] CancelledError('mine') False | [1] LookupError('k')");
}

TEST_CASE("a timeout works in the clean-up after a cancellation, and may be cancelled there") {
  Trace trace;
  run([&] {
    auto limited = create_task([&] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        try {
          asyncio::with(timeout(1ms), [] { sleep_long(); });
        } catch (const fiber::TimeoutError&) {
          trace(caught(), " ", cancelling());
        }
        throw;
      }
    });
    turns(1);
    limited.cancel();
    trace(thrown_by([&] { await(limited); }));
    auto again = create_task([&] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        Timeout limit = timeout(10s);
        try {
          asyncio::with(limit, [] { sleep_long(); });
        } catch (const CancelledError&) {
          trace(caught(), " ", cancelling(), " ", limit.expired());
        }
      }
    });
    turns(1);
    again.cancel();
    turns(1);
    again.cancel("again");
    await(again);
  });
  CHECK(trace.take() ==
        "[5] TimeoutError() 1 | [6] CancelledError() | [9] CancelledError('again') 2 False");
}

TEST_CASE("a timeout in the clean-up that another timeout has caused") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(timeout(10ms), [&] {
        try {
          sleep_long();
        } catch (const CancelledError&) {
          try {
            asyncio::with(timeout(10ms), [] { sleep_long(); });
          } catch (const fiber::TimeoutError&) {
            trace("inner ", caught());
          }
          throw;
        }
      });
    } catch (const fiber::TimeoutError&) {
      trace("outer ", caught(), " ", cancelling());
    }
  });
  CHECK(trace.take() == "[5] inner TimeoutError() | [5] outer TimeoutError() 0");
}

TEST_CASE("an outer timeout expires while the inner one's error is handled, or the loop is busy") {
  Trace trace;
  run_with_clock([&](const asyncio::testing::VirtualClock& clock) {
    Timeout outer = timeout(20ms);
    Timeout inner = timeout(10ms);
    try {
      asyncio::with(outer, [&] {
        try {
          asyncio::with(inner, [] { sleep_long(); });
        } catch (const fiber::TimeoutError&) {
          trace("inner");
          sleep_long();
        }
      });
    } catch (const fiber::TimeoutError&) {
      trace("outer ", inner.expired(), " ", outer.expired(), " ", cancelling());
    }
    Timeout first = timeout(10ms);
    Timeout second = timeout(20ms);
    try {
      asyncio::with(first, [&] {
        asyncio::with(second, [&] {
          clock.advance(30ms);
          turns(1);
          trace("still here");
          turns(1);
          trace("not reached");
        });
      });
    } catch (const fiber::TimeoutError&) {
      trace("outer ", second.expired(), " ", first.expired(), " ", cancelling());
    }
  });
  CHECK(trace.take() ==
        "[3] inner | [5] outer True True 0 | [6] still here | [7] outer True True 0");
}

TEST_CASE("a timeout can be moved, put off for ever, and into the past") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    const auto begin = loop.time();
    const auto ms = [&] { return (loop.time() - begin) / 1ms; };
    Timeout off = timeout(10ms);
    asyncio::with(off, [&] {
      off.reschedule(std::nullopt);
      await(asyncio::sleep(20ms));
    });
    trace(ms());
    Timeout sooner = timeout(10s);
    try {
      asyncio::with(sooner, [&] {
        sooner.reschedule(loop.time() + 5ms);
        CHECK(sooner.when() == loop.time() + 5ms);
        await(asyncio::sleep(20ms));
      });
    } catch (const fiber::TimeoutError&) {
      trace("at ", ms());
    }
    Timeout past = timeout(10s);
    trace(thrown_by([&] {
      asyncio::with(past, [&] {
        past.reschedule(loop.time() - 1s);
        trace("past");
        turns(1);
      });
    }));
  });
  CHECK(trace.take() == "[3] 20 | [5] at 25 | [5] past | [6] TimeoutError()");
}

TEST_CASE("limits may be in any unit; one too late for the clock is none, one too early has come") {
  using std::chrono::hours;
  asyncio::testing::run_test([] {
    const auto loop = get_running_loop();
    const auto limited = [&](Timeout limit) {
      const auto begin = loop.time();
      const std::string error = thrown_by([&] { asyncio::with(limit, sleep_long); });
      return error + " " + std::to_string((loop.time() - begin) / 1ms);
    };
    CHECK(limited(timeout_at(hours::max())) == " 10000");
    CHECK(limited(timeout_at(hours::min())) == "TimeoutError() 0");
    CHECK(limited(timeout_at(std::optional(hours::max()))) == " 10000");
    CHECK(limited(timeout_at(std::optional<hours>())) == " 10000");
    CHECK(limited(timeout_at(loop.time() + 0.5s)) == "TimeoutError() 500");
    const auto moved = [&](auto when) {
      const auto begin = loop.time();
      const std::string error = thrown_by([&] {
        asyncio::with(timeout(1s), [&](Timeout& limit) {
          limit.reschedule(when);
          sleep_long();
        });
      });
      return error + " " + std::to_string((loop.time() - begin) / 1ms);
    };
    CHECK(moved(hours::max()) == " 10000");
    CHECK(moved(hours::min()) == "TimeoutError() 0");
    CHECK(moved(std::optional(hours::max())) == " 10000");
    CHECK(moved(loop.time() + 0.5s) == "TimeoutError() 500");
    await(asyncio::wait_for(sleep_long, std::optional(hours::max())));
    await(asyncio::to_thread([] {}));
    await(loop.shutdown_default_executor(hours::max()));
    await(loop.shutdown_default_executor(1.5s));
    await(loop.shutdown_default_executor(std::nullopt));
  });
}

TEST_CASE("a timeout is entered once, in a task, and moved only while it is active") {
  CHECK(thrown_by([] { asyncio::with(timeout_at(1s), [] {}); }) ==
        "RuntimeError('Timeout should be used inside a task')");
  Trace trace;
  run([&] {
    const auto move = [](Timeout& limit) { return thrown_by([&] { limit.reschedule(1s); }); };
    Timeout limit = timeout(10s);
    trace(move(limit));
    asyncio::with(limit, [&] { trace(thrown_by([&] { asyncio::with(limit, [] {}); })); });
    trace(move(limit));
    trace(thrown_by([&] { asyncio::with(limit, [] {}); }));
    Timeout expired = timeout(1ms);
    trace(thrown_by([&] {
      asyncio::with(expired, [&] {
        const AtEnd end([&] { trace(move(expired)); });
        sleep_long();
      });
    }));
    trace(move(expired));
  });
  CHECK(trace.take() ==
        "[1] RuntimeError('Timeout has not been entered') | "
        "[1] RuntimeError('Timeout has already been entered') | "
        "[1] RuntimeError('Cannot change state of finished Timeout') | "
        "[1] RuntimeError('Timeout has already been entered') | "
        "[3] RuntimeError('Cannot change state of expiring Timeout') | [3] TimeoutError() | "
        "[3] RuntimeError('Cannot change state of expired Timeout')");
}

TEST_CASE("a timeout that was moved inside its block refuses to be moved in time") {
  run([] {
    Timeout entered = timeout(1s);
    asyncio::with(entered, [&] {
      Timeout moved = std::move(entered);
      CHECK(thrown_by([&] { moved.reschedule(2s); }) ==
            "ValueError('a Timeout that was moved inside its block limits nothing')");
    });
  });
}

TEST_CASE("the text of a timeout has its state, and its time once it runs") {
  run([] {
    Timeout limit = timeout_at(10s);
    CHECK(limit.repr() == "<Timeout [created]>");
    asyncio::with(limit, [&] { CHECK(limit.repr() == "<Timeout [active] when=10.0>"); });
    CHECK(limit.repr() == "<Timeout [finished]>");
    Timeout never = timeout(std::nullopt);
    asyncio::with(never, [&] { CHECK(never.repr() == "<Timeout [active] when=None>"); });
    Timeout expired = timeout(0s);
    CHECK_THROWS_AS(
        asyncio::with(expired,
                      [&] {
                        const AtEnd end([&] { CHECK(expired.repr() == "<Timeout [expiring]>"); });
                        turns(1);
                      }),
        fiber::TimeoutError);
    CHECK(expired.repr() == "<Timeout [expired]>");
  });
}

TEST_CASE("a block gives its value through the timeout, and a timer that is left is taken back") {
  run([] {
    CHECK(asyncio::with(timeout(3600s), [] { return 5; }) == 5);
    const auto loop = get_running_loop();
    await(asyncio::sleep(1ms));
    CHECK(loop.time() < 1s);
  });
}
