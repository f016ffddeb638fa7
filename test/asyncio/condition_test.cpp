#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <mutex>
#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;

TEST_CASE("notified waiters get the lock in their order, before a later comer") {
  Trace trace;
  run([&] {
    const asyncio::Condition condition;
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        asyncio::with(condition, [&] {
          trace(i, " waits");
          await(condition.wait());
          trace(i, " woken, has lock");
          turns(1);
        });
      }));
    turns(2);
    asyncio::Task<> late;
    asyncio::with(condition, [&] {
      trace("notify 2");
      condition.notify(2);
      late = asyncio::create_task([&] {
        trace("late wants lock");
        const std::lock_guard guard(condition);
        trace("late has lock");
      });
      turns(1);
      trace("leaving");
    });
    turns(8);
    asyncio::with(condition, [&] {
      trace("notify_all");
      condition.notify_all();
    });
    await(asyncio::wait(tasks));
    await(late);
  });
  CHECK(trace.take() ==
        "[2] 0 waits | [2] 1 waits | [2] 2 waits | [3] notify 2 | [4] late wants lock | "
        "[4] leaving | [5] 0 woken, has lock | [7] 1 woken, has lock | [9] late has lock | "
        "[12] notify_all | [13] 2 woken, has lock");
}

TEST_CASE("a cancelled wait takes the lock again before it throws, however often it is cancelled") {
  Trace trace;
  run([&] {
    const asyncio::Condition condition;
    auto task = asyncio::create_task([&] {
      asyncio::with(condition, [&] {
        try {
          await(condition.wait());
        } catch (const CancelledError&) {
          trace("CancelledError, locked ", condition.locked());
          throw;
        }
      });
    });
    turns(1);
    await(condition.acquire());
    task.cancel();
    turns(1);
    task.cancel();
    turns(1);
    trace("t done while I hold the lock? ", task.done());
    condition.release();
    await(asyncio::wait(std::vector{task}));
    trace("cancelled ", task.cancelled(), " locked ", condition.locked(), " ", task.cancelling());
  });
  CHECK(trace.take() ==
        "[4] t done while I hold the lock? False | [5] CancelledError, locked True | "
        "[7] cancelled True locked False 2");
}

TEST_CASE("a waiter that is notified and then cancelled passes the notification on") {
  Trace trace;
  const asyncio::Condition condition;  // outlives a waiter that a wrong library leaves
  const auto user = [&](std::string name) {
    const std::lock_guard guard(condition);
    await(condition.wait());
    trace(name, " woken");
  };
  run([&] {
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    asyncio::with(condition, [&] {
      condition.notify(1);
      a.cancel();
    });
    turns(5);
    trace("b woken: ", b.done());
    CHECK(a.cancelled());
  });
  CHECK(trace.take() == "[4] b woken | [7] b woken: True");
}

TEST_CASE("a notification passes over waiters that are cancelled but have not run since") {
  Trace trace;
  const asyncio::Condition condition;  // outlives a waiter that a wrong library leaves
  const auto user = [&](int number) {
    const std::lock_guard guard(condition);
    try {
      await(condition.wait());
      trace(number, " woken");
    } catch (const CancelledError&) {
      trace(number, " cancelled");
      throw;
    }
  };
  run([&] {
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(asyncio::create_task([&, i] { user(i); }));
    turns(1);
    asyncio::with(condition, [&] {
      tasks[0].cancel();
      condition.notify(1);
    });
    turns(5);
    trace("main");
    asyncio::with(condition, [&] { condition.notify_all(); });
    await(asyncio::wait(tasks));
  });
  CHECK(trace.take() == "[3] 0 cancelled | [3] 1 woken | [4] 2 woken | [7] main");
}

TEST_CASE("wait_for looks again after each notification and returns what the predicate did") {
  Trace trace;
  run([&] {
    const asyncio::Condition condition;
    int value = 0;
    auto task = asyncio::create_task([&] {
      asyncio::with(condition, [&] {
        trace("got ", await(condition.wait_for([&] { return value >= 2 ? value : 0; })));
      });
    });
    turns(1);
    for (int i = 0; i < 3; ++i) {
      asyncio::with(condition, [&] {
        value = i;
        condition.notify();
        trace("set ", i);
      });
      turns(2);
    }
    await(task);
  });
  CHECK(trace.take() == "[2] set 0 | [4] set 1 | [6] set 2 | [7] got 2");
}

