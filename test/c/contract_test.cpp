// The sentences of <fiber/fiber.h> that interface_test.cpp does not show, in order.
#include <fiber/asyncio.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "support/child_process.hpp"
#include "support/log.hpp"

namespace {

void* const kNoise = reinterpret_cast<void*>(0x77);

int nothing(void*, void**) { return FIBER_OK; }
int returns(void* status, void**) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(status));
}
int sleeps(void*, void**) { return fiber_sleep(FIBER_SECOND); }
void* as_argument(int status) { return reinterpret_cast<void*>(std::intptr_t{status}); }
void no_callback(void*) {}

// Runs a lambda without captures as the first task of a loop.
void in_task(fiber_body* body) { CHECK(fiber_run(body, nullptr, nullptr) == FIBER_OK); }

std::string last() { return fiber_last_error(); }

}  // namespace

TEST_CASE("every status has words, and each thread its last error") {
  for (int status = 0; status >= -12; --status) CHECK(*fiber_strerror(status) != '\0');
  CHECK(std::string(fiber_strerror(-12)) == "unknown status");
  CHECK(std::string(fiber_strerror(1)) == fiber_strerror(2));
  CHECK(fiber_greenlet_kill(nullptr) == FIBER_INVALID);
  CHECK(last() == "the greenlet is NULL");
  std::thread([] { CHECK(last() == ""); }).join();
  CHECK(last() == "the greenlet is NULL");
}

TEST_CASE("a body that is ended with its thread has the text of what ended it") {
  static std::string told;
  fiber_greenlet* g = nullptr;
  std::thread([&g] {
    const auto body = [](void*, void**) {
      const int status =
          fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), nullptr, nullptr);
      told = std::to_string(status) + " " + fiber_last_error();
      return status;
    };
    REQUIRE(fiber_greenlet_new(&g, body, nullptr, nullptr) == FIBER_OK);
    CHECK(fiber_greenlet_switch(g, nullptr, nullptr) == FIBER_OK);
    CHECK(fiber_greenlet_throw(nullptr, 5, nullptr) == FIBER_INVALID);  // sets a text
  }).join();
  fiber_greenlet_unref(g);
  CHECK(told == "-9 the last reference was dropped");
}

TEST_CASE("a status that a body passes on after it has waited is the error that it was") {
  const auto main = [](void*, void**) -> int {
    const auto fails = [](void* text, void**) -> int {
      const fiber::greenlet inner([text] { throw std::out_of_range(static_cast<char*>(text)); });
      const int status = fiber_greenlet_switch(reinterpret_cast<fiber_greenlet*>(inner.object()),
                                               nullptr, nullptr);
      fiber_sleep(FIBER_MILLISECOND);  // another call fails meanwhile
      return status;
    };
    char a[] = "a";
    char b[] = "b";
    std::array<fiber_future*, 2> tasks{};
    CHECK(fiber_spawn(&tasks[0], fails, a, nullptr) == FIBER_OK);
    CHECK(fiber_spawn(&tasks[1], fails, b, nullptr) == FIBER_OK);
    std::string texts;
    for (fiber_future* task : tasks) {
      CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == FIBER_ERROR);
      texts += last();
      fiber_future_unref(task);
    }
    CHECK(texts == "ab");
    return FIBER_OK;
  };
  CHECK(fiber_run(main, nullptr, nullptr) == FIBER_OK);
}

