// The end of a run: remaining tasks are cancelled and awaited, then generators closed, then threads
// joined.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <future>
#include <mutex>
#include <string>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {}  // namespace

TEST_CASE("when main throws, the remaining tasks clean up before the caller gets the exception") {
  Trace trace;
  try {
    run([&] {
      static_cast<void>(create_task(until_cancelled([&] { trace("bg cleanup"); })));
      turns(1);
      trace("main raises");
      throw fiber::ValueError("main");
    });
  } catch (const fiber::ValueError&) {
    trace.outside("caller sees " + caught());
  }
  CHECK(trace.take() == "[2] main raises | [4] bg cleanup | caller sees ValueError('main')");
}

TEST_CASE("a task that swallows its cancellation is waited for") {
  Trace trace;
  run([&] {
    static_cast<void>(create_task([&] {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace("ignored cancel 0");
      }
      for (int i : {1, 2}) {
        await(asyncio::sleep(1ms));
        trace("slept ", i);
      }
    }));
    turns(1);
    trace("main returns");
  });
  trace.outside("closed");
  CHECK(trace.take() ==
        "[2] main returns | [4] ignored cancel 0 | [6] slept 1 | [8] slept 2 | closed");
}

TEST_CASE("a task that a clean-up starts is neither cancelled nor waited for, and is reported") {
  Trace trace;
  run([&] {
    trace_errors(trace, get_running_loop());
    static_cast<void>(create_task(until_cancelled([&] {
      trace("spawning");
      static_cast<void>(create_task([&] {
        trace("late starts");
        await(asyncio::sleep(10s));
        trace("late ends");
      }));
    })));
    turns(1);
  });
  CHECK(trace.take() ==
        "[4] spawning | [5] late starts | [10] EXC_HANDLER Task was destroyed but it is pending!");
}

TEST_CASE("errors of clean-ups are reported when all have ended") {
  Trace trace;
  run([&] {
    trace_errors(trace, get_running_loop());
    static_cast<void>(
        create_task(until_cancelled([] { throw fiber::RuntimeError("from cleanup"); })));
    static_cast<void>(create_task(until_cancelled([&] { trace("ok finally"); })));
    turns(1);
    trace("main returns");
  });
  CHECK(trace.take() ==
        "[2] main returns | [4] ok finally | "
        "[6] EXC_HANDLER unhandled exception during asyncio.run() shutdown "
        "RuntimeError('from cleanup')");
}

TEST_CASE("tasks end first, then their reports come, then threads end, and run returns") {
  std::promise<void> reported;
  std::mutex mutex;
  Events events;
  const auto say = [&](const std::string& text) {
    const std::lock_guard lock(mutex);
    events(text + ",");
  };
  const std::string result = asyncio::run([&] {
    const auto loop = get_running_loop();
    loop.set_exception_handler(
        [&](const asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
          say("handler " + fiber::repr(context.exception));
          reported.set_value();
        });
    for (int i : {1, 2})
      static_cast<void>(create_task(until_cancelled([&, i] {
        say("bg finally " + std::to_string(i));
        turns(1);
        if (i == 2) throw fiber::RuntimeError("from cleanup");
      })));
    static_cast<void>(loop.run_in_executor(nullptr, [&] {
      reported.get_future().wait();
      say("job ends");
    }));
    turns(1);
    say("main returns");
    return std::string("r");
  });
  say("run -> " + result);
  CHECK(events.take() ==
        "main returns, bg finally 1, bg finally 2, handler RuntimeError('from cleanup'), "
        "job ends, run -> r,");
}

