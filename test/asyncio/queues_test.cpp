// Queue, PriorityQueue and LifoQueue.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::Queue;
using asyncio::QueueShutDown;

TEST_CASE("getters are served in the order of coming") {
  Trace trace;
  run([&] {
    const Queue<std::string> queue;
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(asyncio::create_task([&, i] { trace(i, " gets ", await(queue.get())); }));
    turns(1);
    for (const char* item : {"a", "b", "c"}) queue.put_nowait(item);
    trace("put x3");
    trace("qsize ", queue.qsize());
    await(asyncio::wait(tasks));
  });
  CHECK(trace.take() == "[2] put x3 | [2] qsize 3 | [3] 0 gets a | [3] 1 gets b | [3] 2 gets c");
}

TEST_CASE("a get that need not wait takes the item of a woken getter, which goes to the back") {
  Trace trace;
  run([&] {
    const Queue<int> queue;
    const auto getter = [&](std::string name) {
      trace(name, " waits");
      const int item = await(queue.get());
      trace(name, " gets ", item);
    };
    auto a = asyncio::create_task([&] { getter("a"); });
    auto b = asyncio::create_task([&] { getter("b"); });
    turns(1);
    queue.put_nowait(1);
    trace("main steals ", await(queue.get()));
    turns(1);
    queue.put_nowait(2);
    queue.put_nowait(3);
    await(asyncio::wait(std::vector{a, b}));
  });
  CHECK(trace.take() ==
        "[2] a waits | [2] b waits | [2] main steals 1 | [4] b gets 2 | [4] a gets 3");
}

TEST_CASE("putters at a full queue go on one by one, first come first served") {
  Trace trace;
  run([&] {
    const Queue<int> queue(1);
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        trace("put? ", i);
        await(queue.put(i));
        trace("put ok ", i);
      }));
    turns(1);
    for (int i = 0; i < 3; ++i) {
      trace("got ", await(queue.get()));
      if (i < 2) turns(1);
    }
    await(asyncio::wait(tasks));
  });
  CHECK(trace.take() ==
        "[2] put? 0 | [2] put ok 0 | [2] put? 1 | [2] put? 2 | [2] got 0 | [3] put ok 1 | "
        "[3] got 1 | [4] put ok 2 | [4] got 2");
}

TEST_CASE("a producer and a consumer at a queue of one take turns") {
  Trace trace;
  run([&] {
    const Queue<int> queue(1);
    const auto producer = [&] {
      for (int i = 0; i < 4; ++i) {
        await(queue.put(i));
        trace("put ", i);
      }
    };
    const auto consumer = [&] {
      for (int i = 0; i < 4; ++i) trace("got ", await(queue.get()));
    };
    await(asyncio::gather(producer, consumer));
  });
  CHECK(trace.take() ==
        "[2] put 0 | [2] got 0 | [3] put 1 | [4] got 1 | [5] put 2 | [6] got 2 | [7] put 3 | "
        "[8] got 3");
}

TEST_CASE("join waits until every item is done, and one too many is an error") {
  Trace trace;
  run([&] {
    const Queue<int> queue;
    await(queue.join());
    trace("join on fresh ok");
    queue.put_nowait(1);
    queue.put_nowait(2);
    auto worker = asyncio::create_task([&] {
      while (!queue.empty()) {
        trace("got ", await(queue.get()));
        queue.task_done();
        trace("task_done");
      }
    });
    await(queue.join());
    trace("joined");
    trace(thrown_by([&] { queue.task_done(); }));
    await(worker);
  });
  CHECK(trace.take() ==
        "[1] join on fresh ok | [2] got 1 | [2] task_done | [2] got 2 | [2] task_done | "
        "[3] joined | [3] ValueError('task_done() called too many times')");
}

TEST_CASE("a getter that is cancelled when woken leaves the item to the next") {
  Trace trace;
  run([&] {
    const Queue<int> queue;
    const auto getter = [&](std::string name) { trace(name, " got ", await(queue.get())); };
    auto a = asyncio::create_task([&] { getter("a"); });
    auto b = asyncio::create_task([&] { getter("b"); });
    turns(1);
    queue.put_nowait(1);
    a.cancel();
    await(asyncio::wait(std::vector{a, b}));
    trace("a ", a.cancelled(), " qsize ", queue.qsize());
  });
  CHECK(trace.take() == "[4] b got 1 | [6] a True qsize 0");
}