TEST_CASE("outputs are NULL or zero on failure") {
  void* result = kNoise;
  CHECK(fiber_run(returns, as_argument(7), &result) == 7);
  CHECK(result == nullptr);
  result = kNoise;
  CHECK(fiber_run(nullptr, nullptr, &result) == FIBER_INVALID);
  CHECK(result == nullptr);
  auto* future = static_cast<fiber_future*>(kNoise);
  CHECK(fiber_spawn(&future, nothing, nullptr, nullptr) == FIBER_BAD_STATE);
  CHECK(future == nullptr);
  future = static_cast<fiber_future*>(kNoise);
  CHECK(fiber_loop_spawn(nullptr, &future, nothing, nullptr, nullptr) == FIBER_INVALID);
  CHECK(future == nullptr);
  future = static_cast<fiber_future*>(kNoise);
  CHECK(fiber_future_new(&future) == FIBER_BAD_STATE);
  CHECK(future == nullptr);
  future = static_cast<fiber_future*>(kNoise);
  CHECK(fiber_loop_future_new(nullptr, &future) == FIBER_INVALID);
  CHECK(future == nullptr);
  auto* greenlet = static_cast<fiber_greenlet*>(kNoise);
  CHECK(fiber_greenlet_new(&greenlet, nullptr, nullptr, nullptr) == FIBER_INVALID);
  CHECK(greenlet == nullptr);
  for (const int status : std::initializer_list<int>{FIBER_OK, 3}) {
    result = kNoise;
    CHECK(fiber_greenlet_throw(nullptr, status, &result) == FIBER_INVALID);
    CHECK(result == nullptr);
  }
  result = kNoise;
  CHECK(fiber_await(nullptr, 0, &result) == FIBER_INVALID);
  CHECK(result == nullptr);
  result = kNoise;
  CHECK(fiber_to_thread([](void* p) { return p; }, nullptr, &result) == FIBER_BAD_STATE);
  CHECK(result == nullptr);
  int ready = 7;
  CHECK(fiber_wait_fd(0, 0, 0, &ready) == FIBER_INVALID);
  CHECK(ready == 0);
  CHECK(fiber_loop_running() == nullptr);
  CHECK(fiber_loop_fileno(nullptr) == -1);
  CHECK(fiber_loop_poll_timeout(nullptr) == 0);
  CHECK(last() == "the loop is NULL");
  for (const auto function : {fiber_greenlet_active, fiber_greenlet_dead}) {
    CHECK(fiber_loop_poll_timeout(nullptr) == 0);
    CHECK(function(nullptr) == 0);
    CHECK(last() == "the greenlet is NULL");
  }
}

TEST_CASE("the size of options ends after a member, and members that are not known are zero") {
  struct Later {
    fiber_greenlet_options known;
    void* more[2];
  };
  Later options{};
  const auto made_with = [&](std::size_t size) {
    options.known.size = size;
    fiber_greenlet* g = nullptr;
    const int status = fiber_greenlet_new(&g, nothing, nullptr, &options.known);
    fiber_greenlet_unref(g);
    return status;
  };
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= sizeof options; ++size)
    if (made_with(size) == FIBER_OK) sizes.push_back(size);
  constexpr std::size_t kWord = sizeof(void*);
  CHECK(sizes ==
        std::vector<std::size_t>{kWord, 2 * kWord, 3 * kWord, 4 * kWord, 5 * kWord, 6 * kWord});
  options.more[0] = kNoise;
  CHECK(made_with(sizeof options) == FIBER_INVALID);
  CHECK(made_with(static_cast<std::size_t>(-1)) == FIBER_INVALID);
}

TEST_CASE("a stack of more than 1 TiB is refused when it is asked for") {
  fiber_greenlet_options options{};
  options.size = sizeof options;
  for (const std::size_t size : {SIZE_MAX, (std::size_t{1} << 40U) + 1}) {
    options.stack_size = size;
    auto* greenlet = static_cast<fiber_greenlet*>(kNoise);
    CHECK(fiber_greenlet_new(&greenlet, nothing, nullptr, &options) == FIBER_INVALID);
    CHECK(last() == "the options ask for a stack of more than 1 TiB");
    CHECK(greenlet == nullptr);
  }
}

