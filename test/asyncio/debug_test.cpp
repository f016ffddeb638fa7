// Debug mode, and the reports of errors that would otherwise be lost.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <stdlib.h>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/names.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

asyncio::testing::VirtualClock& clock_of_tests() {
  static asyncio::testing::VirtualClock clock;
  return clock;
}

asyncio::EventLoop debug_loop() {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  clock_of_tests().attach(loop);
  loop.set_raise_deadlock(true);
  loop.set_debug(true);
  return loop;
}

template <class F>
auto run_debug(F&& main) {
  return asyncio::run(std::forward<F>(main), {.loop_factory = debug_loop});
}

// Moves the clock on, as a slow computation does.
void work_for(asyncio::nanoseconds time) { clock_of_tests().advance(time); }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

// Found by name in the reports: must not be inlined, nor end in a call.
[[gnu::noinline]] asyncio::Future<int> makes_a_future() {
  asyncio::Future<int> future = get_running_loop().create_future<int>();
  asm volatile("" ::: "memory");
  return future;
}

TEST_CASE("debug mode is off, unless the environment or the program turns it on") {
  ::unsetenv("FIBER_ASYNCIO_DEBUG");
  CHECK_FALSE(asyncio::run([] { return get_running_loop().get_debug(); }));
  CHECK(asyncio::run([] { return get_running_loop().get_debug(); }, {.debug = true}));
  ::setenv("FIBER_ASYNCIO_DEBUG", "1", 1);
  CHECK(asyncio::run([] { return get_running_loop().get_debug(); }));
  CHECK_FALSE(asyncio::run([] { return get_running_loop().get_debug(); }, {.debug = false}));
  ::unsetenv("FIBER_ASYNCIO_DEBUG");
}

TEST_CASE("a program runs in the same order in debug mode") {
  const auto program = [](Trace& trace) {
    return [&trace] {
      const auto body = [&](int n) {
        return [&trace, n] {
          for (int i = 0; i < 3; ++i) {
            trace(n, " ", i);
            await(asyncio::sleep(i == 1 ? 5ms : 0ms));
          }
        };
      };
      get_running_loop().call_soon([&] { trace("soon"); });
      await(asyncio::gather(body(1), body(2)));
      auto cancelled = create_task(body(3));
      cancelled.cancel();
      asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
        group.create_task(body(4));
        group.create_task(body(5), {.eager_start = true});
      });
    };
  };
  Trace plain;
  run(program(plain));
  Trace debug;
  run_debug(program(debug));
  const std::string expected = plain.take();
  CHECK(debug.take() == expected);
  CHECK(contains(expected, "5 2"));
}

TEST_CASE("callbacks and steps of tasks that take too long are reported, with the task's name") {
  Log log;
  run_debug([&] {
    const asyncio::EventLoop loop = get_running_loop();
    CHECK(loop.slow_callback_duration() == 100ms);
    loop.call_soon([] { work_for(100ms); });
    turns(1);
    CHECK(contains(log.take(), "took 0.100 seconds"));
    loop.call_soon([] { work_for(99ms); });
    turns(1);
    CHECK(log.take() == "");
    auto task = create_task(
        [] {
          work_for(250ms);
          turns(1);
          work_for(50ms);
        },
        {.name = "slow"});
    turns(1);
    CHECK(short_names(without_places(log.take())) ==
          "WARNING Executing <Task pending name='slow' coro=<lambda() running>> took 0.250 "
          "seconds");
    await(task);
    loop.slow_callback_duration(10ms);
    CHECK(loop.slow_callback_duration() == 10ms);
    static_cast<void>(create_task([] { work_for(20ms); }, {.name = "short"}));
    turns(1);
    CHECK(short_names(log.take()) ==
          "WARNING Executing <Task finished name='short' coro=<lambda() done>> took 0.020 "
          "seconds");
  });
}

TEST_CASE("an error of a callback says where the callback was made") {
  Log log;
  run_debug([&] {
    get_running_loop().call_soon([] { throw fiber::ValueError("x"); });
    turns(1);
  });
  const std::string text = log.take();
  CHECK(text.starts_with("ERROR Exception in callback\nhandle: <Handle "));
  CHECK(contains(text, "handle_traceback: Handle created at (most recent call last):\n  File "));
  CHECK(text.ends_with("\nValueError('x')"));
}

TEST_CASE("a lost exception says where its future was made") {
  Log log;
  run_debug([&] {
    auto future = makes_a_future();
    future.set_exception(fiber::ValueError("lost"));
    future = {};
    const std::string text = log.take();
    CHECK(
        text.starts_with("ERROR Future exception was never retrieved\nfuture: <Future finished "
                         "exception=ValueError('lost') created at makes_a_future()"));
    CHECK(contains(text, "source_traceback: Object created at (most recent call last):\n  File "));
    CHECK(text.ends_with("\nValueError('lost')"));
  });
}

