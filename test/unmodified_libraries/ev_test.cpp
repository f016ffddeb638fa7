// libev's own loop, unmodified, in a task. It aborts if epoll_wait() fails with anything but EINTR,
// which its policy says.
#include <ev.h>

#include "unmodified_libraries/patched.hpp"

using namespace legacy_test;

namespace {

// Turns a loop until its timer rings. Returns how often the timer rang.
int turn(double seconds) {
  int rang = 0;
  struct ev_loop* loop = ev_loop_new(EVBACKEND_EPOLL);
  REQUIRE(loop != nullptr);
  ev_timer timer;
  const auto ring = [](struct ev_loop*, ev_timer* its, int) { ++*static_cast<int*>(its->data); };
  ev_timer_init(&timer, ring, seconds, 0);
  timer.data = &rang;
  ev_timer_start(loop, &timer);
  ev_run(loop, 0);
  ev_loop_destroy(loop);
  return rang;
}

}  // namespace

TEST_CASE("libev: loops turn at once, and a time limit ends no process") {
  const PatchedLibrary patched("ev_run");
  asyncio::run([] {
    const double took = at_once("libev", "ev_run", 20, [](int) { CHECK(turn(0.5) == 1); });
    CHECK(took < 5);  // one after another they take 10 s
    int rang = 0;
    CHECK_THROWS_AS(await(asyncio::wait_for([&] { return rang = turn(0.1); }, 20ms)),
                    const asyncio::TimeoutError&);
    CHECK(rang == 1);  // ev_run goes on after EINTR
    const auto task = asyncio::create_task([] { return turn(0.1); });
    await(asyncio::sleep(10ms));
    CHECK(cancel(task));
    CHECK(await(asyncio::create_task([] { return turn(0.001); })) == 1);
  });
}