TEST_CASE("calls that need a task or a loop say which functions of the interface make one") {
  const std::string where = ": call this in the body of fiber_run, fiber_spawn or fiber_loop_spawn";
  const auto said_by = [](auto call) {
    CHECK(call() == FIBER_BAD_STATE);
    return last();
  };
  const std::string no_task = "there is no task that could wait" + where;
  const std::string no_loop = "no loop runs here" + where;
  const auto thread = [](void*) -> void* { return nullptr; };
  fiber_future* future = nullptr;
  CHECK(said_by([] { return fiber_sleep(1); }) == no_task);
  CHECK(said_by([] { return fiber_wait_fd(0, FIBER_READABLE, 0, nullptr); }) == no_task);
  CHECK(said_by([&] { return fiber_to_thread(thread, nullptr, nullptr); }) == no_task);
  CHECK(said_by([] { return fiber_spawn(nullptr, nothing, nullptr, nullptr); }) == no_loop);
  CHECK(said_by([&] { return fiber_future_new(&future); }) == no_loop);
  CHECK(fiber_loop_running() == nullptr);
  CHECK(last() == no_loop);
  fiber_loop* loop = nullptr;
  REQUIRE(fiber_loop_new(&loop) == FIBER_OK);
  REQUIRE(fiber_loop_future_new(loop, &future) == FIBER_OK);
  CHECK(said_by([&] { return fiber_await(future, 1, nullptr); }) == no_task);
  fiber_future_unref(future);
  CHECK(fiber_loop_close(loop) == FIBER_OK);
  fiber_loop_unref(loop);
}

TEST_CASE("a task that cannot be made is a status, and nothing that is printed") {
#if !defined(FIBER_ASAN)  // UndefinedBehaviorSanitizer needs a pipe for its first look at a class
  const support::ChildResult result = support::run_child({.body = [] {
    const rlimit none{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) ::_exit(1);
    ::_exit(-fiber_run(nothing, nullptr, nullptr));
  }});
  CHECK(result.status == -FIBER_OS_ERROR);
  CHECK(result.errors == "");
#endif
  in_task([](void*, void**) -> int {
    support::Log log;
    const auto loop = fiber::asyncio::get_running_loop();
    loop.set_task_factory(
        [](const auto&...) -> fiber::asyncio::TaskRef { throw std::bad_alloc(); });
    CHECK(fiber_spawn(nullptr, nothing, nullptr, nullptr) == FIBER_NO_MEMORY);
    loop.set_task_factory(nullptr);
    CHECK(log.take() == "");
    return FIBER_OK;
  });
}

TEST_CASE("objects of another thread are refused") {
  in_task([](void*, void**) -> int {
    fiber_future* future = nullptr;
    fiber_greenlet* pending = nullptr;
    CHECK(fiber_future_new(&future) == FIBER_OK);
    CHECK(fiber_greenlet_new(&pending, nothing, nullptr, nullptr) == FIBER_OK);
    fiber_greenlet* main = fiber_greenlet_current();
    fiber_greenlet* ended = nullptr;
    CHECK(fiber_greenlet_new(&ended, nothing, nullptr, nullptr) == FIBER_OK);
    CHECK(fiber_greenlet_kill(ended) == FIBER_OK);
    std::thread([&] {
      void* result = kNoise;
      CHECK(fiber_future_set_result(future, nullptr) == FIBER_WRONG_THREAD);
      CHECK(fiber_future_set_status(future, 5) == FIBER_WRONG_THREAD);
      CHECK(fiber_future_cancel(future) == FIBER_WRONG_THREAD);
      CHECK(fiber_future_result(future, &result) == FIBER_WRONG_THREAD);
      CHECK(result == nullptr);
      CHECK(fiber_future_on_done(future, no_callback, nullptr) == FIBER_WRONG_THREAD);
      CHECK(fiber_await(future, 0, nullptr) == FIBER_WRONG_THREAD);
      CHECK(fiber_future_done(future) == 0);
      CHECK(fiber_greenlet_switch(pending, nullptr, nullptr) == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_throw(pending, 5, nullptr) == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_kill(pending) == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_set_parent(pending, fiber_greenlet_current()) == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_set_data(pending, kNoise) == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_set_name(pending, "x") == FIBER_WRONG_THREAD);
      CHECK(fiber_greenlet_parent(pending) == nullptr);
      for (const auto function : {fiber_greenlet_active, fiber_greenlet_dead}) {
        for (fiber_greenlet* other : {pending, main, ended}) {
          CHECK(fiber_greenlet_kill(nullptr) == FIBER_INVALID);  // sets another text
          CHECK(function(other) == 0);
          CHECK(last() == "the greenlet belongs to another thread");
        }
      }
      fiber_greenlet_options options{};
      options.size = sizeof options;
      options.parent = pending;
      fiber_greenlet* made = nullptr;
      CHECK(fiber_greenlet_new(&made, nothing, nullptr, &options) == FIBER_WRONG_THREAD);
      fiber_loop* loop = nullptr;
      CHECK(fiber_loop_new(&loop) == FIBER_OK);
      std::thread([&] {
        CHECK(fiber_loop_run_ready(loop) == FIBER_WRONG_THREAD);
        CHECK(fiber_loop_poll_timeout(loop) == 0);
        CHECK(last().find("the loop of another thread") != std::string::npos);
        CHECK(fiber_loop_spawn(loop, nullptr, nothing, nullptr, nullptr) == FIBER_WRONG_THREAD);
        CHECK(fiber_loop_close(loop) == FIBER_WRONG_THREAD);
        CHECK(fiber_loop_post(loop, no_callback, nullptr) == FIBER_OK);
      }).join();
      CHECK(fiber_loop_poll_timeout(loop) == 0);  // something was posted
      CHECK(fiber_loop_close(loop) == FIBER_OK);
      CHECK(fiber_loop_poll_timeout(loop) == 0);
      CHECK(last().find("closed") != std::string::npos);
      fiber_loop_unref(loop);
    }).join();
    CHECK(fiber_greenlet_dead(pending) == 0);
    CHECK(fiber_greenlet_active(main) == 1);
    CHECK(fiber_greenlet_dead(ended) == 1);
    fiber_greenlet_unref(ended);
    CHECK(fiber_greenlet_switch(pending, nullptr, nullptr) == FIBER_OK);
    CHECK(fiber_future_set_result(future, nullptr) == FIBER_OK);
    fiber_greenlet_unref(pending);
    fiber_future_unref(future);
    return FIBER_OK;
  });
}