TEST_CASE("a putter that is cancelled when woken leaves the room to the next") {
  Trace trace;
  run([&] {
    const Queue<std::string> queue(1);
    queue.put_nowait("0");
    const auto putter = [&](std::string name) {
      await(queue.put(name));
      trace("put ", name);
    };
    auto a = asyncio::create_task([&] { putter("a"); });
    auto b = asyncio::create_task([&] { putter("b"); });
    turns(1);
    trace("got ", queue.get_nowait());
    a.cancel();
    await(asyncio::wait(std::vector{a, b}));
    trace("a ", a.cancelled(), " qsize ", queue.qsize());
    CHECK(queue.get_nowait() == "b");
  });
  CHECK(trace.take() == "[2] got 0 | [4] put b | [6] a True qsize 1");
}

TEST_CASE("getting from a queue that has items never lets others run") {
  Trace trace;
  run([&] {
    const Queue<int> queue;
    for (int i = 0; i < 3; ++i) queue.put_nowait(i);
    auto other = asyncio::create_task([&] { trace("other"); });
    for (int i = 0; i < 3; ++i) trace("got ", await(queue.get()));
    await(other);
  });
  CHECK(trace.take() == "[1] got 0 | [1] got 1 | [1] got 2 | [2] other");
}

TEST_CASE("shutdown wakes getters with QueueShutDown, in order") {
  Trace trace;
  run([&] {
    const Queue<int> queue;
    std::vector<asyncio::Task<>> tasks;
    for (const std::string name : {"a", "b", "c"})
      tasks.push_back(asyncio::create_task(
          [&, name] { trace(name, " ", thrown_by([&] { await(queue.get()); })); }));
    turns(1);
    trace("shutdown");
    queue.shutdown();
    await(asyncio::wait(tasks));
    trace(thrown_by([&] { queue.put_nowait(1); }));
    trace(thrown_by([&] { queue.get_nowait(); }));
  });
  CHECK(trace.take() ==
        "[2] shutdown | [3] a QueueShutDown() | [3] b QueueShutDown() | [3] c QueueShutDown() | "
        "[5] QueueShutDown() | [5] QueueShutDown()");
}

TEST_CASE("after a shutdown items drain first, unless it is immediate") {
  Trace trace;
  const auto putter = [&](const Queue<int>& queue, std::string name) {
    return asyncio::create_task(
        [&trace, queue, name] { trace(name, " ", thrown_by([&] { await(queue.put(9)); })); });
  };
  run([&] {
    const Queue<int> queue(2);
    queue.put_nowait(1);
    queue.put_nowait(2);
    const std::vector tasks{putter(queue, "a"), putter(queue, "b")};
    turns(1);
    auto join = asyncio::create_task(queue.join());
    turns(1);
    queue.shutdown();
    trace(queue.str());
    await(asyncio::wait(tasks));
    trace(await(queue.get()));
    trace(queue.get_nowait());
    trace(thrown_by([&] { await(queue.get()); }));
    queue.task_done();
    queue.task_done();
    await(join);
    trace("joined ", queue.str());
  });
  CHECK(trace.take() ==
        "[3] <Queue maxsize=2 _queue=[1, 2] tasks=2 shutdown> | [4] a QueueShutDown() | "
        "[4] b QueueShutDown() | [6] 1 | [6] 2 | [6] QueueShutDown() | "
        "[8] joined <Queue maxsize=2 shutdown>");
  run([&] {
    const Queue<int> queue(2);
    queue.put_nowait(1);
    queue.put_nowait(2);
    const std::vector tasks{putter(queue, "a"), asyncio::create_task([&] {
                              await(queue.join());
                              trace("joined");
                            })};
    turns(1);
    trace("now");
    queue.shutdown(true);
    trace(queue.str());
    await(asyncio::wait(tasks));
    trace(thrown_by([&] { await(queue.get()); }));
    trace(thrown_by([&] { queue.task_done(); }));
  });
  CHECK(trace.take() ==
        "[2] now | [2] <Queue maxsize=2 shutdown> | [3] joined | [3] a QueueShutDown() | "
        "[5] QueueShutDown() | [5] ValueError('task_done() called too many times')");
}

