// libuv's own loop, unmodified, in a task. It aborts if epoll_wait() fails with anything but EINTR,
// which its policy says.
#include <uv.h>

#include "unmodified_libraries/patched.hpp"

using namespace legacy_test;

namespace {

// Turns a loop until its timer rings. Returns how often the timer rang.
int turn(unsigned milliseconds) {
  int rang = 0;
  uv_loop_t loop;
  uv_timer_t timer;
  REQUIRE(uv_loop_init(&loop) == 0);
  REQUIRE(uv_timer_init(&loop, &timer) == 0);
  timer.data = &rang;
  const auto ring = [](uv_timer_t* its) {
    ++*static_cast<int*>(its->data);
    uv_close(reinterpret_cast<uv_handle_t*>(its), nullptr);
  };
  REQUIRE(uv_timer_start(&timer, ring, milliseconds, 0) == 0);
  CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&loop) == 0);
  return rang;
}

}  // namespace

TEST_CASE("libuv: loops turn at once, and a time limit ends no process") {
  const PatchedLibrary patched("uv_run");
  asyncio::run([] {
    const double took = at_once("libuv", "uv_run", 20, [](int) { CHECK(turn(500) == 1); });
    CHECK(took < 5);  // one after another they take 10 s
    int rang = 0;
    CHECK_THROWS_AS(await(asyncio::wait_for([&] { return rang = turn(100); }, 20ms)),
                    const asyncio::TimeoutError&);
    CHECK(rang == 1);  // uv_run goes on after EINTR
    const auto task = asyncio::create_task([] { return turn(100); });
    await(asyncio::sleep(10ms));
    CHECK(cancel(task));
    CHECK(await(asyncio::create_task([] { return turn(1); })) == 1);
  });
  uv_library_shutdown();  // it keeps a pipe for signals
}
