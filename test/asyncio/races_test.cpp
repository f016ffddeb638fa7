// Wake-ups and cancellations that meet in one iteration: none is lost, none is delivered twice.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;
using asyncio::Task;

namespace {

template <class T>
std::string done(const std::vector<Task<T>>& tasks) {
  std::string text;
  for (const auto& task : tasks) text += task.done() ? '1' : '0';
  return text;
}

}  // namespace

TEST_CASE("a lock is released and its first waiter cancelled: the second gets it") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    const auto go = get_running_loop().create_future();
    const auto user = [&](std::string name, bool waits) {
      return create_task([&trace, &lock, go, name, waits] {
        asyncio::with(lock, [&] {
          trace(name, " has it");
          if (waits) await(go);
        });
      });
    };
    auto a = user("a", true);
    turns(1);
    auto b = user("b", false);
    auto c = user("c", false);
    turns(1);
    go.set_result();
    b.cancel();
    turns(1);
    trace("locked ", lock.locked(), " ", a.done(), " ", b.cancelled());
    await(c);
  });
  CHECK(trace.take() == "[2] a has it | [4] locked False True True | [5] c has it");
}

TEST_CASE("the first of three waiters is cancelled and the lock released: one takes it, not two") {
  Trace trace;
  run([&] {
    const asyncio::Lock lock;
    await(lock.acquire());
    std::string taken;
    std::vector<Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(create_task([&, i] {
        await(lock.acquire());
        taken += std::to_string(i);
      }));
    turns(1);
    get_running_loop().call_soon([&] {
      tasks[0].cancel();
      lock.release();
    });
    await(asyncio::wait(std::vector{tasks[0]}));
    trace(taken, " ", done(tasks));
    tasks[2].cancel();
    turns(1);
    trace(tasks[2].cancelled());

    // A task that has not begun to wait when the first waiter is cancelled.
    const asyncio::Lock other;
    await(other.acquire());
    auto first = create_task([&] { await(other.acquire()); });
    turns(1);
    auto second = create_task([&] { await(other.acquire()); });
    first.cancel();
    other.release();
    turns(1);
    trace(other.locked(), " ", first.cancelled(), " ", second.done());
    await(second);
  });
  CHECK(trace.take() == "[6] 1 110 | [7] True | [9] True True True");
}

TEST_CASE("an item that a cancelled consumer was notified of goes to another consumer") {
  Trace trace;
  run([&] {
    for (bool relock : {false, true}) {
      const asyncio::Condition condition;
      int items = 0;
      const auto consumer = [&](int number) {
        return create_task([&, number] {
          asyncio::with(condition, [&] {
            for (;;) {
              await(condition.wait_for([&] { return items != 0; }));
              if (items < 0) return trace(number, " ends");
              --items;
              trace(number, " takes");
            }
          });
        });
      };
      std::vector consumers{consumer(0), consumer(1)};
      turns(1);
      asyncio::with(condition, [&] {
        ++items;
        condition.notify(1);
        if (relock) turns(1);  // when cancelled, it locks again
        consumers[0].cancel();
        try {
          asyncio::with(asyncio::timeout(10ms),
                        [&] { await(condition.wait_for([&] { return items == 0; })); });
        } catch (const fiber::TimeoutError&) {
          trace("timeout");
        }
        trace("left ", items);
        items = -1;
        condition.notify_all();
      });
      await(consumers[1]);
      trace(consumers[0].cancelled());
    }
  });
  CHECK(trace.take() ==
        "[4] 1 takes | [6] timeout | [6] left 0 | [7] 1 ends | [8] True | [12] 1 takes | "
        "[14] timeout | [14] left 0 | [15] 1 ends | [16] True");
}

TEST_CASE("a condition passes the CancelledError on as it is, from the wait and from the lock") {
  Trace trace;
  run([&] {
    for (bool relock : {false, true}) {
      const asyncio::Condition condition;
      auto task = create_task([&] {
        asyncio::with(condition, [&] {
          try {
            await(condition.wait());
          } catch (const CancelledError&) {
            trace(caught());
            throw;
          }
        });
      });
      turns(1);
      if (relock) {
        await(condition.acquire());
        condition.notify();
        turns(1);
      }
      task.cancel("foo");
      if (relock) condition.release();
      trace(thrown_by([&] { await(task); }));
    }
    const asyncio::Condition condition;
    asyncio::with(condition, [&] {
      trace(thrown_by([&] { await(asyncio::wait_for(condition.wait(), 10ms)); }), " ",
            condition.locked());
    });
  });
  CHECK(trace.take() ==
        "[3] CancelledError('foo') | [4] CancelledError('foo') | [7] CancelledError('foo') | "
        "[8] CancelledError('foo') | [10] TimeoutError() True");
}

