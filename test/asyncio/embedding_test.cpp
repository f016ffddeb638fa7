// A loop that a foreign main loop drives: here a plain poll().
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include <poll.h>

#include "support/cpu.hpp"
#include "support/events.hpp"
#include "support/hosts.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::EventLoop;
using support::cpu_seconds;
using support::Events;
using support::thrown_by;

namespace {

// A loop, and the host that drives it.
class Host {
 public:
  Host() : loop(asyncio::new_event_loop()), fd_(loop.fileno()) {}
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() { loop.close(); }

  bool readable(int timeout) const {
    pollfd entry{fd_, POLLIN, 0};
    return ::poll(&entry, 1, timeout) == 1;
  }
  // Runs without a time limit of its own: a lost wake-up is noticed after a second.
  template <class Done>
  void run(Done done) {
    while (!done()) {
      if (!readable(60'000)) throw fiber::RuntimeError("nothing woke the host");
      ++turns;
      loop.run_ready();
    }
  }
  // Does everything that needs no waiting.
  void settle() {
    while (readable(0)) loop.run_ready();
  }

  EventLoop loop;
  int turns = 0;

 private:
  int fd_;
};

}  // namespace

TEST_CASE("a poll loop runs tasks, timers, descriptors and results of threads in our order") {
  Host host;
  CHECK(support::events_of_tasks(host) == "reads sleeps callback slept thread hello");
}

TEST_CASE("work brought while the host has its turn makes the descriptor readable") {
  Events events;
  Host host;
  CHECK_FALSE(host.readable(0));

  SUBCASE("a callback") {
    host.loop.call_soon([&] { events("ran"); });
  }
  SUBCASE("a task") {
    host.loop.create_task([&] { events("ran"); }).add_done_callback([] {});
  }
  SUBCASE("a result") {
    const auto future = host.loop.create_future<std::string>();
    const auto task = host.loop.create_task([&] { events(await(future)); });
    host.settle();
    CHECK(events.take() == "");
    CHECK_FALSE(host.readable(0));
    future.set_result("ran");
    CHECK(host.readable(0));
    host.run([&] { return task.done(); });
  }
  SUBCASE("a cancellation") {
    const auto task = host.loop.create_task([&] {
      const support::AtEnd end([&] { events("ran"); });
      await(asyncio::sleep(1h));
    });
    host.settle();
    CHECK(events.take() == "");
    task.cancel();
    host.run([&] { return task.done(); });
  }
  SUBCASE("a deadline") {
    host.loop.call_later(0s, [&] { events("ran"); });
  }
  SUBCASE("a deadline before the one that was known") {
    const auto later = host.loop.call_later(1h, [&] { events("never"); });
    CHECK_FALSE(host.readable(0));
    host.loop.call_later(1ms, [&] { events("ran"); });
    host.run([&] { return host.turns == 1; });
    later.cancel();
  }
  SUBCASE("a call from a thread") {
    std::thread([&] { host.loop.call_soon_threadsafe([&] { events("ran"); }); }).join();
  }
  SUBCASE("a call from a thread while a task waits") {
    const auto task = host.loop.create_task([&] {
      await(asyncio::to_thread([] {}));
      events("ran");
    });
    host.run([&] { return task.done(); });
  }
  host.settle();
  CHECK(events.take() == "ran");
  CHECK_FALSE(host.readable(0));
}

TEST_CASE("fibers that never wait give the turn back after one iteration, or after the budget") {
  Host host;
  int rounds = 0;
  bool stop = false;
  const auto spin = [&] {
    while (!stop) {
      ++rounds;
      await(asyncio::sleep(0));
    }
  };
  const auto first = host.loop.create_task(spin);
  const auto second = host.loop.create_task(spin);
  CHECK(host.loop.run_ready());
  CHECK(rounds == 2);
  CHECK(host.readable(0));
  CHECK(host.loop.run_ready());
  CHECK(rounds == 4);
  CHECK(host.loop.run_ready(0.02s));
  CHECK(rounds > 8);
  stop = true;
  CHECK_FALSE(host.loop.run_ready(std::chrono::hours::max()));
  CHECK(first.done());
  CHECK(second.done());
}

TEST_CASE("the host sleeps while nothing is to do") {
  Host host;
  int beats = 0;
  const auto task = host.loop.create_task([&] {
    for (; beats < 20; ++beats) await(asyncio::sleep(10ms));
  });
  const double before = cpu_seconds();
  host.run([&] { return task.done(); });
  // 200 ms: a turn for each beat, and an idle turn now and then; a host that spins makes some
  // hundred thousand turns.
  CHECK(host.turns >= 20);
  CHECK(host.turns <= 100);
  CHECK(cpu_seconds() - before < 0.15);
}

TEST_CASE("no wake-up of another thread is lost") {
  Host host;
  constexpr int kCalls = 2000;
  support::run_while_a_thread_calls(host.loop, kCalls, [&](auto done) { host.run(done); });
  CHECK(host.turns <= kCalls + 10);
}

TEST_CASE("next_deadline and poll_timeout tell when the next turn is due") {
  Host host;
  CHECK_FALSE(host.loop.next_deadline());
  CHECK(host.loop.poll_timeout() == -1);

  const auto later = host.loop.call_later(1h, [] {});
  CHECK(host.loop.next_deadline() == later.when());
  CHECK(host.loop.poll_timeout() > 3'500'000);
  CHECK(host.loop.poll_timeout() <= 3'600'000);

  const auto sooner = host.loop.call_at(host.loop.time() + 999us, [] {});
  CHECK(host.loop.next_deadline() == sooner.when());
  CHECK(host.loop.poll_timeout() <= 1);
  sooner.cancel();
  CHECK(host.loop.next_deadline() == later.when());

  host.loop.call_soon([] {});
  CHECK(host.loop.poll_timeout() == 0);
  const auto deadline = *host.loop.next_deadline();
  CHECK(deadline <= host.loop.time());
  host.settle();
  std::thread([&] { host.loop.call_soon_threadsafe([] {}); }).join();
  CHECK(host.loop.poll_timeout() == 0);
  host.settle();
  later.cancel();
  CHECK(host.loop.poll_timeout() == -1);
}

TEST_CASE("a callback of the host may run the loop until something is done") {
  Host host;
  Events events;
  const auto background = host.loop.create_task([&] {
    await(asyncio::sleep(1ms));
    events("background");
  });
  host.settle();
  CHECK(host.loop.run_until_complete([&] {
    await(background);
    await(asyncio::sleep(1ms));
    return 42;
  }) == 42);
  CHECK(events.take() == "background");
  CHECK_FALSE(host.readable(0));
  host.loop.call_soon([&] { events("still embedded"); });
  CHECK(host.readable(0));
  host.settle();
  CHECK(events.take() == "still embedded");
}

TEST_CASE("between two turns the loop is not running, and inside of one it cannot be nested") {
  Host host;
  CHECK_FALSE(host.loop.is_running());
  CHECK(thrown_by([] { asyncio::get_running_loop(); }) == "RuntimeError('no running event loop')");
  const auto task = host.loop.create_task([&] {
    CHECK(host.loop.is_running());
    host.loop.run_ready();
  });
  host.settle();
  CHECK(fiber::repr(task.exception()) == "RuntimeError('This event loop is already running')");
}

TEST_CASE("a KeyboardInterrupt leaves the turn, and the next one goes on") {
  Host host;
  Events events;
  host.loop.call_soon([] { throw fiber::KeyboardInterrupt(); });
  host.loop.call_soon([&] { events("next"); });
  CHECK(thrown_by([&] { host.loop.run_ready(); }) == "KeyboardInterrupt()");
  CHECK(host.readable(0));
  host.settle();
  CHECK(events.take() == "next");
}

TEST_CASE("virtual time passes in a host's loop too") {
  Host host;
  const asyncio::testing::VirtualClock clock;
  clock.attach(host.loop);
  Events events;
  const auto task = host.loop.create_task([&] {
    await(asyncio::sleep(1h));
    events("an hour");
    await(asyncio::to_thread([] {}));
    await(asyncio::sleep(1h));
  });
  host.run([&] { return task.done(); });
  CHECK(events.take() == "an hour");
  CHECK(clock.time() == 2h);
}

TEST_CASE("a loop that is closed has no descriptor") {
  const EventLoop loop = asyncio::new_event_loop();
  CHECK(loop.fileno() == loop.fileno());
  loop.close();
  const std::string closed = "RuntimeError('Event loop is closed')";
  CHECK(thrown_by([&] { loop.fileno(); }) == closed);
  CHECK(thrown_by([&] { loop.run_ready(); }) == closed);
  CHECK(thrown_by([&] { static_cast<void>(loop.next_deadline()); }) == closed);
}

TEST_CASE("a callback may drop the last handle of the loop that run_ready() runs") {
  auto loop = std::make_unique<EventLoop>(asyncio::new_event_loop());
  bool called = false;
  loop->call_soon([&] {
    called = true;
    loop.reset();
  });
  static_cast<void>(loop->run_ready());
  CHECK(called);
  CHECK(loop == nullptr);
}

TEST_CASE("poll_timeout of a deadline that is as far as can be") {
  const EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock;
  clock.attach(loop);
  loop.call_later(std::chrono::hours::max(), [] {});
  CHECK(loop.poll_timeout() == std::numeric_limits<int>::max());
  loop.close();
}
