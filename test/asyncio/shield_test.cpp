// asyncio::shield: a wait that can be cancelled without its awaitable.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::shield;

TEST_CASE("a shield ends two iterations after the task; cancelling the waiter leaves the task") {
  Trace trace;
  run([&] {
    const auto inner = [&](int number) {
      return create_task([&trace, number] {
        for (int i = 0; i < 4; ++i) {
          trace("inner ", i);
          turns(1);
        }
        trace("inner end");
        return number;
      });
    };
    auto first = inner(1);
    trace("shield result ", await(shield(first)));
    trace("of what is done: itself ", shield(first) == first);
    auto second = inner(2);
    auto waiter = create_task([&] {
      try {
        await(shield(second));
      } catch (const CancelledError&) {
        trace("waiter cancelled");
        throw;
      }
    });
    turns(1);
    trace("cancel ", waiter.cancel());
    await(second);
    trace(waiter.cancelled(), " ", second.cancelled());
  });
  CHECK(trace.take() ==
        "[2] inner 0 | [3] inner 1 | [4] inner 2 | [5] inner 3 | [6] inner end | "
        "[8] shield result 1 | [8] of what is done: itself True | [9] inner 0 | [9] cancel True | "
        "[10] inner 1 | [10] waiter cancelled | [11] inner 2 | [12] inner 3 | [13] inner end | "
        "[14] True False");
}

TEST_CASE("a task that is cancelled cancels its shield, one that fails gives its error") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    auto task = create_task([] { await(asyncio::sleep(10s)); });
    auto shielded = shield(task);
    turns(1);
    task.cancel();
    try {
      await(shielded);
    } catch (const CancelledError&) {
      trace("inner cancelled ", asyncio::current_task().cancelling(), " ", shielded.cancelled());
    }
    const auto bad = asyncio::async([] {
      turns(1);
      throw fiber::ValueError("x");
    });
    trace(thrown_by([&] { await(shield(bad())); }));
    {
      // The shield is gone when the task fails: the error has no taker, and is reported.
      auto failing = create_task(bad());
      shield(failing).cancel();
      await(asyncio::wait(std::vector{failing}));
      turns(2);
    }
    trace("after");
  });
  CHECK(trace.take() ==
        "[5] inner cancelled 0 True | [9] ValueError('x') | "
        "[15] EXC_HANDLER Task exception was never retrieved ValueError('x') | [15] after");
}

TEST_CASE("a gather can be shielded, and shields be gathered") {
  Trace trace;
  run([&] {
    const auto worker = [&](std::string name, int count) {
      return create_task([&trace, name, count] {
        turns(count);
        trace(name, " done");
        return name;
      });
    };
    {
      auto a = worker("a", 2);
      auto b = worker("b", 3);
      auto all = asyncio::gather(a, b);
      auto shielded = shield(all);
      turns(1);
      shielded.cancel();
      turns(1);
      trace(shielded.cancelled(), " ", all.done(), " ", a.cancelled());
      const auto [x, y] = await(all);
      trace(x, y);
    }
    auto a = worker("a", 2);
    auto shielded = shield(a);
    auto all = asyncio::gather(shielded);
    turns(1);
    all.cancel();
    const auto thrown = thrown_by([&] { await(all); });
    trace(thrown, " ", shielded.cancelled(), " ", a.cancelled());
    trace(await(a));
  });
  CHECK(trace.take() ==
        "[3] True False False | [4] a done | [5] b done | [7] ab | [10] a done | "
        "[10] CancelledError() True False | [10] a");
}

TEST_CASE("a shield that is dropped lets its task end") {
  Trace trace;
  run([&] {
    static_cast<void>(shield([&] {
      turns(1);
      trace("ran");
    }));
    turns(3);
    trace("end");
  });
  CHECK(trace.take() == "[3] ran | [4] end");
}

TEST_CASE("a shielded task is cancelled with its loop like any other") {
  Trace trace;
  run([&] {
    auto waiter = create_task([&] {
      await(shield([&] {
        const AtEnd end([&] { trace("unwound"); });
        await(asyncio::sleep(10s));
      }));
    });
    turns(2);
    trace("main returns");
  });
  CHECK(trace.take() == "[3] main returns | [5] unwound");
}

TEST_CASE("a shield that was cancelled does not keep its task: one that fails then is reported") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    const auto outer = shield(create_task([] {
      turns(3);
      throw fiber::ValueError("lost");
    }));
    turns(1);
    outer.cancel();
    turns(6);
    trace("outer is held ", outer.cancelled());
  });
  CHECK(trace.take() ==
        "[5] EXC_HANDLER Task exception was never retrieved ValueError('lost') | "
        "[8] outer is held True");
}
