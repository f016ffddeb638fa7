// Context variables: tasks and callbacks have the context of the place that made them.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <memory>

#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;
using fiber::contextvars::ContextVar;

TEST_CASE("a task has a copy of its creator's context, a call the caller's own") {
  Trace trace;
  const ContextVar<int> variable("variable", 0);
  run([&] {
    const auto loop = get_running_loop();
    variable.set(1);
    auto child = create_task([&] {
      trace("task sees ", variable.get());
      variable.set(5);
    });
    loop.call_soon([&] { trace("cb sees ", variable.get()); });
    const auto timer = loop.call_later(1ms, [&] { trace("timer sees ", variable.get()); });
    const auto future = loop.create_future();
    future.add_done_callback([&] { trace("done cb sees ", variable.get()); });
    variable.set(2);
    future.set_result();
    await(child);
    trace("main sees ", variable.get());
    await(asyncio::async([&] {
      variable.set(7);
      turns(1);
    })());
    trace("after call ", variable.get());
    const auto add_ten = asyncio::async([&] {
      variable.set(variable.get() + 10);
      turns(1);
    });
    await(asyncio::wait_for(add_ten(), 1s));
    trace("after wait_for ", variable.get());
    await(asyncio::gather(add_ten()));
    trace("after gather ", variable.get());
    await(asyncio::sleep(2ms));
    loop.call_soon([&] { variable.set(100); });
    turns(1);
    trace("callback's own ", variable.get());
    asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
      group.create_task([&] {
        trace("group ", variable.get());
        variable.set(50);
      });
      variable.set(9);
    });
    trace(variable.get());
  });
  CHECK(trace.take() ==
        "[2] task sees 1 | [2] cb sees 1 | [2] done cb sees 1 | [3] main sees 2 | "
        "[4] after call 7 | [5] after wait_for 17 | [9] after gather 17 | [10] timer sees 1 | "
        "[13] callback's own 17 | [14] group 17 | [16] 9");
  CHECK(variable.get() == 0);
}

TEST_CASE("a callback that throws, and one that is never called, leave no context behind") {
  const ContextVar<int> variable("variable", 0);
  variable.set(1);
  Trace trace;
  run([&] {
    trace_errors(trace, get_running_loop());
    get_running_loop().call_soon([&] {
      variable.set(2);
      throw fiber::ValueError("x");
    });
    turns(1);
    trace(variable.get());
    get_running_loop().call_soon([] {}).cancel();
    static_cast<void>(get_running_loop().call_later(10s, [&] { variable.set(3); }));
  });
  CHECK(trace.take() == "[2] EXC_HANDLER Exception in callback ValueError('x') | [2] 1");
  CHECK(variable.get() == 1);
  variable.set(0);
}

TEST_CASE("values that tasks have set are released with them") {
  int alive = 0;
  {
    const ContextVar<std::shared_ptr<Counted>> variable("variable");
    run([&] {
      {
        auto task = create_task([&] { variable.set(std::make_shared<Counted>(&alive)); });
        await(task);
      }
      CHECK(alive == 0);
    });
  }
  CHECK(alive == 0);
}