TEST_CASE("a loop that is stopped early says so; a closed one takes nothing more") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  {
    const auto future = loop.create_future();
    loop.call_soon([&] { loop.stop(); });
    CHECK(thrown_by([&] { loop.run_until_complete(future); }) ==
          "RuntimeError('Event loop stopped before Future completed.')");
    loop.close();
    CHECK(loop.is_closed());
    const std::string closed = "RuntimeError('Event loop is closed')";
    CHECK(thrown_by([&] { loop.run_forever(); }) == closed);
    CHECK(thrown_by([&] { loop.run_until_complete([] {}); }) == closed);
    CHECK(thrown_by([&] { loop.call_soon([] {}); }) == closed);
    CHECK(thrown_by([&] { static_cast<void>(loop.call_later(1s, [] {})); }) == closed);
    CHECK(thrown_by([&] { loop.call_soon_threadsafe([] {}); }) == closed);
    CHECK(thrown_by([&] { static_cast<void>(loop.run_in_executor(nullptr, [] {})); }) == closed);
    loop.close();
    CHECK(future.cancel());
    CHECK(future.cancelled());
  }
  CHECK(loop.object().futures_alive == 0);
}

TEST_CASE("a running loop cannot be closed, run again, or be joined by another in its thread") {
  Trace trace;
  const asyncio::EventLoop other = asyncio::new_event_loop();
  run([&] {
    const auto loop = get_running_loop();
    trace(thrown_by([&] { loop.close(); }));
    trace(thrown_by([&] { loop.run_forever(); }));
    trace(thrown_by([&] { loop.run_until_complete([] {}); }));
    trace(thrown_by([&] { other.run_forever(); }));
    trace(thrown_by([&] { asyncio::run([] {}); }));
  });
  other.close();
  CHECK(trace.take() ==
        "[1] RuntimeError('Cannot close a running event loop') | "
        "[1] RuntimeError('This event loop is already running') | "
        "[1] RuntimeError('This event loop is already running') | "
        "[1] RuntimeError('Cannot run the event loop while another loop is running') | "
        "[1] RuntimeError('asyncio.run() cannot be called from a running event loop')");
}

TEST_CASE("a loop runs again and again until it is closed, and keeps its tasks in between") {
  Trace trace;
  const asyncio::EventLoop loop = virtual_loop();
  auto task = loop.create_task([&] {
    for (int i = 0; i < 4; ++i) {
      trace("step ", i);
      turns(1);
    }
    return 7;
  });
  loop.run_until_complete([] { turns(1); });
  trace.outside("between");
  trace.outside(std::to_string(loop.run_until_complete(task)));
  loop.close();
  CHECK(trace.take() == "[1] step 0 | [2] step 1 | [3] step 2 | between | [4] step 3 | 7");
}

TEST_CASE("KeyboardInterrupt and SystemExit of a task leave the run, and stay in the task") {
  Trace trace;
  asyncio::Task<> task;
  try {
    run([&] {
      trace_errors(trace, get_running_loop());
      task = create_task([&] {
        turns(1);
        trace("raise");
        throw fiber::KeyboardInterrupt();
      });
      get_running_loop().call_soon([&] { trace("soon"); });
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace("main saw ", caught());
        throw;
      }
    });
  } catch (const fiber::KeyboardInterrupt&) {
    trace.outside("caller sees " + caught());
  }
  CHECK(trace.take() ==
        "[2] soon | [3] raise | [4] main saw CancelledError() | caller sees KeyboardInterrupt()");
  CHECK(fiber::repr(task.exception()) == "KeyboardInterrupt()");
  task = {};
  CHECK(thrown_by([] { run([] { throw fiber::SystemExit(3); }); }) == "SystemExit(3)");
  CHECK(thrown_by([] {
          run([] {
            get_running_loop().call_soon([] { throw fiber::SystemExit(4); });
            await(asyncio::sleep(10s));
          });
        }) == "SystemExit(4)");
}

TEST_CASE("a run whose executor has threads ends though no further thread can be made") {
  const auto child = run_forked([] {
    try {
      asyncio::run([] {
        await(asyncio::to_thread([] {}));
        // The limit does not hold for root; where it cannot be set this proves nothing.
        const rlimit one{1, 1};
        if (::setrlimit(RLIMIT_NPROC, &one) != 0) std::perror("setrlimit");
        constexpr uid_t kNobody = 65534;
        if (::geteuid() == 0 && ::setuid(kNobody) != 0) std::perror("setuid");
        throw fiber::ValueError("the program's own error");
      });
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
  });
  CHECK(child.out() == "the program's own error\n");
  CHECK(child.status == 0);
}
