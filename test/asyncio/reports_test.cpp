// Reports of errors that no code waits for.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/log.hpp"
#include "support/names.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

TEST_CASE("a task that fails and that nobody holds is reported before the next callback") {
  Trace trace;
  run([&] {
    trace_errors(trace, get_running_loop());
    static_cast<void>(create_task([&] {
      trace("bad raises");
      throw fiber::ValueError("lost");
    }));
    get_running_loop().call_soon([&] { trace("next callback"); });
    turns(1);
    trace("main");
  });
  CHECK(trace.take() ==
        "[2] bad raises | [2] EXC_HANDLER Task exception was never retrieved ValueError('lost') | "
        "[2] next callback | [2] main");
}

TEST_CASE("a task that is held is reported when its last handle goes, unless it was looked at") {
  Trace trace;
  run([&] {
    trace_errors(trace, get_running_loop());
    const auto failed = [&] {
      auto task = create_task([] { throw fiber::ValueError("lost"); });
      turns(2);
      return task;
    };
    {
      auto task = failed();
      trace("drop");
    }
    trace("dropped");
    static_cast<void>(failed().exception());
    failed().cancel();
    static_cast<void>(thrown_by([&] { await(failed()); }));
    static_cast<void>(thrown_by([&] { failed().result(); }));
    trace("seen");
  });
  CHECK(trace.take() ==
        "[3] drop | [3] EXC_HANDLER Task exception was never retrieved ValueError('lost') | "
        "[3] dropped | [11] seen");
}

TEST_CASE("a future with an exception is reported like a task; a result that nobody wants is not") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    trace_errors(trace, loop);
    const auto failed = [&] {
      const auto future = loop.create_future<int>();
      future.set_exception(fiber::ValueError("f"));
      return future;
    };
    static_cast<void>(failed());
    trace("one");
    failed().cancel();
    static_cast<void>(failed().exception());
    static_cast<void>(thrown_by([&] { await(failed()); }));
    loop.create_future<int>().set_result(1);
    loop.create_future<int>().cancel();
    trace("none");
  });
  CHECK(trace.take() ==
        "[1] EXC_HANDLER Future exception was never retrieved ValueError('f') | [1] one | "
        "[1] none");
}

TEST_CASE("a callback that throws is reported, and those after it run") {
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    trace_errors(trace, loop);
    const auto future = loop.create_future();
    future.add_done_callback([] { throw fiber::ValueError("callback"); });
    future.add_done_callback([&] { trace("second"); });
    future.set_result();
    turns(2);
  });
  CHECK(trace.take() ==
        "[2] EXC_HANDLER Exception in callback ValueError('callback') | [2] second");
}

TEST_CASE("a handler sees the loop, the future and the exception, and may keep the future") {
  run([] {
    const auto loop = get_running_loop();
    asyncio::FutureRef kept;
    loop.set_exception_handler(
        [&](const asyncio::EventLoop& of, const asyncio::ExceptionContext& context) {
          CHECK(of == loop);
          CHECK(context.message == "Task exception was never retrieved");
          CHECK(fiber::repr(context.exception) == "ValueError('lost')");
          kept = context.future;
        });
    static_cast<void>(create_task([] { throw fiber::ValueError("lost"); }, {.name = "N"}));
    turns(1);
    CHECK(static_cast<bool>(loop.get_exception_handler()));
    loop.set_exception_handler({});
    CHECK_FALSE(static_cast<bool>(loop.get_exception_handler()));
    REQUIRE(kept);
    CHECK(short_names(kept.repr()) ==
          "<Task finished name='N' coro=<lambda() done> "
          "exception=ValueError('lost')>");
  });
}

TEST_CASE("a handler must not wait, and one that throws does not stop the loop") {
  const ChildResult child = run_forked([] {
    asyncio::run([] {
      const auto loop = get_running_loop();
      loop.set_exception_handler(
          [](const asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
            std::puts(context.message.c_str());
            await(asyncio::sleep(0));  // throws: main is no task here
          });
      static_cast<void>(create_task([] { throw fiber::ValueError("1"); }));
      turns(2);
      // Also from a future that is dropped while another task runs.
      auto last = loop.create_future();
      last.set_exception(fiber::ValueError("2"));
      auto gathered = asyncio::gather(asyncio::return_exceptions, create_task([] { turns(1); }));
      gathered.add_done_callback([last = std::exchange(last, {})] {});
      await(gathered);
      turns(2);
      std::puts("goes on");
    });
  });
  CHECK(child.status == 0);
  CHECK(child.out() ==
        "Task exception was never retrieved\n"
        "Future exception was never retrieved\ngoes on\n");
}