TEST_CASE("places of a semaphore are not lost with cancelled waiters") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(0);
    std::vector<Task<>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(create_task([&] { await(semaphore.acquire()); }));
    turns(1);
    tasks[0].cancel();
    tasks[1].cancel();
    semaphore.release();
    turns(2);
    trace(done(tasks), " ", semaphore.locked());
    tasks[3].cancel();
    turns(1);

    // Cancelled by the task that has just handed it the place.
    const asyncio::Semaphore single(1);
    Task<> second;
    auto first = create_task([&] {
      asyncio::with(single, [] { turns(1); });
      second.cancel();
    });
    second = create_task([&] { asyncio::with(single, [&] { trace("never"); }); });
    await(asyncio::wait(std::vector{first, second}));
    trace(second.cancelled(), " ", single.locked());
    await(asyncio::wait_for(single.acquire(), 1s));
    trace("free");
  });
  CHECK(trace.take() == "[4] 1110 True | [10] True False | [10] free");
}

TEST_CASE("places that are released together go to the waiters in their order") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(1);
    const auto take = [&](int number) {
      await(semaphore.acquire());
      trace(number);
    };
    auto one = create_task([&] { take(1); });
    auto two = create_task([&] {
      take(2);
      semaphore.release();
      take(4);
    });
    auto three = create_task([&] { take(3); });
    turns(1);
    semaphore.release();
    semaphore.release();
    await(asyncio::gather(one, two, three));

    const asyncio::Semaphore closed(0);
    Task<> last;
    auto a = create_task([&] {
      await(closed.acquire());
      last = create_task([&] { trace("d"); });
      trace("a");
    });
    auto b = create_task([&] {
      for (int i = 0; i < 3; ++i) closed.release();
      trace("locked ", closed.locked());
      await(closed.acquire());
      trace("b");
    });
    auto c = create_task([&] {
      await(closed.acquire());
      trace("c ", closed.locked());
    });
    turns(2);
    await(asyncio::gather(a, b, c, last));
  });
  CHECK(trace.take() ==
        "[2] 1 | [3] 2 | [3] 3 | [4] 4 | [7] locked True | [8] a | [9] b | [9] c True | [9] d");
}

TEST_CASE("a newcomer does not wait behind cancelled getters and putters") {
  Trace trace;
  run([&] {
    const asyncio::Queue<std::string> queue;
    auto a = create_task([&] { return await(queue.get()); });
    auto b = create_task([&] { return await(queue.get()); });
    turns(1);
    a.cancel();
    turns(1);
    await(queue.put("x"));
    trace(await(b));
    trace(thrown_by([&] { await(asyncio::wait_for(queue.get(), 10ms)); }));
    queue.put_nowait("y");
    turns(1);
    trace(queue.get_nowait());

    const asyncio::Queue<std::string> narrow(1);
    std::vector<Task<>> putters;
    for (const char* item : {"a", "b", "c"})
      putters.push_back(create_task([&, item] { await(narrow.put(item)); }));
    turns(1);
    trace(done(putters));
    putters[2].cancel();
    turns(1);
    trace(narrow.get_nowait());
    turns(1);
    trace(narrow.get_nowait(), " ", done(putters));

    // Already woken when it is cancelled.
    narrow.put_nowait("d");
    auto putter = create_task([&] { await(narrow.put("e")); });
    turns(1);
    static_cast<void>(narrow.get_nowait());
    putter.cancel();
    trace(thrown_by([&] { await(putter); }), " ", narrow.qsize());
  });
  CHECK(trace.take() ==
        "[5] x | [7] TimeoutError() | [8] y | [9] 100 | [10] a | [11] b 111 | "
        "[14] CancelledError() 0");
}

TEST_CASE("a cancelled waiter of an event does not keep the others from being woken") {
  Trace trace;
  run([&] {
    const asyncio::Event event;
    std::string woken;
    std::vector<Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(create_task([&, i] {
        await(event.wait());
        woken += std::to_string(i);
      }));
    turns(1);
    tasks[1].cancel();
    event.set();
    event.clear();
    turns(1);
    trace(woken, " ", tasks[1].cancelled());
  });
  CHECK(trace.take() == "[3] 02 True");
}