TEST_CASE("at the end of a program calls fail because fibers have ended, not for another thread") {
  const support::ChildResult ended = support::run_child({.body = [] {
    static fiber_greenlet* its = nullptr;
    static fiber_loop* loop = nullptr;
    const auto at_exit = [] {
      const auto must = [](bool fact, int status) {
        if (!fact) ::_exit(status);
      };
      const auto says = [] {
        return last().starts_with("this thread exits and has ended its fibers");
      };
      must(fiber_greenlet_switch(its, nullptr, nullptr) == FIBER_BAD_STATE && says(), 10);
      must(fiber_greenlet_parent(its) == nullptr && says(), 11);
      must(fiber_loop_run_ready(loop) == FIBER_BAD_STATE && says(), 12);
      must(fiber_run(nothing, nullptr, nullptr) == FIBER_BAD_STATE, 13);
      ::_exit(3);
    };
    std::atexit(at_exit);
    if (fiber_greenlet_new(&its, nothing, nullptr, nullptr) != FIBER_OK) ::_exit(4);
    if (fiber_loop_new(&loop) != FIBER_OK) ::_exit(5);
    std::exit(6);
  }});
  CHECK(ended.status == 3);
}

TEST_CASE("calls of another thread leave the count of a future alone") {
  in_task([](void*, void**) -> int {
    constexpr int kRounds = 300'000;
    static constexpr auto notify = [](void* counter) { ++*static_cast<int*>(counter); };
    fiber_future* future = nullptr;
    CHECK(fiber_future_new(&future) == FIBER_OK);
    fiber_future* second = fiber_future_ref(future);
    std::atomic<bool> over{false};
    std::thread other([&] {
      CHECK(fiber_future_ref(future) == nullptr);
      CHECK(last().find("the loop of another thread") != std::string::npos);
      while (!over) {
        fiber_future_done(future);
        fiber_future_cancel(future);
      }
      fiber_future_unref(second);
    });
    for (int i = 0; i < kRounds; ++i) fiber_future_unref(fiber_future_ref(future));
    over = true;
    other.join();
    CHECK(fiber_sleep(0) == FIBER_OK);  // the loop takes the reference back
    int ended = 0;
    CHECK(fiber_future_on_done(future, notify, &ended) == FIBER_OK);
    CHECK(fiber_future_set_result(future, nullptr) == FIBER_OK);
    CHECK(fiber_sleep(0) == FIBER_OK);
    CHECK(ended == 1);
    fiber_future_unref(future);
    return FIBER_OK;
  });
}

