// Task factories, and tasks that start inside create_task.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <ranges>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using fiber::contextvars::Context;
using fiber::contextvars::ContextVar;

namespace {

asyncio::EventLoop eager_loop() {
  const asyncio::EventLoop loop = virtual_loop();
  loop.set_task_factory(asyncio::eager_task_factory);
  return loop;
}

template <class F>
auto run_eagerly(F&& main) {
  return asyncio::run(std::forward<F>(main), {.loop_factory = eager_loop});
}

std::string current_name() {
  const asyncio::TaskRef task = asyncio::current_task();
  return task ? task.get_name() : "None";
}

}  // namespace

TEST_CASE("an eager task runs inside create_task until it first waits") {
  Trace trace;
  run_eagerly([&] {
    asyncio::TaskRef(asyncio::current_task()).set_name("main");
    trace("before ", current_name());
    auto a = create_task(
        [&] {
          trace("a start ", current_name());
          return 1;
        },
        {.name = "a"});
    trace("a done? ", a.done());
    auto b = create_task(
        [&] {
          trace("b start ", current_name());
          turns(1);
          trace("b end");
          return 2;
        },
        {.name = "b"});
    trace("b done? ", b.done(), " ", current_name());
    trace(await(a), await(b));
  });
  CHECK(trace.take() ==
        "[1] before main | [1] a start a | [1] a done? True | [1] b start b | "
        "[1] b done? False main | [2] b end | [3] 12");
}

TEST_CASE("eager tasks nest, and are among all tasks while they wait") {
  Trace trace;
  run_eagerly([&] {
    const auto inner = [&] {
      trace("inner 1");
      turns(1);
      trace("inner 2");
    };
    const auto outer = [&] {
      trace("outer 1");
      auto task = create_task(inner, {.name = "inner"});
      trace("outer 2 ", current_name());
      await(task);
      trace("outer 3");
    };
    asyncio::get_running_loop().call_soon([&] { trace("soon"); });
    auto task = create_task(outer, {.name = "outer"});
    std::vector<std::string> names;
    for (const asyncio::TaskRef& each : asyncio::all_tasks())
      if (each != asyncio::current_task()) names.push_back(each.get_name());
    trace("main ", names);
    await(task);
    trace("main end");
  });
  CHECK(trace.take() ==
        "[1] outer 1 | [1] inner 1 | [1] outer 2 outer | [1] main [outer, inner] | [2] soon | "
        "[2] inner 2 | [3] outer 3 | [4] main end");
}

TEST_CASE("a callback may make an eager task") {
  Trace trace;
  run_eagerly([&] {
    asyncio::get_running_loop().call_soon([&] {
      static_cast<void>(create_task([&] {
        trace("inner 1");
        turns(1);
        trace("inner 2");
      }));
      trace("callback ends in ", current_name());
    });
    turns(1);
    trace("main 1");
    turns(1);
    trace("main 2");
    turns(1);
  });
  CHECK(trace.take() ==
        "[2] inner 1 | [2] callback ends in None | [2] main 1 | [3] inner 2 | [3] main 2");
}

TEST_CASE("what an eager task throws is its own, but an interrupt leaves create_task") {
  Trace trace;
  run_eagerly([&] {
    trace_errors(trace, asyncio::get_running_loop());
    auto bad = create_task([&]() -> int {
      trace("bad");
      throw fiber::ValueError("x");
    });
    trace("done ", bad.done());
    try {
      await(bad);
    } catch (const fiber::ValueError&) {
      trace(caught());
    }
    try {
      static_cast<void>(create_task([] { throw fiber::KeyboardInterrupt(); }));
    } catch (const fiber::KeyboardInterrupt&) {
      trace("out of create_task");
    }
  });
  CHECK(trace.take() ==
        "[1] bad | [1] done True | [1] ValueError('x') | "
        "[1] EXC_HANDLER Task exception was never retrieved KeyboardInterrupt() | "
        "[1] out of create_task");
}

TEST_CASE("an eager task that is cancelled right after create_task has begun already") {
  Trace trace;
  run_eagerly([&] {
    auto task = create_task([&] {
      trace("body");
      try {
        await(asyncio::get_running_loop().create_future());
      } catch (const asyncio::CancelledError&) {
        trace("saw it");
        throw;
      }
    });
    trace("cancel ", task.cancel());
    try {
      await(task);
    } catch (const asyncio::CancelledError&) {
      trace("main saw ", task.cancelled());
    }
  });
  CHECK(trace.take() == "[1] body | [1] cancel True | [2] saw it | [3] main saw True");
}