TEST_CASE("KeyboardInterrupt of an exception handler leaves the loop at once") {
  Events events;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.set_exception_handler([&](const auto&, const auto&) { throw fiber::KeyboardInterrupt(); });
  loop.call_soon([&] { throw fiber::ValueError("x"); });
  loop.call_soon([&] {
    events("called");
    loop.stop();
  });
  CHECK(thrown_by([&] { loop.run_forever(); }) == "KeyboardInterrupt()");
  CHECK(events.take() == "");
  loop.run_forever();
  CHECK(events.take() == "called");
  loop.close();
}

TEST_CASE("without a handler the report is on stderr") {
  const ChildResult child = run_forked([] {
    asyncio::run([] {
      const auto bad = asyncio::async("bad", [] { throw fiber::ValueError("lost"); });
      static_cast<void>(create_task(bad(), {.name = "T"}));
      turns(2);
      get_running_loop().call_soon([] { throw fiber::LookupError("here"); });
      turns(2);
      get_running_loop().call_exception_handler({.message = "of our own"});
    });
  });
  CHECK(child.status == 0);
  CHECK(child.errors.starts_with(
      "Task exception was never retrieved\n"
      "future: <Task finished name='T' coro=<bad() done> exception=ValueError('lost')>\n"
      "ValueError: lost\n"
      "Exception in callback\nhandle: <Handle "));
  CHECK(child.errors.ends_with(">\nLookupError: here\nof our own\n"));
}

TEST_CASE("a coroutine object that is never awaited warns; one that is closed does not") {
  Log log;
  const auto function = asyncio::async("forgotten", [] {});
  {
    static_cast<void>(function());
    const auto closed = function();
    closed.close();
    closed.close();
    CHECK(thrown_by([&] { asyncio::run(closed); }) ==
          "RuntimeError('cannot reuse already awaited coroutine')");
  }
  CHECK(without_drops(log.take()) ==
        "WARNING RuntimeWarning: coroutine 'forgotten' was never awaited");
}

TEST_CASE("a task that gather made is not reported when its loop is closed, one given to it is") {
  Trace trace;
  {
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    loop.set_exception_handler(
        [&](const asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
          const bool given = context.task.repr().find("name='given'") != std::string::npos;
          trace.outside(context.message + (given ? " given" : " another"));
        });
    const auto child = [] { await(asyncio::sleep(10s)); };
    loop.run_until_complete([&] {
      auto given = asyncio::create_task(child, {.name = "given"});
      const auto both = asyncio::gather(child, given);
      const auto list = asyncio::gather(std::vector{std::function<void()>(child)});
      turns(1);
    });
    loop.close();
  }
  CHECK(trace.take() == "Task was destroyed but it is pending! given");
}

TEST_CASE("a task that a closed loop leaves pending is reported and unwound") {
  Trace trace;
  {
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    trace_errors(trace, loop);
    static_cast<void>(loop.create_task([&] {
      const AtEnd end([&] { trace.outside("unwound"); });
      await(asyncio::sleep(10s));
    }));
    loop.run_until_complete([] { turns(2); });
    loop.close();
    CHECK(loop.object().futures_alive == 0);
  }
  CHECK(trace.take() == "[0] EXC_HANDLER Task was destroyed but it is pending! | unwound");
}

TEST_CASE("a log handler may report as it ends") {
  struct Handler {
    bool* ended;
    bool last = true;
    explicit Handler(bool* told) : ended(told) {}
    Handler(const Handler& other) : ended(other.ended), last(false) {}
    Handler(Handler&& other) noexcept
        : ended(other.ended), last(std::exchange(other.last, false)) {}
    Handler& operator=(const Handler&) = delete;
    ~Handler() {
      if (!last) return;
      *ended = true;
      asyncio::set_log_handler(asyncio::set_log_handler(nullptr));
    }
    void operator()(const asyncio::LogRecord&) const {}
  };
  bool ended = false;
  auto before = asyncio::set_log_handler(Handler(&ended));
  CHECK_FALSE(ended);
  asyncio::set_log_handler(nullptr);
  CHECK(ended);
  asyncio::set_log_handler(std::move(before));
}