TEST_CASE("a future ends once, and a task by itself") {
  in_task([](void*, void**) -> int {
    fiber_future* future = nullptr;
    fiber_future* task = nullptr;
    CHECK(fiber_future_new(&future) == FIBER_OK);
    CHECK(fiber_future_set_status(future, FIBER_OK) == FIBER_INVALID);
    CHECK(fiber_future_set_result(future, kNoise) == FIBER_OK);
    CHECK(fiber_future_set_status(future, FIBER_CANCELLED) == FIBER_BAD_STATE);
    CHECK(fiber_future_set_status(future, 5) == FIBER_BAD_STATE);
    fiber_future_unref(future);
    CHECK(fiber_future_new(&future) == FIBER_OK);
    CHECK(fiber_future_set_status(future, FIBER_CANCELLED) == FIBER_OK);
    CHECK(fiber_future_cancelled(future) == 1);
    fiber_future_unref(future);
    CHECK(fiber_spawn(&task, nothing, nullptr, nullptr) == FIBER_OK);
    CHECK(fiber_future_set_status(task, FIBER_CANCELLED) == FIBER_BAD_STATE);
    CHECK(fiber_future_set_status(task, 5) == FIBER_BAD_STATE);
    CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == FIBER_OK);
    fiber_future_unref(task);
    return FIBER_OK;
  });
}

TEST_CASE("a wait for the future of another loop is refused, whatever its limit") {
  static fiber_loop* other = nullptr;
  REQUIRE(fiber_loop_new(&other) == FIBER_OK);
  in_task([](void*, void**) -> int {
    fiber_future* future = nullptr;
    CHECK(fiber_loop_future_new(other, &future) == FIBER_OK);
    for (const std::int64_t limit : {std::int64_t{0}, FIBER_MILLISECOND, FIBER_NO_LIMIT}) {
      CHECK(fiber_await(future, limit, nullptr) == FIBER_BAD_STATE);
      CHECK(last() == "the future belongs to another loop than the task that waits");
    }
    CHECK(fiber_future_done(future) == 0);
    fiber_future_unref(future);
    return FIBER_OK;
  });
  CHECK(fiber_loop_close(other) == FIBER_OK);
  fiber_future* late = nullptr;
  CHECK(fiber_loop_future_new(other, &late) == FIBER_BAD_STATE);
  CHECK(fiber_loop_spawn(other, &late, nothing, nullptr, nullptr) == FIBER_BAD_STATE);
  CHECK(fiber_loop_close(other) == FIBER_OK);
  fiber_loop_unref(other);
}

TEST_CASE("after the limit of a wait the task is cancelled, and ends as it likes") {
  in_task([](void*, void**) -> int {
    const auto swallows = [](void* status, void** result) -> int {
      CHECK(fiber_sleep(60 * FIBER_SECOND) == FIBER_CANCELLED);
      *result = kNoise;
      return returns(status, result);
    };
    for (const int status : std::initializer_list<int>{FIBER_OK, FIBER_CANCELLED, 5}) {
      CAPTURE(status);
      fiber_future* task = nullptr;
      void* result = nullptr;
      CHECK(fiber_spawn(&task, swallows, as_argument(status), nullptr) == FIBER_OK);
      CHECK(fiber_await(task, FIBER_MILLISECOND, &result) ==
            (status == FIBER_CANCELLED ? int{FIBER_TIMEOUT} : status));
      CHECK(result == (status == FIBER_OK ? kNoise : nullptr));
      CHECK(fiber_future_done(task) == 1);
      CHECK(fiber_future_cancelled(task) == (status == FIBER_CANCELLED ? 1 : 0));
      fiber_future_unref(task);
    }
    return FIBER_OK;
  });
}