TEST_CASE("an eager task has a context of its own, or the one that it is given") {
  Trace trace;
  run_eagerly([&] {
    const ContextVar<int> var("var", 0);
    auto task = create_task([&] {
      var.set(7);
      trace("body ", var.get());
      turns(1);
      trace("body ", var.get());
    });
    trace("main ", var.get());
    await(task);
    const Context context = fiber::contextvars::copy_context();
    await(create_task([&] { var.set(5); }, {.context = context, .eager_start = true}));
    trace("c ", context[var], " main ", var.get());
  });
  CHECK(trace.take() == "[1] body 7 | [1] main 0 | [2] body 7 | [3] c 5 main 0");
}

TEST_CASE("a task group hears of the end of an eager task in the next iteration") {
  Trace trace;
  run_eagerly([&] {
    const auto quick = [&] { trace("quick"); };
    const auto body = [&](int n) {
      return [&trace, n] {
        trace("start ", n);
        turns(1);
        trace("end ", n);
      };
    };
    asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
      group.create_task(quick);
      group.create_task(body(1));
      group.create_task(body(2));
      trace("block");
    });
    trace("after");
    asyncio::with(asyncio::TaskGroup(),
                  [&](asyncio::TaskGroup& group) { group.create_task(quick); });
    trace("after quick");
  });
  CHECK(trace.take() ==
        "[1] quick | [1] start 1 | [1] start 2 | [1] block | [2] end 1 | [2] end 2 | [4] after | "
        "[4] quick | [6] after quick");
}

TEST_CASE("one task may start eagerly where others do not, and the other way round") {
  Trace trace;
  run([&] {
    auto lazy = create_task([&] { trace("lazy"); });
    auto eager = create_task([&] { trace("eager"); }, {.eager_start = true});
    trace("made ", lazy.done(), " ", eager.done());
    await(lazy);
  });
  run_eagerly([&] {
    auto lazy = create_task([&] { trace("lazy"); }, {.eager_start = false});
    trace("made ", lazy.done());
    await(lazy);
  });
  CHECK(trace.take() == "[1] eager | [1] made False True | [2] lazy | [1] made False | [2] lazy");
}

TEST_CASE("many eager tasks wait and wake as others do") {
  int sum = 0;
  run_eagerly([&] {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 100; ++i)
      tasks.push_back(create_task([i] {
        await(asyncio::sleep(std::chrono::milliseconds(i % 10)));
        turns(i % 3);
        return i;
      }));
    for (const int each : await(asyncio::gather(tasks))) sum += each;
  });
  CHECK(sum == 4950);
}

TEST_CASE("a gather hears of a child before callbacks that a later, eager child adds to it") {
  Trace trace;
  run_eagerly([&] {
    const auto future = asyncio::get_running_loop().create_future<int>();
    asyncio::FutureRef gathered;
    const auto watch = [&](const auto& of) {
      of.add_done_callback([&] { trace("callback, gather done: ", gathered.done()); });
      return 1;
    };
    const auto three = asyncio::gather(
        future, [&] { return watch(future); }, future);
    gathered = three;
    future.set_result(2);
    const auto [a, b, c] = await(three);
    trace(a, b, c);

    asyncio::Future<int> first;
    const auto child = [&](bool is_first) {
      if (!is_first) return watch(first);
      first = asyncio::Future<int>(asyncio::current_task().get());
      turns(1);
      return 2;
    };
    const auto bound = [&](bool is_first) { return [&, is_first] { return child(is_first); }; };
    const auto range = asyncio::gather(std::vector{true, false} | std::views::transform(bound));
    gathered = range;
    trace(await(range));
    first = {};
  });
  CHECK(trace.take() ==
        "[2] callback, gather done: True | [3] 212 | "
        "[5] callback, gather done: True | [6] [2, 1]");
}