TEST_CASE("without debug mode reports do not say where a future was made") {
  Log log;
  run([&] {
    auto future = makes_a_future();
    CHECK(future.repr() == "<Future pending>");
    future.set_exception(fiber::ValueError("lost"));
    future = {};
    CHECK(log.take() ==
          "ERROR Future exception was never retrieved\nfuture: <Future finished "
          "exception=ValueError('lost')>\nValueError('lost')");
  });
}

TEST_CASE("another thread may neither call a loop's functions nor end its futures") {
  run_debug([&] {
    const asyncio::EventLoop loop = get_running_loop();
    const auto future = loop.create_future();
    std::string refused[4];
    std::thread([&] {
      refused[0] = thrown_by([&] { loop.call_soon([] {}); });
      refused[1] = thrown_by([&] { loop.call_later(1s, [] {}); });
      refused[2] = thrown_by([&] { future.set_result(); });
      refused[3] = thrown_by([&] { loop.call_soon_threadsafe([future] { future.set_result(); }); });
    }).join();
    for (int i = 0; i < 3; ++i)
      CHECK(refused[i] ==
            "RuntimeError('Non-thread-safe operation invoked on an event loop other than the "
            "current one; use call_soon_threadsafe')");
    CHECK(refused[3] == "");
    await(future);
  });
}

TEST_CASE("another thread may not wake the tasks that wait at events, queues and locks") {
  run_debug([&] {
    asyncio::Event event;
    asyncio::Queue<int> getting, putting(1);
    asyncio::Lock lock;
    asyncio::Semaphore semaphore(0);
    putting.put_nowait(1);
    await(lock.acquire());
    const std::vector<asyncio::Task<>> waiting{
        create_task([&] { await(event.wait()); }), create_task([&] { await(getting.get()); }),
        create_task([&] { await(putting.put(2)); }), create_task([&] { await(lock.acquire()); }),
        create_task([&] { await(semaphore.acquire()); })};
    await(asyncio::sleep(0));
    std::string refused[8];
    std::thread([&] {
      refused[0] = thrown_by([&] { event.set(); });
      refused[1] = thrown_by([&] { getting.put_nowait(1); });
      refused[2] = thrown_by([&] { putting.get_nowait(); });
      refused[3] = thrown_by([&] { lock.release(); });
      refused[4] = thrown_by([&] { semaphore.release(); });
      refused[5] = thrown_by([&] { getting.shutdown(); });
      refused[6] = thrown_by([&] { putting.shutdown(); });
      refused[7] = thrown_by([&] { waiting[0].cancel(); });
    }).join();
    for (const std::string& each : refused)
      CHECK(each.starts_with("RuntimeError('Non-thread-safe operation invoked on an event loop"));
    // A refused call has changed nothing.
    CHECK_FALSE(event.is_set());
    CHECK(getting.qsize() == 0);
    CHECK(putting.qsize() == 1);
    CHECK(lock.locked());
    CHECK(waiting[0].cancelling() == 0);
    event.set();
    getting.put_nowait(1);
    CHECK(putting.get_nowait() == 1);
    lock.release();
    semaphore.release();
    await(asyncio::wait(waiting));
    for (const auto& task : waiting) CHECK_FALSE(task.cancelled());
  });
}

TEST_CASE("call_soon and call_later of another thread are refused without debug mode too") {
  run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    std::string refused;
    std::thread([&] { refused = thrown_by([&] { loop.call_later(1s, [] {}); }); }).join();
    CHECK(refused.starts_with("RuntimeError('Non-thread-safe operation"));
  });
}

TEST_CASE("a task that swallows a cancellation is reported when it ends") {
  Log log;
  run_debug([&] {
    const auto swallow = [] {
      try {
        await(asyncio::sleep(1s));
      } catch (...) {  // swallows the cancellation, which is wrong
      }
    };
    auto task = create_task(swallow, {.name = "deaf"});
    turns(1);
    task.cancel();
    await(task);
    const std::string text = log.take();
    CHECK(text.starts_with("WARNING Task <Task cancelling name='deaf'"));
    CHECK(contains(text,
                   "swallowed a cancellation: it was asked to end (cancelling() is 1) and "
                   "has ended with a result"));
    CHECK(contains(text, "\nTask cancelled at (most recent call last):\n  File "));
  });
}

TEST_CASE("a cancellation that is obeyed, taken back, or turned into an error is not reported") {
  Log log;
  run_debug([&] {
    auto obeys = create_task([] { await(asyncio::sleep(1s)); });
    auto takes_back = create_task([] {
      try {
        await(asyncio::sleep(1s));
      } catch (const asyncio::CancelledError&) {
        asyncio::current_task().uncancel();
      }
    });
    auto fails = create_task([] {
      try {
        await(asyncio::sleep(1s));
      } catch (const asyncio::CancelledError&) {
        throw fiber::ValueError("instead");
      }
    });
    auto times_out = create_task([] {
      try {
        asyncio::with(asyncio::timeout(5ms), [] { await(asyncio::sleep(1s)); });
      } catch (const fiber::TimeoutError&) {
      }
    });
    turns(1);
    obeys.cancel();
    takes_back.cancel();
    fails.cancel();
    await(asyncio::gather(asyncio::return_exceptions, obeys, takes_back, fails, times_out));
  });
  CHECK(log.take() == "");
}

