// A library may react to a call that was cut short in any way; the scope around it must report the
// cancellation.
#include <fiber/asyncio/stall.hpp>

#include <atomic>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>

#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

// Like a library of a cache: a failed call means "no such key".
std::string get(int fd) {
  char byte;
  return calls::recv(fd, &byte, 1, 0) == 1 ? "value" : "no such key";
}
std::string get_or_throw(int fd) {
  char byte;
  if (calls::recv(fd, &byte, 1, 0) != 1) throw std::runtime_error("connection lost");
  return "value";
}

// Returns the nested exceptions: "TimeoutError < CancelledError < connection lost".
std::string chain(const std::exception_ptr& error) {
  const auto nested = [](const auto& outer) {
    const auto* link = dynamic_cast<const std::nested_exception*>(&outer);
    return link != nullptr && link->nested_ptr() ? " < " + chain(link->nested_ptr())
                                                 : std::string();
  };
  try {
    std::rethrow_exception(error);
  } catch (const fiber::TimeoutError& outer) {
    return "TimeoutError" + nested(outer);
  } catch (const asyncio::CancelledError& outer) {
    return "CancelledError" + nested(outer);
  } catch (const std::exception& outer) {
    return outer.what() + nested(outer);
  }
}

template <class F>
std::string outcome(F function) {
  try {
    return function();
  } catch (...) {
    return chain(std::current_exception());
  }
}

// Returns "done", or the exceptions with which the task ended.
template <class T>
std::string end_of(const T& task) {
  return outcome([&]() -> std::string {
    await(task);
    return "done";
  });
}

}  // namespace

TEST_CASE("wait_for: TimeoutError, whatever the library made of the failed call") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    for (auto* function : {get, get_or_throw})
      say(outcome([&] { return await(asyncio::wait_for([&] { return function(ends.a); }, 2ms)); }));
    // No cancellation is left.
    await(asyncio::sleep(0));
    CHECK(asyncio::current_task().cancelling() == 0);
  });
  CHECK(say.take() ==
        "TimeoutError < CancelledError TimeoutError < CancelledError < connection lost");
}

TEST_CASE("timeout: leaving the block counts as the next await") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    say(outcome([&]() -> std::string {
      asyncio::with(asyncio::timeout(2ms), [&] { say(get(ends.a)); });
      return "left";
    }));
    // The outer limit is over: the inner block passes the cancellation on.
    say(outcome([&]() -> std::string {
      asyncio::with(asyncio::timeout(2ms), [&] {
        say(outcome([&] {
          asyncio::with(asyncio::timeout(1h), [&] { say(get(ends.a)); });
          return "left";
        }));
        throw asyncio::CancelledError();
      });
      return "left";
    }));
    CHECK(asyncio::current_task().cancelling() == 0);
  });
  CHECK(say.take() ==
        "no such key TimeoutError < CancelledError "
        "no such key CancelledError TimeoutError < CancelledError");
}

TEST_CASE("a task that was cancelled in a library ends cancelled, whatever it returns or throws") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    for (auto* function : {get, get_or_throw}) {
      const auto task = start([&] { return function(ends.a); });
      await(asyncio::sleep(0));
      await(asyncio::sleep(0));
      task.cancel();
      say(outcome([&] { return await(task); }));
      CHECK(task.cancelled());
    }
  });
  CHECK(say.take() == "CancelledError CancelledError < connection lost");
}

TEST_CASE("an unrelated exception is not lost: it is the context of the CancelledError") {
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      get(ends.a);
      throw fiber::ValueError("of the program");
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    CHECK(end_of(task) == "CancelledError < of the program");
  });
}

TEST_CASE("a cancellation that is withdrawn is not delivered") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      say(get(ends.a));
      asyncio::current_task().uncancel();
      await(asyncio::sleep(0));
      return 42;
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    say(await(task));
  });
  CHECK(say.take() == "no such key 42");
}

TEST_CASE("TaskGroup: the body's answer to its cancellation is not an error of the group") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    for (auto* function : {get, get_or_throw}) try {
        asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
          group.create_task([] {
            await(asyncio::sleep(0));
            throw fiber::ValueError("child");
          });
          function(ends.a);
        });
      } catch (const fiber::ExceptionGroup& group) {
        for (const auto& error : group.exceptions()) say(chain(error));
      }
    CHECK(asyncio::current_task().cancelling() == 0);
  });
  CHECK(say.take() == "child child");
}

// --- time for work that must be completed -------------------------------------------------------

TEST_CASE("shield: a call waits to its end although the task is cancelled") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      say(monkey::shield(10min, [&] { return get(ends.a); }));
      say(get(ends.a));
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::sleep(1ms));
    CHECK(!task.done());
    CHECK(calls::write(ends.b, "x", 1) == 1);
    say(end_of(task));
  });
  CHECK(say.take() == "value no such key CancelledError");
}

TEST_CASE("shield: a call is shielded for a limited time") {
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      CHECK(monkey::shield(20ms, [&] { return get(ends.a); }) == "no such key");
      CHECK(errno == ECANCELED);
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    CHECK(end_of(task) == "CancelledError");
  });
}

TEST_CASE("shield: one within another uses the time of both") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      monkey::shield(30ms, [&] {
        say(monkey::shield(10min, [&] { return get(ends.a); }));
        say(monkey::grace().count());
        say(get(ends.a));
      });
      say(monkey::grace().count());
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::sleep(50ms));
    CHECK(calls::write(ends.b, "x", 1) == 1);
    say(end_of(task));
  });
  CHECK(say.take() == "value 0 no such key 0 CancelledError");
}

