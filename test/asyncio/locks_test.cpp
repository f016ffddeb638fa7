// Lock and Event.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include <malloc.h>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;

TEST_CASE("a lock goes round in the order of coming, also when released and wanted again") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    const auto user = asyncio::async([&, lock](std::string name) {
      for (int i = 0; i < 2; ++i) {
        asyncio::with(lock, [&] {
          trace(name, " has it ", i);
          turns(1);
        });
      }
    });
    await(asyncio::gather(user("a"), user("b"), user("c")));
  });
  CHECK(trace.take() ==
        "[2] a has it 0 | [4] b has it 0 | [6] c has it 0 | [8] a has it 1 | [10] b has it 1 | "
        "[12] c has it 1");
}

TEST_CASE("an uncontended lock does not suspend, and release only marks the first in line") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    auto marker = asyncio::create_task([&] { trace("marker"); });
    CHECK(await(lock.acquire()));
    trace("acquired w/o suspension");
    const auto user = [&](std::string name) {
      trace(name, " wants");
      const std::lock_guard guard(lock);
      trace(name, " got");
      turns(1);
      trace(name, " done; locked() = ", lock.locked());
    };
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    lock.release();
    trace("released; locked() = ", lock.locked());
    await(a);
    await(b);
    await(marker);
  });
  CHECK(trace.take() ==
        "[1] acquired w/o suspension | [2] marker | [2] a wants | [2] b wants | "
        "[2] released; locked() = False | [3] a got | [4] a done; locked() = True | [5] b got | "
        "[6] b done; locked() = True");
}

TEST_CASE("a cancelled waiter that was woken passes its turn on") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    lock.lock();
    const auto user = [&](std::string name) {
      try {
        asyncio::with(lock, [&] {
          trace(name, " got");
          turns(1);
        });
      } catch (const CancelledError&) {
        trace(name, " cancelled");
        throw;
      }
    };
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    trace("release + cancel a");
    lock.release();
    a.cancel();
    await(asyncio::wait(std::vector{a, b}));
    trace("locked ", lock.locked());
  });
  CHECK(trace.take() == "[2] release + cancel a | [3] a cancelled | [4] b got | [7] locked False");
}

TEST_CASE("a task that releases a lock and wants it again goes behind the waiters") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    const auto a = [&] {
      lock.lock();
      turns(1);
      lock.release();
      trace("a released, wants again");
      await(lock.acquire());
      trace("a again");
      lock.release();
    };
    const auto b = [&] {
      const std::lock_guard guard(lock);
      trace("b");
      turns(1);
    };
    await(asyncio::gather(a, b));
  });
  CHECK(trace.take() == "[3] a released, wants again | [4] b | [6] a again");
}

TEST_CASE("a lock passes over waiters that are cancelled but have not run since") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    lock.lock();
    const auto user = [&](std::string name) {
      try {
        lock.lock();
        trace(name, " got");
      } catch (const CancelledError&) {
        trace(name, " cancelled");
      }
    };
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    a.cancel();
    b.cancel();
    lock.release();
    lock.lock();
    trace("main jumps the queue of cancelled ones");
    lock.release();
    await(asyncio::wait(std::vector{a, b}));
  });
  CHECK(trace.take() ==
        "[2] main jumps the queue of cancelled ones | [3] a cancelled | [3] b cancelled");
}

TEST_CASE("tasks that lock without contention do not interleave") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    const auto user = [&](std::string name) {
      for (int i = 0; i < 2; ++i) {
        const std::lock_guard guard(lock);
        trace(name, " ", i);
      }
    };
    await(asyncio::gather([&] { user("a"); }, [&] { user("b"); }));
  });
  CHECK(trace.take() == "[2] a 0 | [2] a 1 | [2] b 0 | [2] b 1");
}

TEST_CASE("a lock is released when its block throws, and an error is not replaced") {
  run([] {
    const asyncio::Lock lock;
    CHECK(thrown_by([&] { asyncio::with(lock, [] { throw fiber::ValueError("x"); }); }) ==
          "ValueError('x')");
    CHECK_FALSE(lock.locked());
    CHECK(thrown_by([&] {
            const std::lock_guard guard(lock);
            lock.release();
            throw fiber::ValueError("y");
          }) == "ValueError('y')");
    CHECK(thrown_by([&] { lock.release(); }) == "RuntimeError('Lock is not acquired.')");
    CHECK(asyncio::with(lock, [] { return 7; }) == 7);
  });
}