TEST_CASE("several conditions may share a lock") {
  run([] {
    const asyncio::Lock lock;
    const asyncio::Condition full(lock);
    const asyncio::Condition empty(lock);
    auto task = asyncio::create_task([&] {
      asyncio::with(full, [&] {
        CHECK(lock.locked());
        await(full.wait());
        empty.notify();
      });
    });
    turns(1);
    CHECK_FALSE(lock.locked());
    asyncio::with(lock, [&] {
      full.notify();
      await(empty.wait());
    });
    await(task);
  });
}

TEST_CASE("waiting and notifying need the lock") {
  run([] {
    const asyncio::Condition condition;
    CHECK(thrown_by([&] { await(condition.wait()); }) ==
          "RuntimeError('cannot wait on un-acquired lock')");
    CHECK(thrown_by([&] { condition.notify(); }) ==
          "RuntimeError('cannot notify on un-acquired lock')");
    CHECK(thrown_by([&] { condition.notify_all(); }) ==
          "RuntimeError('cannot notify on un-acquired lock')");
    CHECK(thrown_by([&] { condition.release(); }) == "RuntimeError('Lock is not acquired.')");
  });
}

TEST_CASE("the text of a condition has its lock and the number of its waiters") {
  run([] {
    const asyncio::Condition condition;
    CHECK(condition.repr().starts_with("<asyncio.locks.Condition object at 0x"));
    CHECK(condition.repr().ends_with(" [unlocked]>"));
    auto task =
        asyncio::create_task([&] { asyncio::with(condition, [&] { await(condition.wait()); }); });
    turns(1);
    CHECK(condition.repr().ends_with(" [unlocked, waiters:1]>"));
    asyncio::with(condition, [&] {
      CHECK(condition.repr().ends_with(" [locked, waiters:1]>"));
      condition.notify();
    });
    await(task);
  });
}

TEST_CASE("a condition is bound to the loop of the first task that waits") {
  const asyncio::Condition condition;
  run([&] {
    auto task =
        asyncio::create_task([&] { asyncio::with(condition, [&] { await(condition.wait()); }); });
    turns(1);
    asyncio::with(condition, [&] { condition.notify(); });
    await(task);
  });
  run([&] {
    CHECK(thrown_by([&] {
            asyncio::with(condition, [&] { await(condition.wait()); });
          }).ends_with("is bound to a different event loop')"));
    CHECK_FALSE(condition.locked());
  });
}

TEST_CASE("a loop that ends under waiting tasks unwinds them, scope guards and all") {
  const asyncio::EventLoop loop = virtual_loop();
  std::vector<std::string> reports;
  loop.set_exception_handler([&](const auto&, const asyncio::ExceptionContext& context) {
    reports.push_back(context.message);
  });
  const asyncio::Condition condition;
  auto guarded = loop.create_task([&] {
    const std::lock_guard guard(condition);
    await(condition.wait());
  });
  auto block =
      loop.create_task([&] { asyncio::with(condition, [&] { await(condition.wait()); }); });
  loop.run_until_complete(asyncio::sleep(0));
  loop.close();
  CHECK(guarded.cancelled());
  CHECK(block.cancelled());
  CHECK_FALSE(condition.locked());
  CHECK(reports == std::vector<std::string>(2, "Task was destroyed but it is pending!"));
}

TEST_CASE("a loop that ends under a task that was notified and waits for the lock unwinds it") {
  const asyncio::EventLoop loop = virtual_loop();
  loop.set_exception_handler([](const auto&, const asyncio::ExceptionContext&) {});
  const asyncio::Condition condition;
  const auto holds = loop.create_task([&] {
    turns(1);
    asyncio::with(condition, [&] {
      condition.notify();
      await(asyncio::sleep(1h));
    });
  });
  const auto waits =
      loop.create_task([&] { asyncio::with(condition, [&] { await(condition.wait()); }); });
  loop.run_until_complete([] { turns(5); });
  loop.close();
  CHECK(holds.cancelled());
  CHECK(waits.cancelled());
  CHECK_FALSE(condition.locked());
}
