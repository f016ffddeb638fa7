// Futures, tasks and handles that own one another in chains that are longer than a stack is deep.
#include <fiber/asyncio.hpp>
#include <fiber/concurrent/futures.hpp>
#include <fiber/contextvars.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::Future;
using asyncio::get_running_loop;

namespace {

constexpr int kLength = 100'000;

// Tells whether it was destroyed.
struct Witness {
  std::shared_ptr<int> alive = std::make_shared<int>();
  std::weak_ptr<int> watch() const { return alive; }
};

struct Link {
  Future<std::shared_ptr<Link>> next;
  Witness witness;
};

}  // namespace

TEST_CASE("callbacks that own the next future end with the last handle") {
  run([] {
    const auto loop = get_running_loop();
    const Witness witness;
    const std::weak_ptr<int> watch = witness.watch();
    {
      auto last = loop.create_future<int>();
      last.add_done_callback([witness](const Future<int>&) {});
      for (int i = 0; i < kLength; ++i) {
        auto future = loop.create_future<int>();
        future.add_done_callback([last](const Future<int>&) {});
        last = future;
      }
      CHECK(watch.use_count() == 2);
    }
    CHECK(watch.use_count() == 1);
  });
}

TEST_CASE("results that hold the next future end with the last handle") {
  run([] {
    const auto loop = get_running_loop();
    std::weak_ptr<int> watch;
    {
      auto last = loop.create_future<std::shared_ptr<Link>>();
      last.set_result(nullptr);
      for (int i = 0; i < kLength; ++i) {
        auto link = std::make_shared<Link>(Link{last, {}});
        if (i == 0) watch = link->witness.watch();
        last = loop.create_future<std::shared_ptr<Link>>();
        last.set_result(std::move(link));
      }
      CHECK(!watch.expired());
    }
    CHECK(watch.expired());
  });
}

TEST_CASE("timers that own the next handle end with the loop, or when they are cancelled") {
  std::weak_ptr<int> left;
  run([&] {
    const auto loop = get_running_loop();
    const auto chain = [&] {
      const Witness witness;
      asyncio::Handle last = loop.call_later(1h, [witness] {});
      for (int i = 0; i < kLength; ++i) last = loop.call_later(1h, [last] {});
      return std::pair(last, witness.watch());
    };
    left = chain().second;
    CHECK(!left.expired());

    std::weak_ptr<int> watch;
    {
      // Each timer lets go of the next one; the loop still has that.
      auto [last, watched] = chain();
      last.cancel();
      watch = watched;
    }
    CHECK(!watch.expired());
  });
  CHECK(left.expired());
}

TEST_CASE("coroutines that own the next one and are never awaited end with the last handle") {
  run([] {
    const Witness witness;
    const std::weak_ptr<int> watch = witness.watch();
    {
      auto last = asyncio::create_task([witness] {});
      for (int i = 0; i < kLength; ++i) last = asyncio::create_task([last] { await(last); });
      CHECK(last.cancel());
      await(asyncio::wait({last}));
    }
    turns(3);
    CHECK(watch.use_count() == 1);
  });
}

TEST_CASE("concurrent futures whose callbacks own the next one end with the last handle") {
  const Witness witness;
  {
    fiber::concurrent::futures::Future<int> last;
    last.add_done_callback([witness](const auto&) {});
    for (int i = 0; i < kLength; ++i) {
      fiber::concurrent::futures::Future<int> future;
      future.add_done_callback([last](const auto&) {});
      last = future;
    }
    CHECK(witness.alive.use_count() == 2);
  }
  CHECK(witness.alive.use_count() == 1);
}

TEST_CASE("contexts whose values own the next one end with the last handle") {
  struct Past {
    fiber::contextvars::Context context;
    Witness witness;
  };
  const fiber::contextvars::ContextVar<std::shared_ptr<Past>> past("past");
  std::weak_ptr<int> watch;
  {
    fiber::contextvars::Context context;
    for (int i = 0; i < kLength; ++i)
      context = context.run([&] {
        auto before = std::make_shared<Past>(Past{fiber::contextvars::copy_context(), {}});
        if (i == 0) watch = before->witness.watch();
        past.set(before);
        return fiber::contextvars::copy_context();
      });
    CHECK(!watch.expired());
  }
  CHECK(watch.expired());
}

TEST_CASE("a destructor that waits in the middle of a chain does not stop the ends of others") {
  run([] {
    const auto loop = get_running_loop();
    const auto gate = loop.create_future<int>();
    struct Waits {
      Future<int> gate;
      bool armed = true;
      explicit Waits(Future<int> at) : gate(std::move(at)) {}
      Waits(Waits&& other) noexcept : gate(other.gate), armed(std::exchange(other.armed, false)) {}
      ~Waits() {
        if (armed) await(gate);
      }
    };
    constexpr int kWaiting = 40;  // more than may nest on one stack
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < kWaiting; ++i)
      tasks.push_back(asyncio::create_task([=] {
        auto future = loop.create_future<int>();
        future.add_done_callback([waits = std::make_shared<Waits>(gate)](const Future<int>&) {});
      }));
    turns(2);
    const Witness witness;
    {
      auto future = loop.create_future<int>();
      future.add_done_callback([witness](const Future<int>&) {});
    }
    CHECK(witness.alive.use_count() == 1);
    gate.set_result(1);
    await(asyncio::wait(tasks));
  });
}