TEST_CASE("a gather whose eager child ends another child hears of that one later") {
  Trace trace;
  run_eagerly([&] {
    const auto future = asyncio::get_running_loop().create_future<int>();
    const auto both = asyncio::gather(future, [&] { future.set_result(1); });
    trace("done: ", both.done());
    trace(std::get<0>(await(both)));
    trace("done: ", asyncio::gather([] { return 1; }, [] {}).done());
  });
  CHECK(trace.take() == "[1] done: False | [3] 1 | [3] done: True");
}

TEST_CASE("a gather that is refused lets its eager children run on, and drops their failures") {
  Trace trace;
  run_eagerly([&] {
    trace_errors(trace, asyncio::get_running_loop());
    const asyncio::EventLoop other = asyncio::new_event_loop();
    const auto foreign = other.create_future<int>();
    const auto fails = [&] {
      turns(1);
      trace("raises");
      throw fiber::ValueError("lost");
    };
    trace(thrown_by([&] {
            static_cast<void>(asyncio::gather(fails, foreign));
          }).starts_with("ValueError("));
    turns(3);
  });
  CHECK(trace.take() == "[1] True | [2] raises");
}

TEST_CASE("a task factory makes all tasks of its loop, the library's own too") {
  Trace trace;
  const auto factory = [&](const asyncio::EventLoop& loop, const asyncio::CoroutineRef& coroutine,
                           const asyncio::TaskOptions& options) {
    trace("makes ", coroutine.name(), options.name.empty() ? "" : " as ", options.name);
    return asyncio::TaskRef(coroutine, loop, options);
  };
  run([&] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    CHECK(!loop.get_task_factory());
    loop.set_task_factory(factory);
    CHECK(bool(loop.get_task_factory()));
    const auto work = asyncio::async("work", [] { return 3; });
    auto task = create_task(work(), {.name = "n"});
    trace(await(task), " ", task.get_coro().name());
    await(asyncio::gather(work(), work()));
    loop.set_task_factory(nullptr);
    await(create_task(work()));
  });
  CHECK(trace.take() == "[1] makes work as n | [3] 3 work | [3] makes work | [3] makes work");
}

TEST_CASE("a task factory that returns another task is refused") {
  run([] {
    const asyncio::TaskRef other = asyncio::current_task();
    asyncio::get_running_loop().set_task_factory(
        [&](const auto&, const asyncio::CoroutineRef& coroutine, const auto&) {
          static_cast<void>(coroutine);
          return other;
        });
    auto work = asyncio::async("work", [] {})();
    CHECK(thrown_by([&] { static_cast<void>(create_task(work)); }) ==
          "TypeError('the task factory must return TaskRef(coroutine, loop, options) of the "
          "coroutine that it was given')");
    work.close();
    asyncio::get_running_loop().set_task_factory(nullptr);
  });
}

TEST_CASE("an eager factory may be laid over another") {
  Trace trace;
  run([&] {
    asyncio::get_running_loop().set_task_factory(asyncio::create_eager_task_factory(
        [&](const asyncio::EventLoop& loop, const asyncio::CoroutineRef& coroutine,
            const asyncio::TaskOptions& options) {
          trace("eager ", *options.eager_start);
          return asyncio::TaskRef(coroutine, loop, options);
        }));
    static_cast<void>(create_task([&] { trace("body"); }));
    trace("main");
    asyncio::get_running_loop().set_task_factory(nullptr);
  });
  CHECK(trace.take() == "[1] eager True | [1] body | [1] main");
}

TEST_CASE("a task that is made while the loop does not run starts when it does") {
  Trace trace;
  const asyncio::EventLoop loop = eager_loop();
  auto task = loop.create_task([&] { trace("body"); });
  trace.outside("made");
  loop.run_until_complete(task);
  loop.close();
  CHECK(trace.take() == "made | [1] body");
}

TEST_CASE("coroutine objects and futures are told from other things") {
  const auto function = asyncio::async([] {});
  CHECK(asyncio::iscoroutinefunction(function));
  CHECK_FALSE(asyncio::iscoroutinefunction([] {}));
  const auto coroutine = function();
  CHECK(asyncio::iscoroutine(coroutine));
  CHECK_FALSE(asyncio::iscoroutine(function));
  coroutine.close();
  run([] {
    CHECK(asyncio::isfuture(asyncio::get_running_loop().create_future()));
    CHECK(asyncio::isfuture(create_task([] {})));
    CHECK_FALSE(asyncio::isfuture(3));
  });
}