TEST_CASE("a task that gives way with a debug_lock_guard is reported, once") {
  Log log;
  std::mutex mutex;
  run_debug([&] {
    auto task = create_task(
        [&] {
          const asyncio::debug_lock_guard guard(mutex);
          turns(2);
        },
        {.name = "careless"});
    await(task);
    const std::string text = short_names(without_places(log.take()));
    CHECK(
        text.starts_with("WARNING Task <Task pending name='careless' coro=<lambda() "
                         "running> cb=[1]> gave way while it held a mutex that was taken at "));
    CHECK_FALSE(contains(text, " | "));
    {
      const asyncio::debug_lock_guard guard(mutex);  // not held when main gives way
    }
    turns(1);
  });
  CHECK(log.take() == "");
  CHECK(mutex.try_lock());
  mutex.unlock();
}

TEST_CASE("a debug_lock_guard is an ordinary one without debug mode, and outside of loops") {
  Log log;
  std::mutex mutex;
  run([&] {
    const asyncio::debug_lock_guard guard(mutex);
    turns(1);
  });
  {
    const asyncio::debug_lock_guard guard(mutex);
    CHECK_FALSE(mutex.try_lock());
  }
  CHECK(log.take() == "");
}

TEST_CASE("every report that would be lost goes to one replaceable handler") {
  Log log;
  run([&] {
    static_cast<void>(create_task([] { throw fiber::ValueError("lost"); }, {.name = "t"}));
    turns(1);
    CHECK(short_names(log.take()) ==
          "ERROR Task exception was never retrieved\nfuture: <Task finished name='t' "
          "coro=<lambda() done> exception=ValueError('lost')>\nValueError('lost')");
    static_cast<void>(asyncio::async("forgotten", [] {})());
    CHECK(without_drops(log.take()) ==
          "WARNING RuntimeWarning: coroutine 'forgotten' was never awaited");
    get_running_loop().call_soon([] { throw std::runtime_error("x"); });
    turns(1);
    const std::string text = log.take();
    CHECK(text.starts_with("ERROR Exception in callback\nhandle: <Handle "));
    CHECK(text.substr(text.rfind('\n')) == "\nstd::runtime_error('x')");
  });
}

TEST_CASE("an exception handler that fails loses neither error") {
  Log log;
  run([&] {
    get_running_loop().set_exception_handler(
        [](const auto&, const auto&) { throw fiber::ValueError("in the handler"); });
    get_running_loop().call_exception_handler(
        {.message = "first", .exception = std::make_exception_ptr(fiber::LookupError("k"))});
    CHECK(log.take() ==
          "ERROR Unhandled error in exception handler\nValueError('in the handler') | "
          "ERROR first\nLookupError('k')");
  });
}

TEST_CASE("a report without a message has one, and names all that it is about") {
  Log log;
  run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    loop.call_exception_handler({.message = ""});
    CHECK(log.take() == "ERROR Unhandled exception in event loop");
    loop.call_exception_handler({.message = "m",
                                 .task = asyncio::current_task(),
                                 .socket = 7,
                                 .source_traceback = "  there\n"});
    CHECK(log.take() ==
          "ERROR m\nsocket: 7\nsource_traceback: Object created at (most recent call last):\n"
          "  there\ntask: " +
              asyncio::current_task().repr());
  });
}

TEST_CASE("a log handler that throws does no harm") {
  int calls = 0;
  const asyncio::log_handler previous = asyncio::set_log_handler([&](const auto&) {
    ++calls;
    throw fiber::ValueError("x");
  });
  run([&] {
    static_cast<void>(create_task([] { throw fiber::ValueError("lost"); }));
    turns(1);
  });
  asyncio::set_log_handler(previous);
  CHECK(calls == 1);
}

TEST_CASE("a loop that nothing can wake lists its tasks and where each waits") {
  Log log;
  const asyncio::EventLoop loop = virtual_loop();
  auto stuck = loop.create_task([] { await(makes_a_future()); }, {.name = "stuck"});
  std::string report;
  try {
    loop.run_until_complete(stuck);
  } catch (const fiber::RuntimeError& error) {
    report = error.what();
  }
  CHECK(short_names(report).starts_with(
      "asyncio: nothing is ready, no timer is set and no descriptor is watched: only a signal or "
      "another thread can wake this loop. Its tasks:\n"
      "  <Task pending name='stuck' coro=<lambda() running> wait_for=<Future pending cb=[1]> "
      "cb=[1]>\n"
      "    waits at "));
  loop.close();
  CHECK(contains(log.take(), "Task was destroyed but it is pending!"));
}
