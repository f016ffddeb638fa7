// The contexts of variables in which callbacks and tasks run.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::get_running_loop;
using fiber::contextvars::Context;
using fiber::contextvars::ContextVar;
using fiber::contextvars::copy_context;

TEST_CASE("callbacks and tasks run in the context that they are given, and change it") {
  const ContextVar<std::string> var("var", "unset");
  Trace trace;
  run([&] {
    var.set("main");
    const Context c = copy_context();
    c.run([&] { var.set("c"); });
    const asyncio::EventLoop loop = get_running_loop();
    loop.call_soon(
        [&] {
          trace("callback ", var.get());
          var.set("changed");
        },
        {.context = c});
    turns(1);
    trace("c now ", c[var], " main ", var.get());
    loop.call_later(0s, [&] { trace("later ", var.get()); }, {.context = c});
    const auto future = loop.create_future<int>();
    future.add_done_callback([&] { trace("done ", var.get()); }, {.context = c});
    future.set_result(1);
    await(asyncio::create_task(
        [&] {
          trace("task ", var.get());
          var.set("task");
        },
        {.context = c}));
    trace("c now ", c[var]);
  });
  CHECK(trace.take() ==
        "[2] callback c | [2] c now changed main main | [3] done changed | [3] task changed | "
        "[3] later task | [4] c now task");
}

TEST_CASE("handles and tasks tell their context") {
  const ContextVar<std::string> var("var", "unset");
  run([&] {
    var.set("main");
    const Context c = copy_context();
    const asyncio::EventLoop loop = get_running_loop();
    const Context own = asyncio::current_task().get_context();
    CHECK(own[var] == "main");
    const asyncio::Handle copied = loop.call_soon([] {});
    CHECK(copied.get_context()[var] == "main");
    CHECK(copied.get_context() != own);
    CHECK(copied.get_context() == copied.get_context());
    CHECK(loop.call_soon([] {}, {.context = c}).get_context() == c);
    const auto task = asyncio::create_task([] {}, {.context = c});
    CHECK(task.get_context() == c);
    await(task);
    CHECK(task.get_context() == c);
  });
}

TEST_CASE("the exception handler runs in the context of the callback or task that failed") {
  const ContextVar<std::string> var("var", "unset");
  Trace trace;
  run([&] {
    var.set("main");
    const Context c = copy_context();
    c.run([&] { var.set("c"); });
    get_running_loop().set_exception_handler(
        [&](const auto&, const asyncio::ExceptionContext& context) {
          trace("handler ", var.get(), " ", context.message);
        });
    get_running_loop().call_soon([] { throw fiber::ValueError("x"); }, {.context = c});
    turns(1);
    static_cast<void>(asyncio::create_task(
        [&] {
          var.set("task");
          throw fiber::ValueError("y");
        },
        {.context = copy_context()}));
    turns(1);
    trace("main ", var.get());
  });
  CHECK(trace.take() ==
        "[2] handler c Exception in callback | "
        "[3] handler task Task exception was never retrieved | [3] main main");
}

TEST_CASE("all runs of a runner share one context, unless they are given another") {
  const ContextVar<std::string> var("var", "unset");
  asyncio::Runner runner({.loop_factory = virtual_loop});
  runner.run([&] { var.set("first"); });
  CHECK(runner.run([&] { return var.get(); }) == "first");
  const Context other = copy_context();
  runner.run([&] { var.set("other"); }, {.context = other});
  CHECK(other[var] == "other");
  CHECK(runner.run([&] { return var.get(); }) == "first");
  CHECK(var.get() == "unset");
}

TEST_CASE("a task has entered its context, which others may enter while it waits") {
  const ContextVar<int> var("var", 0);
  run([&] {
    const Context c;
    const auto entered = [&] { return thrown_by([&] { c.run([&] { var.set(var.get() + 1); }); }); };
    const bool refused = await(asyncio::create_task(
        [&] { return entered().starts_with("RuntimeError('cannot enter context: "); },
        {.context = c}));
    CHECK(refused);
    CHECK(c.size() == 0);
    const auto task = asyncio::create_task(
        [&] {
          turns(1);
          return var.get();
        },
        {.context = c});
    turns(1);
    CHECK(entered() == "");
    CHECK(await(task) == 1);
    CHECK(entered() == "");
    CHECK(c[var] == 2);
  });
}
