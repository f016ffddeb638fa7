// Semaphore and BoundedSemaphore.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;

namespace {

std::string state_of(const asyncio::Semaphore& semaphore) {
  const std::string text = semaphore.repr();
  return text.substr(text.find('['));
}

}  // namespace

TEST_CASE("a semaphore gives its places in the order of coming") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(1);
    const auto user = asyncio::async([&](std::string name) {
      trace(name, " wants");
      await(semaphore.acquire());
      trace(name, " got");
      turns(1);
      semaphore.release();
      trace(name, " released; locked = ", semaphore.locked());
    });
    await(asyncio::gather(user("a"), user("b"), user("c")));
  });
  CHECK(trace.take() ==
        "[2] a wants | [2] a got | [2] b wants | [2] c wants | [3] a released; locked = True | "
        "[4] b got | [5] b released; locked = True | [6] c got | [7] c released; locked = False");
}

TEST_CASE("a newcomer does not get the place of a waiter that is woken but has not run") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(1);
    await(semaphore.acquire());
    const auto user = [&](std::string name) {
      await(semaphore.acquire());
      trace(name, " got");
      turns(2);
      semaphore.release();
    };
    auto a = asyncio::create_task([&] { user("a"); });
    turns(1);
    trace("release");
    semaphore.release();
    auto b = asyncio::create_task([&] { user("b"); });
    trace("main wants ", semaphore.locked());
    await(semaphore.acquire());
    trace("main got");
    semaphore.release();
    await(b);
    await(a);
  });
  CHECK(trace.take() == "[2] release | [2] main wants True | [3] a got | [6] main got | [7] b got");
}

TEST_CASE("a waiter that is cancelled with a place in its hands hands it on") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(1);
    await(semaphore.acquire());
    const auto user = [&](std::string name) {
      await(semaphore.acquire());
      trace(name, " got");
    };
    auto a = asyncio::create_task([&] { user("a"); });
    auto b = asyncio::create_task([&] { user("b"); });
    turns(1);
    semaphore.release();
    a.cancel();
    await(asyncio::wait(std::vector{a, b}));
    trace(a.cancelled(), " ", semaphore.locked());
  });
  CHECK(trace.take() == "[4] b got | [6] True True");
}

TEST_CASE("several places and cancellations at once: a waiter is woken for each place") {
  Trace trace;
  run([&] {
    const asyncio::Semaphore semaphore(0);
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 5; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        try {
          await(semaphore.acquire());
          trace(i, " got");
        } catch (const CancelledError&) {
          trace(i, " cancelled");
          throw;
        }
      }));
    turns(1);
    semaphore.release();
    semaphore.release();
    tasks[0].cancel();
    tasks[3].cancel();
    semaphore.release();
    trace(state_of(semaphore));
    turns(3);
    trace(state_of(semaphore));
    semaphore.release();
    await(asyncio::wait(tasks));
    trace(state_of(semaphore));
  });
  CHECK(trace.take() ==
        "[2] [locked, waiters:5]> | [3] 0 cancelled | [3] 1 got | [3] 3 cancelled | [3] 2 got | "
        "[4] 4 got | [5] [locked]> | [7] [unlocked, value:1]>");
}

TEST_CASE("a semaphore may be used as a block and as a scope guard") {
  run([] {
    const asyncio::Semaphore semaphore(2);
    asyncio::with(semaphore, [&] {
      const std::lock_guard guard(semaphore);
      CHECK(semaphore.locked());
      CHECK(state_of(semaphore) == "[locked]>");
    });
    CHECK(state_of(semaphore) == "[unlocked, value:2]>");
    CHECK(semaphore.repr().starts_with("<asyncio.locks.Semaphore object at 0x"));
    semaphore.release();
    CHECK(state_of(semaphore) == "[unlocked, value:3]>");
  });
}

TEST_CASE("a semaphore cannot begin below zero, a bounded one not be released too often") {
  CHECK(thrown_by([] { asyncio::Semaphore(-1); }) ==
        "ValueError('Semaphore initial value must be >= 0')");
  const asyncio::BoundedSemaphore bounded(1);
  CHECK(thrown_by([&] { bounded.release(); }) ==
        "ValueError('BoundedSemaphore released too many times')");
  run([&] {
    asyncio::with(bounded, [&] { CHECK(bounded.locked()); });
    CHECK(thrown_by([&] { bounded.release(); }) ==
          "ValueError('BoundedSemaphore released too many times')");
  });
  constexpr std::ptrdiff_t kMost = std::numeric_limits<std::ptrdiff_t>::max();
  const asyncio::Semaphore full(kMost);
  const std::string too_many =
      "ValueError('Semaphore released too many times: its value would overflow')";
  CHECK(thrown_by([&] { full.release(); }) == too_many);
  run([&] {
    CHECK(await(full.acquire()));
    full.release();
    CHECK(thrown_by([&] { full.release(); }) == too_many);
  });
  CHECK(full.repr().ends_with("[unlocked, value:" + std::to_string(kMost) + "]>"));
  CHECK(bounded.repr().starts_with("<asyncio.locks.BoundedSemaphore object at 0x"));
}

TEST_CASE("a semaphore is bound to the loop of the first task that has to wait") {
  const asyncio::Semaphore semaphore(0);
  run([&] {
    auto task = asyncio::create_task(semaphore.acquire());
    turns(1);
    semaphore.release();
    await(task);
  });
  run([&] {
    CHECK(thrown_by([&] {
            await(semaphore.acquire());
          }).ends_with("[locked]> is bound to a different event loop')"));
  });
}