TEST_CASE("a task whose helper waits is not continued by a plain switch between two turns") {
  static std::string events;
  static fiber_greenlet* helper = nullptr;
  static fiber_greenlet* own = nullptr;
  const support::Log log;
  fiber_loop* loop = nullptr;
  REQUIRE(fiber_loop_new(&loop) == FIBER_OK);
  const auto waits = [](void*, void**) -> int {
    const int status = fiber_sleep(FIBER_MILLISECOND);
    events += "helper " + std::to_string(status) + ", ";
    return status;
  };
  const auto task = [](void*, void**) -> int {
    own = fiber_greenlet_ref(fiber_greenlet_current());
    const int status = fiber_greenlet_switch(helper, nullptr, nullptr);
    events += "task " + std::to_string(status);
    return status;
  };
  REQUIRE(fiber_greenlet_new(&helper, waits, nullptr, nullptr) == FIBER_OK);
  fiber_future* made = nullptr;
  REQUIRE(fiber_loop_spawn(loop, &made, task, nullptr, "t") == FIBER_OK);
  CHECK(fiber_loop_run_ready(loop) == FIBER_OK);
  CHECK(fiber_greenlet_switch(own, nullptr, nullptr) == FIBER_BAD_STATE);
  CHECK(fiber_greenlet_throw(own, 5, nullptr) == FIBER_BAD_STATE);
  CHECK(fiber_greenlet_switch(helper, nullptr, nullptr) == FIBER_BAD_STATE);
  while (fiber_future_done(made) == 0) fiber_loop_run_ready(loop);
  CHECK(events == "helper 0, task 0");
  fiber_future_unref(made);
  fiber_loop_close(loop);
  fiber_loop_unref(loop);
  fiber_greenlet_unref(own);
  fiber_greenlet_unref(helper);
}

TEST_CASE("tasks are called what their bodies are called") {
  const auto main = [](void*, void**) -> int {
    fiber_future* task = nullptr;
    CHECK(fiber_spawn(&task, sleeps, nullptr, "sleeper") == FIBER_OK);
    const auto all = fiber::asyncio::all_tasks();
    CHECK(all.back().get_coro().name().find("sleeps") != std::string::npos);
    CHECK(fiber_future_cancel(task) == FIBER_OK);
    CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == FIBER_CANCELLED);
    fiber_future_unref(task);
    return FIBER_OK;
  };
  CHECK(fiber_run(main, nullptr, nullptr) == FIBER_OK);
}

TEST_CASE("a body's result arrives at the code that waits for its end") {
  in_task([](void*, void**) -> int {
    for (const int status : std::initializer_list<int>{
             FIBER_ERROR, FIBER_INVALID, FIBER_BAD_STATE, FIBER_NO_MEMORY, FIBER_WRONG_THREAD,
             FIBER_OS_ERROR, FIBER_TIMEOUT, FIBER_CANCELLED, -1000, 1, 2147483647}) {
      CAPTURE(status);
      errno = ENOENT;
      fiber_future* task = nullptr;
      fiber_greenlet* g = nullptr;
      CHECK(fiber_spawn(&task, returns, as_argument(status), nullptr) == FIBER_OK);
      CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == status);
      CHECK(fiber_future_result(task, nullptr) == status);
      CHECK(fiber_greenlet_new(&g, returns, as_argument(status), nullptr) == FIBER_OK);
      CHECK(fiber_greenlet_switch(g, nullptr, nullptr) == status);
      if (status == FIBER_OS_ERROR) CHECK(errno == ENOENT);
      fiber_greenlet_unref(g);
      fiber_future_unref(task);
    }
    // A greenlet that was told to end has ended; for a task that waits for it this is no error.
    fiber_future* task = nullptr;
    fiber_greenlet* g = nullptr;
    CHECK(fiber_spawn(&task, returns, as_argument(FIBER_EXIT), nullptr) == FIBER_OK);
    CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == FIBER_CANCELLED);
    CHECK(fiber_greenlet_new(&g, returns, as_argument(FIBER_EXIT), nullptr) == FIBER_OK);
    CHECK(fiber_greenlet_switch(g, nullptr, nullptr) == FIBER_OK);
    fiber_greenlet_unref(g);
    fiber_future_unref(task);
    return FIBER_OK;
  });
}
