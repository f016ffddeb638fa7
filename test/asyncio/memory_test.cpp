// Calls that fail for want of memory, at each of their allocations.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "support/allocations.hpp"
#include "support/log.hpp"

using namespace std::chrono_literals;
namespace asyncio = fiber::asyncio;
using asyncio::await;

namespace {

// Callables that a call gets: each has a part of `alive`, and counts its runs.
struct Callables {
  std::shared_ptr<int> alive = std::make_shared<int>(0);
  auto one() const {
    return [its = alive] { ++*its; };
  }
  auto two() const { return std::vector{one(), one()}; }
};

using Call = std::function<void(const Callables&)>;

// Calls with less memory each time, until there is enough for all of the call. Returns how many
// calls have failed.
int fail_everywhere(const Call& call) {
  int failed = 0;
  for (long enough = 0;; ++enough) {
    Callables callables;
    bool fails = false;
    try {
      const support::Scarce scarce(enough);
      call(callables);
    } catch (const std::bad_alloc&) {
      fails = true;
    }
    if (fails) CHECK(callables.alive.use_count() == 1);
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    CHECK(callables.alive.use_count() == 1);
    if (!fails) return failed;
    CHECK(*callables.alive == 0);
    ++failed;
  }
}

}  // namespace

TEST_CASE("a call that has no memory takes back the tasks that it has made") {
  if (!support::allocations_are_counted()) return;
  const Call calls[] = {
      [](const Callables& those) {
        auto made = asyncio::gather(those.one(), those.one(), those.one());
      },
      [](const Callables& those) { auto made = asyncio::gather(those.two()); },
      [](const Callables& those) {
        auto made = asyncio::gather(asyncio::return_exceptions, those.two());
      },
      [](const Callables& those) { auto made = asyncio::as_completed(those.two()); },
      [](const Callables& those) {
        auto made = asyncio::as_completed(those.two(), {.timeout = 1h});
      },
      [](const Callables& those) { auto made = asyncio::shield(those.one()); },
      [](const Callables& those) {
        try {
          await(asyncio::wait_for(those.one(), 0s));
        } catch (const fiber::TimeoutError&) {
        }
      },
  };
  for (const Call& call : calls)
    asyncio::run([&] {
      CHECK(fail_everywhere(call) > 0);
      CHECK(asyncio::all_tasks().size() == 1);
    });
}

TEST_CASE("a gather that has no memory takes back what a task factory has made") {
  if (!support::allocations_are_counted()) return;
  asyncio::run([] {
    asyncio::get_running_loop().set_task_factory(
        [](const auto& loop, const auto& coroutine, const auto& options) {
          return asyncio::TaskRef(coroutine, loop, options);
        });
    CHECK(fail_everywhere([](const Callables& those) {
            auto made = asyncio::gather(those.one(), those.one());
          }) > 1);
    CHECK(fail_everywhere(
              [](const Callables& those) { auto made = asyncio::gather(those.two()); }) > 1);
  });
}

TEST_CASE("a gather that is refused takes back the tasks that it has made, and no others") {
  const asyncio::EventLoop other = asyncio::new_event_loop();
  {
    const auto foreign = other.create_future<>();
    asyncio::run([&] {
      const Callables callables;
      const auto given = asyncio::create_task([] { return 1; });
      CHECK_THROWS_AS(static_cast<void>(asyncio::gather(given, callables.one(), foreign)),
                      fiber::ValueError);
      CHECK(callables.alive.use_count() == 1);
      CHECK(await(given) == 1);
      CHECK(*callables.alive == 0);
    });
  }
  other.close();
}

TEST_CASE("run_until_complete that has no memory runs nothing, then or later") {
  if (!support::allocations_are_counted()) return;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.run_until_complete([] {});
  int failed = 0;
  for (long enough = 0; enough < 4; ++enough) {
    const Callables callables;
    bool fails = false;
    try {
      const support::Scarce scarce(enough);
      loop.run_until_complete(callables.one());
    } catch (const std::bad_alloc&) {
      fails = true;
      ++failed;
    }
    CHECK(callables.alive.use_count() == 1);
    loop.run_until_complete([] { await(asyncio::sleep(0)); });
    CHECK(*callables.alive == (fails ? 0 : 1));
  }
  CHECK(failed > 0);
  loop.close();
}

TEST_CASE("start_server that has no memory leaves no task, and warns of no coroutine") {
  if (!support::allocations_are_counted()) return;
  support::Log log;
  asyncio::run([] {
    for (long enough = 0;; ++enough) {
      try {
        std::optional<asyncio::Server> server;
        {
          const support::Scarce scarce(enough);
          server = await(asyncio::start_server([](auto, auto) {}, "127.0.0.1", 0));
        }
        server->close();
        break;
      } catch (const std::bad_alloc&) {
      }
      await(asyncio::sleep(0));
      await(asyncio::sleep(0));
      CHECK(asyncio::all_tasks().size() == 1);
    }
  });
  CHECK(log.take() == "");
}

TEST_CASE("create_task that has no memory warns of no coroutine that its callable became") {
  if (!support::allocations_are_counted()) return;
  support::Log log;
  static fiber::contextvars::ContextVar<int> number("number", 0);
  asyncio::run([] {
    number.set(1);
    const asyncio::TaskOptions named{.name = "a name that is too long for a small string"};
    const auto plain = fail_everywhere(
        [](const Callables& those) { auto made = asyncio::create_task(those.one()); });
    CHECK(plain > 0);
    CHECK(fail_everywhere([&](const Callables& those) {
            auto made = asyncio::create_task(those.one(), named);
          }) > plain);
    CHECK(fail_everywhere([&](const Callables& those) {
            auto made = asyncio::create_task(
                those.one(), {.context = fiber::contextvars::copy_context(), .eager_start = true});
          }) > 0);
  });
  CHECK(log.take() == "");
}
