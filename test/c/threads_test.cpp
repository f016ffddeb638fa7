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

TEST_CASE("a loop has one handle, however often the program asks for it") {
  fiber_loop* loop = nullptr;
  static fiber_loop* running = nullptr;
  REQUIRE(fiber_loop_new(&loop) == FIBER_OK);
  const auto asks = [](void*, void**) -> int {
    running = fiber_loop_running();
    return FIBER_OK;
  };
  CHECK(fiber_loop_spawn(loop, nullptr, asks, nullptr, nullptr) == FIBER_OK);
  CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
  CHECK(running == loop);
  fiber_loop_unref(running);
  CHECK(fiber_loop_close(loop) == FIBER_OK);
  fiber_loop_unref(loop);
}

TEST_CASE("a loop whose thread has ended is any thread's, and so are its futures") {
  support::Log log;
  for (const bool closed : {false, true}) {
    fiber_loop* loop = nullptr;
    fiber_future* future = nullptr;
    fiber_future* task = nullptr;
    std::thread([&] {
      const auto sleeps = [](void*, void**) { return fiber_sleep(FIBER_SECOND); };
      CHECK(fiber_loop_new(&loop) == FIBER_OK);
      CHECK(fiber_loop_future_new(loop, &future) == FIBER_OK);
      CHECK(fiber_future_set_status(future, 5) == FIBER_OK);
      CHECK(fiber_loop_spawn(loop, &task, sleeps, nullptr, nullptr) == FIBER_OK);
      CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
      std::thread([&] { CHECK(fiber_loop_close(loop) == FIBER_WRONG_THREAD); }).join();
    }).join();
    CHECK(fiber_future_done(task) == 1);  // it has ended with its thread
    fiber_future_unref(task);
    bool called = false;
    const auto calls = [](void* flag) { *static_cast<bool*>(flag) = true; };
    // A thread that may have the memory of the one that has ended.
    std::thread([] { CHECK(fiber_greenlet_current() != nullptr); }).join();
    CHECK(fiber_loop_post(loop, calls, &called) == FIBER_OK);
    if (closed) {
      CHECK(fiber_loop_close(loop) == FIBER_OK);
    } else {
      CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
    }
    CHECK(called == !closed);
    log.take();
    fiber_future_unref(future);
    CHECK(log.take().find("exception was never retrieved") != std::string::npos);
    fiber_loop_unref(loop);
  }
}

TEST_CASE("a future whose loop nobody runs any more ends with its last reference") {
  support::Log log;
  fiber_loop* loop = nullptr;
  fiber_future* future = nullptr;
  std::thread([&] {
    CHECK(fiber_loop_new(&loop) == FIBER_OK);
    CHECK(fiber_loop_future_new(loop, &future) == FIBER_OK);
    CHECK(fiber_future_set_status(future, 5) == FIBER_OK);
  }).join();
  fiber_loop_unref(loop);
  CHECK(log.take() == "");
  fiber_future_unref(future);
  CHECK(log.take().find("exception was never retrieved") != std::string::npos);
}

TEST_CASE("a loop goes from thread to thread, each of which has ended before the next runs it") {
  fiber_loop* loop = nullptr;
  std::thread([&] { CHECK(fiber_loop_new(&loop) == FIBER_OK); }).join();
  for (int i = 0; i < 3; ++i)
    std::thread([&] {
      CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
      std::thread([&] { CHECK(fiber_loop_run_ready(loop) == FIBER_WRONG_THREAD); }).join();
    }).join();
  CHECK(fiber_loop_close(loop) == FIBER_OK);
  fiber_loop_unref(loop);
}