TEST_CASE("grace: a roll-back gets its answer, until the task is cancelled once more") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      say(monkey::grace(1h - 59min).count());
      say(get(ends.a));
      say(calls::write(ends.a, "ROLLBACK", 8));
      say(get(ends.a));
      say(get(ends.a));
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    char text[8];
    CHECK(calls::read(ends.b, text, sizeof text) == 8);
    await(asyncio::sleep(1ms));
    CHECK(calls::write(ends.b, "x", 1) == 1);
    await(asyncio::sleep(1ms));
    CHECK(!task.done());
    task.cancel();
    say(end_of(task));
  });
  CHECK(say.take() == "0 no such key 8 value no such key CancelledError");
}

TEST_CASE("grace and shield are refused where they mean nothing") {
  CHECK_THROWS_WITH_AS(monkey::grace(1s), "monkey::grace() was called outside of a task",
                       const fiber::RuntimeError&);
  CHECK_THROWS_AS(monkey::shield(1s, [] {}), const fiber::RuntimeError&);
  asyncio::run([] {
    CHECK_THROWS_AS(monkey::grace(-1s), const fiber::ValueError&);
    CHECK_THROWS_AS(monkey::grace(11min), const fiber::ValueError&);
    CHECK(monkey::grace(15ms) == 0ms);
    CHECK(monkey::grace() == 20ms);
    CHECK(monkey::grace(0s) == 20ms);
  });
}

// --- policies -----------------------------------------------------------------------------------

namespace {

constexpr const char* kCalls = "libmonkey_calls.so";

class PatchCalls {
 public:
  explicit PatchCalls(monkey::Cancel cancel) {
    CHECK(monkey::patch_library(kCalls, {.cancel = cancel}) > 10);
  }
  PatchCalls(const PatchCalls&) = delete;
  PatchCalls& operator=(const PatchCalls&) = delete;
  ~PatchCalls() { monkey::unpatch(); }
};

}  // namespace

TEST_CASE("an object whose calls are interrupted sees EINTR, and its task is cancelled") {
  const PatchCalls patch(monkey::Cancel::interrupt);
  Events say;
  asyncio::run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
      say(calls::poll(&one, 1, -1) == -1 && errno == EINTR ? "EINTR" : "?");
      // A call that does not block has its usual result.
      char byte;
      say(calls::recv(ends.a, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN ? "EAGAIN" : "?");
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    say(end_of(task));
  });
  CHECK(say.take() == "EINTR EAGAIN CancelledError");
}

TEST_CASE("an object whose calls are never cut short goes on, and its task is cancelled") {
  const PatchCalls patch(monkey::Cancel::never);
  Events say;
  asyncio::run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      say(get(ends.a));
      say(get(ends.a));
    });
    for (int i = 0; i < 2; ++i) {
      await(asyncio::sleep(1ms));
      task.cancel();
      await(asyncio::sleep(1ms));
      say("sends");
      CHECK(calls::write(ends.b, "x", 1) == 1);
    }
    say(end_of(task));
  });
  CHECK(say.take() == "sends value sends value CancelledError");
}

TEST_CASE("the policy of an object can be changed, and is listed") {
  const PatchCalls patch(monkey::Cancel::never);
  CHECK(monkey::patch_library(kCalls, {.cancel = monkey::Cancel::interrupt}) == 0);
  const auto all = monkey::patched();
  REQUIRE(all.size() == 1);
  CHECK(all[0].cancel == monkey::Cancel::interrupt);
  bool zmq = false;
  for (const monkey::Policy& policy : monkey::policies())
    if (policy.object == "libzmq") zmq = policy.cancel == monkey::Cancel::interrupt;
  CHECK(zmq);
}

TEST_CASE("a library that takes an error for readiness gets it from its other calls, too") {
  run([&] {
    const Ends ends = socket_pair();
    const auto task = start([&] {
      char byte;
      for (;;) {
        pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
        static_cast<void>(calls::poll(&one, 1, -1));
        if (calls::recv(ends.a, &byte, 1, MSG_DONTWAIT) == 1) return;
        if (errno != EAGAIN) break;
      }
      CHECK(errno == ECANCELED);
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    CHECK(end_of(task) == "CancelledError");
  });
}

TEST_CASE("a library that takes no error for an answer does not stop the others, and is named") {
  std::atomic<int> named{0};
  run([&] {
    const asyncio::StallMonitor monitor({.limit = 1h,
                                         .hook =
                                             [&](const asyncio::Stall& stall) {
                                               if (stall.cancelled && stall.task == "stubborn")
                                                 ++named;
                                             },
                                         .signal = 0});
    static_cast<void>(monitor);
    const Ends ends = socket_pair();
    const auto task = asyncio::create_task(
        [&] {
          char byte;
          while (calls::recv(ends.a, &byte, 1, 0) != 1) {
          }
        },
        {.name = "stubborn"});
    await(asyncio::sleep(1ms));
    task.cancel();
    while (named == 0) await(asyncio::sleep(1ms));
    CHECK(!task.done());
    CHECK(calls::write(ends.b, "x", 1) == 1);
    CHECK(end_of(task) == "CancelledError");
  });
}
