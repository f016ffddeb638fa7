// The contexts of variables in which callbacks and tasks run.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <memory>
#include <string>
#include <string_view>

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

TEST_CASE("a task does not enter its context from within another one") {
  run([] {
    const Context c, other, third;
    const auto refused = [&] { return !thrown_by([&] { c.run([] {}); }).empty(); };
    const auto outcome = await(asyncio::create_task(
        [&] {
          const bool nested = other.run([&] { return refused() && third.run(refused); });
          return std::pair(nested, thrown_by([&] { other.run([] {}); }));
        },
        {.context = c}));
    CHECK(outcome.first);
    CHECK(outcome.second == "");
    CHECK_FALSE(refused());
  });
}

TEST_CASE("a protocol is called in the context of the call that led to it") {
  struct Protocol : asyncio::Protocol {
    Protocol(const ContextVar<int>& its_var, Events& its_say) : var(its_var), say(its_say) {}
    void note(const char* what) { say(what + (" " + std::to_string(var.get()))); }
    void connection_made(const asyncio::Transport&) override { note("made"); }
    void data_received(std::string_view) override { note("data"); }
    void pause_writing() override { note("pause"); }
    void resume_writing() override {
      note("resume");
      resumed = true;
    }
    void connection_lost(const std::exception_ptr&) override { note("lost"); }
    const ContextVar<int>& var;
    Events& say;
    bool resumed = false;
  };
  const ContextVar<int> var("var", 0);
  Events say;
  asyncio::run([&] {
    auto [ours, peer] = fiber::socket::socketpair();
    peer.setblocking(false);
    var.set(1);
    const auto [transport, protocol] = await(get_running_loop().create_connection(
        [&] { return std::make_shared<Protocol>(var, say); }, std::move(ours)));
    var.set(2);
    peer.send("x");
    turns(12);
    transport.pause_reading();
    var.set(3);
    transport.resume_reading();
    var.set(4);
    peer.send("x");
    turns(12);
    var.set(5);
    transport.write(std::string(4 << 20, 'x'));
    var.set(6);
    std::string buffer(1 << 20, '\0');
    while (!protocol->resumed) {
      try {
        peer.recv_into(buffer);
      } catch (const fiber::BlockingIOError&) {
        turns(1);
      }
    }
    var.set(7);
    transport.close();
    var.set(8);
    turns(12);
  });
  // As CPython 3.13.
  CHECK(say.take() == "made 1 data 1 data 3 pause 5 resume 5 lost 7");
}