TEST_CASE("equal priorities come out as Python's heap gives them") {
  struct Item {
    int priority;
    int number;
    bool operator<(const Item& other) const { return priority < other.priority; }
  };
  const auto order = [](const std::vector<int>& priorities) {
    const asyncio::PriorityQueue<Item> queue;
    for (int i = 0; const int priority : priorities) queue.put_nowait({priority, i++});
    std::vector<int> numbers;
    while (!queue.empty()) numbers.push_back(queue.get_nowait().number);
    return numbers;
  };
  CHECK(order({0, 0, 0, 0}) == std::vector{0, 2, 1, 3});
  CHECK(order({0, 0, 0, 0, 0, 0}) == std::vector{0, 2, 5, 4, 1, 3});
  CHECK(order({0, 0, 0, 0, 0, 0, 0, 0}) == std::vector{0, 2, 6, 5, 7, 4, 1, 3});
  CHECK(order({3, 1, 2, 1, 3, 2, 1, 2, 3, 1}) == std::vector{1, 6, 3, 9, 2, 5, 7, 4, 0, 8});
}

TEST_CASE("the other kinds of queue have their own order, and may have another comparison") {
  const asyncio::LifoQueue<int> lifo;
  const asyncio::PriorityQueue<int> smallest(5);
  const asyncio::PriorityQueue<int, std::greater<>> largest;
  for (int item : {3, 1, 2}) {
    lifo.put_nowait(item);
    smallest.put_nowait(item);
    largest.put_nowait(item);
  }
  CHECK(lifo.str() == "<LifoQueue maxsize=0 _queue=[3, 1, 2] tasks=3>");
  CHECK(smallest.str() == "<PriorityQueue maxsize=5 _queue=[1, 3, 2] tasks=3>");
  for (int item : {2, 1, 3}) CHECK(lifo.get_nowait() == item);
  for (int item : {1, 2, 3}) CHECK(smallest.get_nowait() == item);
  for (int item : {3, 2, 1}) CHECK(largest.get_nowait() == item);
  CHECK(smallest.str() == "<PriorityQueue maxsize=5 tasks=3>");
}

TEST_CASE("operations that do not wait fail at once, and sizes are told") {
  const Queue<int> queue(2);
  CHECK(queue.maxsize() == 2);
  CHECK(queue.empty());
  CHECK(thrown_by([&] { queue.get_nowait(); }) == "QueueEmpty()");
  queue.put_nowait(1);
  CHECK_FALSE(queue.full());
  queue.put_nowait(2);
  CHECK(queue.full());
  CHECK(queue.qsize() == 2);
  CHECK(thrown_by([&] { queue.put_nowait(3); }) == "QueueFull()");
  const Queue<int> unlimited(-1);
  for (int i = 0; i < 100; ++i) unlimited.put_nowait(i);
  CHECK_FALSE(unlimited.full());
  for (int i = 0; i < 100; ++i) CHECK(unlimited.get_nowait() == i);
}

TEST_CASE("items may be move-only, and what is left dies with the queue") {
  const auto alive = std::make_shared<int>(1);
  {
    run([&] {
      const Queue<std::unique_ptr<std::shared_ptr<int>>> queue(1);
      auto task = asyncio::create_task([&] {
        for (int i = 0; i < 2; ++i) await(queue.put(std::make_unique<std::shared_ptr<int>>(alive)));
      });
      CHECK(*await(queue.get()) == alive);
      await(task);
      CHECK(alive.use_count() == 2);
      CHECK(thrown_by([&] { queue.put_nowait(nullptr); }) == "QueueFull()");
      asyncio::PriorityQueue<std::unique_ptr<int>> priority;
      asyncio::LifoQueue<std::unique_ptr<int>> lifo;
      priority.put_nowait(std::make_unique<int>(3));
      lifo.put_nowait(priority.get_nowait());
      CHECK(*lifo.get_nowait() == 3);
    });
  }
  CHECK(alive.use_count() == 1);
}