TEST_CASE("an event that is set and cleared in one step wakes all, who find it cleared") {
  Trace trace;
  run([&] {
    const asyncio::Event event;
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        const bool woken = await(event.wait());
        trace(i, " woken; is_set ", event.is_set(), " ", woken);
      }));
    turns(1);
    trace("set+clear");
    event.set();
    event.clear();
    await(asyncio::wait(tasks));
    event.set();
    auto marker = asyncio::create_task([&] { trace("marker"); });
    await(event.wait());
    trace("no suspension");
    await(marker);
  });
  CHECK(trace.take() ==
        "[2] set+clear | [3] 0 woken; is_set False True | [3] 1 woken; is_set False True | "
        "[3] 2 woken; is_set False True | [5] no suspension | [6] marker");
}

TEST_CASE("a cancelled waiter leaves an event") {
  run([] {
    const asyncio::Event event;
    auto task = asyncio::create_task([&] { await(event.wait()); });
    turns(1);
    CHECK(event.repr().ends_with("[unset, waiters:1]>"));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
    CHECK(event.repr().ends_with("[unset]>"));
    event.set();
    CHECK(event.repr().ends_with("[set]>"));
  });
}

TEST_CASE("copies of a lock are the same lock, and a wait keeps it alive") {
  run([] {
    asyncio::Lock lock;
    const asyncio::Lock copy = lock;
    CHECK(copy == lock);
    CHECK_FALSE(copy == asyncio::Lock());
    lock.lock();
    CHECK(copy.locked());
    auto waiter = asyncio::create_task(asyncio::Lock(lock).acquire());
    turns(1);
    lock = asyncio::Lock();
    copy.release();
    CHECK(await(waiter));
  });
}

TEST_CASE("locks and events are bound to the loop of the first task that has to wait") {
  asyncio::Lock lock;
  asyncio::Event event;
  const auto contend = [&] {
    lock.lock();
    auto a = asyncio::create_task(lock.acquire());
    auto b = asyncio::create_task(event.wait());
    turns(1);
    lock.release();
    event.set();
    await(asyncio::wait(std::vector{a, b}));
    event.clear();
    lock.release();
    return std::pair{a.exception(), b.exception()};
  };
  const auto [first_lock, first_event] = run(contend);
  CHECK(first_lock == nullptr);
  CHECK(first_event == nullptr);
  run([&] { const std::lock_guard no_contention(lock); });
  run([&] {
    lock.lock();
    CHECK(thrown_by([&] {
            await(lock.acquire());
          }).ends_with("[locked]> is bound to a different event loop')"));
    CHECK(thrown_by([&] {
            await(event.wait());
          }).ends_with("[unset]> is bound to a different event loop')"));
    lock.release();
  });
}

TEST_CASE("what locks look like when printed") {
  const asyncio::Lock lock;
  CHECK(lock.repr().starts_with("<asyncio.locks.Lock object at 0x"));
  CHECK(lock.repr().ends_with(" [unlocked]>"));
  run([&] {
    lock.lock();
    auto a = asyncio::create_task(lock.acquire());
    turns(1);
    CHECK(lock.repr().ends_with(" [locked, waiters:1]>"));
    a.cancel();
    turns(1);
    CHECK(lock.repr().ends_with(" [locked]>"));
    lock.release();
  });
}

TEST_CASE("waiting outside of a task is an error, taking a free lock is not") {
  const asyncio::Lock lock;
  lock.lock();
  CHECK(thrown_by([&] { lock.lock(); }).starts_with("RuntimeError("));
  lock.release();
  CHECK_FALSE(lock.locked());
}

TEST_CASE("a loop that ends under waiting and holding tasks unwinds them") {
  Trace trace;
  {
    const asyncio::EventLoop loop = virtual_loop();
    const asyncio::Lock lock;
    const asyncio::Event event;
    loop.set_exception_handler([](const auto&, const auto&) {});
    auto holder = loop.create_task([&] {
      const std::lock_guard guard(lock);
      await(event.wait());
    });
    auto waiter = loop.create_task([&] { asyncio::with(lock, [] {}); });
    loop.run_until_complete(asyncio::sleep(0));
    loop.close();
    CHECK(holder.done());
    CHECK(waiter.done());
  }
}

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)
TEST_CASE("a wait that is cancelled leaves no event and no lock behind") {
  const auto used_after = [](int rounds) {
    asyncio::run([&] {
      for (int i = 0; i < rounds; ++i) {
        const asyncio::Event event;
        const asyncio::Lock lock;
        await(lock.acquire());
        const std::vector<asyncio::Task<>> tasks{
            asyncio::create_task([event] { await(event.wait()); }),
            asyncio::create_task([lock] { await(lock.acquire()); })};
        await(asyncio::sleep(0));
        for (const auto& task : tasks) task.cancel();
        await(asyncio::wait(tasks));
      }
    });
    return ::mallinfo2().uordblks;
  };
  used_after(1000);
  const std::size_t before = used_after(1000);
  CHECK(used_after(1000) < before + 20'000);
}
#endif
