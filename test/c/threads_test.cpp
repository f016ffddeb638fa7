// What other threads may do with the objects of a loop.
#include <fiber/fiber.h>

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "support/allocations.hpp"
#include "support/log.hpp"

TEST_CASE("the last reference to a future is given back on any thread, even without memory") {
  support::Log log;
  fiber_loop* loop = nullptr;
  fiber_future* future = nullptr;
  REQUIRE(fiber_loop_new(&loop) == FIBER_OK);
  REQUIRE(fiber_loop_future_new(loop, &future) == FIBER_OK);
  REQUIRE(fiber_future_set_status(future, 5) == FIBER_OK);
  REQUIRE(fiber_future_ref(future) == future);
  for (const bool last : {false, true}) {
    std::thread([&] {
      CHECK(fiber_last_error() == std::string());  // and the thread has its state
      const support::Scarce none(0);
      fiber_future_unref(future);
    }).join();
    CHECK(log.take() == "");
    CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
    // The future ends on its own thread, and says then that nobody has seen its error.
    CHECK((log.take().find("exception was never retrieved") != std::string::npos) == last);
  }
  CHECK(fiber_loop_close(loop) == FIBER_OK);
  fiber_loop_unref(loop);
}
