// A loop in a host that has no descriptor to wait for, and looks again and again: as on a platform
// where EventLoop::fileno() refuses.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "support/events.hpp"
#include "support/hosts.hpp"
#include "support/platform.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using support::thrown_by;

namespace {

struct Host {
  Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() { loop.close(); }

  template <class Done>
  void run(Done done) {
    while (!done()) loop.run_ready();
  }

  asyncio::EventLoop loop = asyncio::new_event_loop();
};

}  // namespace

TEST_CASE("run_ready alone runs tasks, timers, descriptors and the results of threads") {
  Host host;
  CHECK(support::events_of_tasks(host) == "reads sleeps callback slept thread hello");
}

TEST_CASE("between the calls of run_ready the loop tells what is due") {
  Host host;
  CHECK_FALSE(host.loop.run_ready());
  CHECK(host.loop.poll_timeout() == -1);
  const auto later = host.loop.call_later(1h, [] {});
  CHECK(host.loop.next_deadline() == later.when());
  host.loop.call_soon([] {});
  CHECK(host.loop.poll_timeout() == 0);
  CHECK_FALSE(host.loop.run_ready());
  CHECK(host.loop.next_deadline() == later.when());
  later.cancel();
  CHECK_FALSE(host.loop.is_running());
  CHECK(host.loop.run_until_complete([] { return 42; }) == 42);
}

TEST_CASE("virtual time passes in a host without a descriptor, too") {
  Host host;
  const asyncio::testing::VirtualClock clock;
  clock.attach(host.loop);
  const auto task = host.loop.create_task([] { await(asyncio::sleep(1h)); });
  host.run([&] { return task.done(); });
  CHECK(clock.time() == 1h);
}

TEST_CASE(
    "a platform without a descriptor for all events says so, each time, and nothing changes") {
  if (!support::lacks_loop_descriptor()) return;
  const Host host;
  const std::string refusal =
      "NotImplementedError('EventLoop::fileno(): on this platform no descriptor tells of events "
      "and of deadlines; call run_ready() when the main loop of the host is idle')";
  for (int i = 0; i < 2; ++i) CHECK(thrown_by([&] { host.loop.fileno(); }) == refusal);
  CHECK(host.loop.run_until_complete([&] { return thrown_by([&] { host.loop.fileno(); }); }) ==
        refusal);
  host.loop.close();
  CHECK(thrown_by([&] { host.loop.fileno(); }) == "RuntimeError('Event loop is closed')");
  CHECK(thrown_by([&] { host.loop.run_ready(); }) == "RuntimeError('Event loop is closed')");
}
