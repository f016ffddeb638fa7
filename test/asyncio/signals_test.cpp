// Signals as callbacks of a loop.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/platform.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::get_running_loop;

namespace {

bool has_default_action(int number) {
  struct sigaction action {};
  ::sigaction(number, nullptr, &action);
  return action.sa_handler == SIG_DFL;
}

}  // namespace

TEST_CASE("a signal's callback runs two iterations after the signal, as any other callback") {
  Trace trace;
  run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    asyncio::Event event;
    loop.add_signal_handler(SIGUSR1, [&] {
      trace("handler");
      event.set();
    });
    ::raise(SIGUSR1);
    trace("killed");
    loop.call_soon([&] { trace("soon"); });
    await(event.wait());
    trace("woke");
  });
  CHECK(trace.take() == "[1] killed | [2] soon | [3] handler | [4] woke");
  CHECK(has_default_action(SIGUSR1));
}

TEST_CASE("signals come in their order, and as often as they arrived") {
  Events events;
  asyncio::run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    loop.add_signal_handler(SIGUSR1, [&] { events("one"); });
    loop.add_signal_handler(SIGUSR2, [&] { events("two"); });
    ::raise(SIGUSR1);
    ::raise(SIGUSR2);
    ::raise(SIGUSR1);
    turns(3);
    CHECK(events.take() == "one two one");
    CHECK(loop.remove_signal_handler(SIGUSR1));
    CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
    CHECK(has_default_action(SIGUSR1));
    loop.add_signal_handler(SIGUSR2, [&] { events("another"); });
    ::raise(SIGUSR2);
    turns(3);
    CHECK(events.take() == "another");
  });
  CHECK(has_default_action(SIGUSR2));
}

TEST_CASE("a signal that comes to another thread wakes a loop that has nothing else to do") {
  Events events;
  std::thread thread;
  asyncio::run([&] {
    asyncio::Event event;
    get_running_loop().add_signal_handler(SIGUSR1, [&] { event.set(); });
    thread = std::thread([] { ::raise(SIGUSR1); });
    await(event.wait());
    events("woken");
  });
  thread.join();
  CHECK(events.take() == "woken");
}

TEST_CASE("of a flood of signals no kind is lost, and the loop comes to rest after it") {
  Events events;
  asyncio::run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    int ones = 0;
    loop.add_signal_handler(SIGUSR1, [&] { ++ones; });
    loop.add_signal_handler(SIGUSR2, [&] { events("two"); });
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 1000; ++i) ::raise(SIGUSR1);
      ::raise(SIGUSR2);
      ::raise(SIGUSR2);
      turns(3);
      CHECK(std::exchange(ones, 0) == 257);  // those in the ring, and one for the flood
      CHECK(events.take() == "two");
    }
    const std::uint64_t before = asyncio::testing::iterations(loop);
    await(asyncio::sleep(20ms));
    CHECK(asyncio::testing::iterations(loop) - before < 10);
  });
}

TEST_CASE("a signal may come at any time, also while its thread is just waking the loop") {
  if (lacks_loop_descriptor()) return;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  CHECK(loop.fileno() >= 0);  // from now on the loop sleeps between the calls of run_ready()
  int alarms = 0;
  loop.add_signal_handler(SIGALRM, [&] { ++alarms; });
  const itimerval often{.it_interval = {0, 200}, .it_value = {0, 200}};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  while (alarms < 100) {
    for (int i = 0; i < 100; ++i) loop.call_soon_threadsafe([] {});
    loop.run_ready();
  }
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  loop.close();
}

TEST_CASE("a handler for a signal that cannot be handled is refused") {
  asyncio::run([] {
    const asyncio::EventLoop loop = get_running_loop();
    const auto add = [&](int number) {
      return thrown_by([&] { loop.add_signal_handler(number, [] {}); });
    };
    CHECK(add(SIGKILL) == "RuntimeError('sig 9 cannot be caught')");
    CHECK(add(0) == "ValueError('invalid signal number 0')");
    CHECK(add(100) == "ValueError('invalid signal number 100')");
    std::string refused;
    await(asyncio::to_thread([&] { refused = add(SIGUSR1); }));
    CHECK(refused == "RuntimeError('a loop can handle signals only in the main thread')");
    CHECK(thrown_by([&] { static_cast<void>(loop.remove_signal_handler(0)); }) ==
          "ValueError('invalid signal number 0')");
  });
}

TEST_CASE("while a loop handles SIGINT, Ctrl-C is an ordinary event") {
  Events events;
  asyncio::run([&] {
    asyncio::Event event;
    get_running_loop().add_signal_handler(SIGINT, [&] { event.set(); });
    ::raise(SIGINT);
    await(event.wait());
    events("main goes on");
  });
  CHECK(events.take() == "main goes on");
  CHECK(has_default_action(SIGINT));
}

TEST_CASE("after the handler of SIGINT is removed, Ctrl-C ends the main task again") {
  Events events;
  try {
    asyncio::run([&] {
      get_running_loop().add_signal_handler(SIGINT, [] {});
      CHECK(get_running_loop().remove_signal_handler(SIGINT));
      ::raise(SIGINT);
      try {
        await(asyncio::sleep(10s));
      } catch (const asyncio::CancelledError&) {
        events("cancelled");
        throw;
      }
    });
  } catch (const fiber::KeyboardInterrupt&) {
    events("interrupted");
  }
  CHECK(events.take() == "cancelled interrupted");
  CHECK(has_default_action(SIGINT));
}

TEST_CASE("a signal's callback may remove another one as it ends") {
  run([&] {
    const asyncio::EventLoop loop = get_running_loop();
    auto removes =
        std::shared_ptr<void>(nullptr, [loop](void*) { loop.remove_signal_handler(SIGUSR2); });
    loop.add_signal_handler(SIGUSR2, [] {});
    loop.add_signal_handler(SIGUSR1, [held = removes] {});
    removes.reset();
    CHECK(loop.remove_signal_handler(SIGUSR1));
    CHECK_FALSE(loop.remove_signal_handler(SIGUSR2));
    CHECK(has_default_action(SIGUSR1));
    CHECK(has_default_action(SIGUSR2));
  });
}