TEST_CASE("an item stays in the queue if copying it out, or into a larger ring, throws") {
  struct Copied {
    explicit Copied(std::shared_ptr<bool> its_fails) : fails(std::move(its_fails)) {}
    Copied(const Copied& other) : fails(other.fails) {
      if (*fails) throw fiber::ValueError("copy");
    }
    std::shared_ptr<bool> fails;
  };
  const auto fails = std::make_shared<bool>(false);
  const auto all_fail = [&](auto queue) {
    for (int i = 0; i < 8; ++i) queue.put_nowait(Copied(fails));
    *fails = true;
    CHECK(thrown_by([&] { static_cast<void>(queue.get_nowait()); }) == "ValueError('copy')");
    CHECK(thrown_by([&] { static_cast<void>(await(queue.get())); }) == "ValueError('copy')");
    CHECK(queue.qsize() == 8);
    *fails = false;
    const Copied another(fails);
    *fails = true;
    CHECK(thrown_by([&] { queue.put_nowait(another); }) == "ValueError('copy')");
    *fails = false;
    CHECK(queue.qsize() == 8);
    for (int i = 0; i < 8; ++i) static_cast<void>(queue.get_nowait());
    CHECK(queue.empty());
  };
  run([&] {
    all_fail(Queue<Copied>());
    all_fail(asyncio::LifoQueue<Copied>());
  });
  CHECK(fails.use_count() == 1);
}

TEST_CASE("a ring that wraps and grows keeps the order") {
  const Queue<int> queue;
  int put = 0;
  int got = 0;
  for (int round = 1; round < 60; ++round) {
    for (int i = 0; i < round; ++i) queue.put_nowait(put++);
    for (int i = 0; i < round / 2; ++i) REQUIRE(queue.get_nowait() == got++);
  }
  while (!queue.empty()) REQUIRE(queue.get_nowait() == got++);
  CHECK(got == put);
}

TEST_CASE("a queue is bound to the loop of the first task that has to wait") {
  const Queue<int> queue;
  run([&] {
    auto task = asyncio::create_task(queue.get());
    turns(1);
    queue.put_nowait(1);
    CHECK(await(task) == 1);
  });
  run([&] {
    queue.put_nowait(2);
    CHECK(await(queue.get()) == 2);
    const std::string error = thrown_by([&] { await(queue.get()); });
    CHECK(error.starts_with("RuntimeError('<Queue at 0x"));
    CHECK(error.ends_with(" maxsize=0 tasks=2> is bound to a different event loop')"));
  });
}

TEST_CASE("the text of a queue has its limit, items, waiters and unfinished tasks") {
  run([] {
    const Queue<std::string> queue(1);
    CHECK(queue.str() == "<Queue maxsize=1>");
    auto getter = asyncio::create_task(queue.get());
    turns(1);
    CHECK(queue.str() == "<Queue maxsize=1 _getters[1]>");
    queue.put_nowait("x");
    CHECK(queue.str() == "<Queue maxsize=1 _queue=['x'] tasks=1>");
    auto putter = asyncio::create_task(queue.put("y"));
    await(getter);
    await(putter);
    CHECK(queue.repr().starts_with("<Queue at 0x"));
    putter = asyncio::create_task(queue.put("z"));
    turns(1);
    CHECK(queue.str() == "<Queue maxsize=1 _queue=['y'] _putters[1] tasks=2>");
    putter.cancel();
  });
}

TEST_CASE("a waiting task keeps the queue, and one that is left over is cancelled") {
  run([] {
    auto task = asyncio::create_task(Queue<int>().get());
    turns(1);
    CHECK_FALSE(task.done());
  });
  const asyncio::EventLoop loop = virtual_loop();
  loop.set_exception_handler([](const auto&, const auto&) {});
  auto task = loop.create_task(Queue<int>().get());
  loop.run_until_complete(asyncio::sleep(0));
  loop.close();
  CHECK(task.cancelled());
}

TEST_CASE("a queue shows its items as Python does, where it has them") {
  const auto shown = [](auto... items) {
    asyncio::Queue<std::common_type_t<decltype(items)...>> queue;
    (queue.put_nowait(items), ...);
    return queue.str();
  };
  CHECK(shown(1, -2) == "<Queue maxsize=0 _queue=[1, -2] tasks=2>");
  CHECK(shown(std::uint8_t{10}) == "<Queue maxsize=0 _queue=[10] tasks=1>");
  CHECK(shown('a') == "<Queue maxsize=0 _queue=['a'] tasks=1>");
  CHECK(shown(0.5, 2.0, -1e300) == "<Queue maxsize=0 _queue=[0.5, 2.0, -1e+300] tasks=3>");
  CHECK(shown(true, false) == "<Queue maxsize=0 _queue=[True, False] tasks=2>");
  CHECK(shown(std::string("x")) == "<Queue maxsize=0 _queue=['x'] tasks=1>");
  CHECK(shown(std::monostate()) == "<Queue maxsize=0 _queue=[...] tasks=1>");
}
