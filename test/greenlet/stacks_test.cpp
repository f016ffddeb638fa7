// <fiber/stacks.hpp>: the sizes of a thread's stacks, and the limit on idle ones.
#include <fiber/asyncio.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/stacks.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/events.hpp"

namespace stacks = fiber::stacks;
using fiber::Generator;
using fiber::getcurrent;
using fiber::greenlet;
using support::thrown_by;

namespace {

// Runs the body on a new thread, which has stacks of its own.
template <class F>
void on_fresh_thread(F body) {
  std::thread(body).join();
}

std::vector<greenlet> suspended(int count) {
  std::vector<greenlet> all;
  for (int i = 0; i < count; ++i) {
    all.emplace_back([] { getcurrent().parent().switch_(); });
    all.back().switch_();
  }
  return all;
}

// Uses more room than the usual stack has.
int deep() {
  volatile char frame[512 * 1024];
  frame[0] = 7;
  return frame[0];
}

// Returns the address space that `action` makes the thread reserve.
template <class F>
std::size_t reserved_for(F action) {
  const std::size_t before = stacks::census().reserved_bytes;
  action();
  return stacks::census().reserved_bytes - before;
}

std::string counts() {
  const stacks::Census now = stacks::census();
  return std::to_string(now.in_use) + " in use, " + std::to_string(now.idle) + " idle";
}

}  // namespace

TEST_CASE("the census counts the stacks of started fibers, and of ended ones") {
  on_fresh_thread([] {
    CHECK(counts() == "0 in use, 0 idle");
    CHECK(stacks::census().reserved_bytes == 0);
    const greenlet pending([] {});
    CHECK(counts() == "0 in use, 0 idle");
    auto all = suspended(3);
    Generator<int> g = [](auto& self) { self.yield(1); };
    g.next();
    CHECK(counts() == "4 in use, 0 idle");
    CHECK(stacks::census().reserved_bytes >= 4 * 256 * 1024);
    all.pop_back();
    g.close();
    CHECK(counts() == "2 in use, 2 idle");
    all.clear();
    CHECK(counts() == "0 in use, 4 idle");
    all = suspended(4);
    CHECK(counts() == "4 in use, 0 idle");
  });
}

TEST_CASE("the default size holds for fibers made from then on without a size of their own") {
  on_fresh_thread([] {
    CHECK(stacks::default_size() == 256 * 1024);
    const greenlet before([] { getcurrent().parent().switch_(); });
    CHECK(stacks::default_size(1 << 20) == 256 * 1024);
    const greenlet g([] { return deep(); });
    CHECK(g.switch_().as<int>() == 7);
    CHECK(reserved_for([&] { before.switch_(); }) == 4 * (256 + 68) * 1024);  // and guards
    CHECK(reserved_for([] { greenlet([] {}, {.stack_size = 16 * 1024}).switch_(); }) ==
          4 * (16 + 68) * 1024);
    Generator<int> items = [](auto& self) { self.yield(deep()); };
    CHECK(items.next() == 7);
    CHECK(fiber::asyncio::run([] { return deep(); }) == 7);
    CHECK(stacks::default_size(0) == 1 << 20);
    CHECK(stacks::default_size() == 256 * 1024);
    on_fresh_thread([] { CHECK(stacks::default_size() == 256 * 1024); });
  });
}

TEST_CASE("a task may ask for a larger stack, whatever others have left") {
  on_fresh_thread([] {
    fiber::asyncio::run([] {
      for (int round = 0; round < 3; ++round) {
        const auto shallow = fiber::asyncio::create_task([] { return 1; });
        const auto task =
            fiber::asyncio::create_task([] { return deep(); }, {.stack_size = 1 << 20});
        CHECK(fiber::asyncio::await(shallow) == 1);
        CHECK(fiber::asyncio::await(task) == 7);
      }
      CHECK(thrown_by([] {
              fiber::asyncio::await(fiber::asyncio::create_task([] {}, {.stack_size = SIZE_MAX}));
            }) == "MemoryError('a fiber stack of more than 1 TiB was asked for')");
    });
  });
}

TEST_CASE("a task with a larger stack starts in its usual turn") {
  on_fresh_thread([] {
    support::Events events;
    fiber::asyncio::run([&] {
      std::vector<fiber::asyncio::Task<>> tasks;
      for (int i = 0; i < 6; ++i)
        tasks.push_back(fiber::asyncio::create_task([&events, i] { events(i); },
                                                    {.stack_size = i % 2 == 0 ? 0U : 1U << 20}));
      tasks[3].cancel();
      fiber::asyncio::await(fiber::asyncio::gather(fiber::asyncio::return_exceptions, tasks));
    });
    CHECK(events.take() == "0 1 2 4 5");
  });
}

TEST_CASE("a default size that is too small or too large is refused") {
  CHECK(thrown_by([] { stacks::default_size(1); }) ==
        "ValueError('a default stack size of 1 bytes: it must be 16 KiB at least and 1 TiB at "
        "most')");
  CHECK(thrown_by([] { stacks::default_size(SIZE_MAX); }).find("ValueError('") == 0);
  CHECK(stacks::default_size() == 256 * 1024);
}

TEST_CASE("each thread counts its own") {
  on_fresh_thread([] {
    const auto all = suspended(3);
    on_fresh_thread([] {
      const auto others = suspended(2);
      CHECK(counts() == "2 in use, 0 idle");
    });
    CHECK(counts() == "3 in use, 0 idle");
  });
}

TEST_CASE("the limit on idle stacks holds for later ones, and for those that are idle now") {
  on_fresh_thread([] {
    CHECK(stacks::max_idle() == SIZE_MAX);
    suspended(10);
    CHECK(counts() == "0 in use, 10 idle");
    CHECK(stacks::max_idle(4) == SIZE_MAX);
    CHECK(stacks::max_idle() == 4);
    CHECK(counts() == "0 in use, 4 idle");
    for (int round = 0; round < 3; ++round) {
      auto all = suspended(10);
      CHECK(counts() == "10 in use, 0 idle");
      all.clear();
      CHECK(counts() == "0 in use, 4 idle");
    }
    stacks::max_idle(0);
    fiber::asyncio::run([] {
      std::vector<fiber::asyncio::Task<int>> tasks;
      for (int i = 0; i < 10; ++i)
        tasks.push_back(fiber::asyncio::create_task([i] {
          fiber::asyncio::await(fiber::asyncio::sleep(std::chrono::seconds(0)));
          return i;
        }));
      int sum = 0;
      for (const int each : fiber::asyncio::await(fiber::asyncio::gather(tasks))) sum += each;
      CHECK(sum == 45);
    });
    CHECK(counts() == "0 in use, 0 idle");
  });
}

TEST_CASE("trim gives idle stacks back, and stacks in use stay") {
  on_fresh_thread([] {
    auto all = suspended(1000);
    const std::size_t at_the_peak = stacks::census().reserved_bytes;
    all.resize(1, nullptr);
    CHECK(counts() == "1 in use, 999 idle");
    stacks::trim();
    CHECK(counts() == "1 in use, 0 idle");
    CHECK(stacks::census().reserved_bytes < at_the_peak / 100);
    all[0].switch_();
    CHECK(all[0].dead());
    stacks::trim();
    CHECK(counts() == "0 in use, 0 idle");
    CHECK(stacks::census().reserved_bytes == 0);
  });
}

TEST_CASE("a fiber may trim the stacks of its thread") {
  on_fresh_thread([] {
    greenlet([] {
      suspended(5);
      stacks::trim();
      CHECK(counts() == "1 in use, 0 idle");
      stacks::max_idle(0);
    }).switch_();
    CHECK(counts() == "0 in use, 0 idle");
  });
}

TEST_CASE("guards have a default size of their own, which greenlets and generators may change") {
  on_fresh_thread([] {
    CHECK(stacks::default_guard_size() == 68 * 1024);
    CHECK(stacks::default_guard_size(100'000) == 68 * 1024);
    CHECK(stacks::default_guard_size() == 100 * 1024);
    CHECK(stacks::default_size() == 256 * 1024);
    const auto guard = [](const greenlet& g) { return g.object()->stack->guard_size(); };
    greenlet usual([] { getcurrent().parent().switch_(); });
    greenlet own([] { getcurrent().parent().switch_(); }, {.guard_size = 1 << 20});
    Generator<int> counts([](auto& self) { self.yield(1); }, {.guard_size = 300'000});
    usual.switch_();
    own.switch_();
    counts.next();
    CHECK(guard(usual) >= 100 * 1024);
    CHECK(guard(usual) < 200 * 1024);
    CHECK(guard(own) == 1 << 20);
    CHECK(own.object()->stack->size == 256 * 1024);
    CHECK(counts.object()->stack->guard_size() >= 300'000);
    counts.close();
    for (const greenlet& each : {usual, own}) each.switch_();
    CHECK(stacks::default_guard_size(0) == 100 * 1024);
    CHECK(stacks::default_guard_size() == 68 * 1024);
    CHECK(thrown_by([] { stacks::default_guard_size(SIZE_MAX); }) ==
          "ValueError('a default guard size of 18446744073709551615 bytes: it must be 128 GiB at "
          "most')");
  });
}

TEST_CASE("a task has the guard that it asks for, also after one with another has ended") {
  on_fresh_thread([] {
    std::vector<std::size_t> sizes;
    const auto note = [&] {
      sizes.push_back(fiber::core::thread_state().stack->guard_size() / 1024);
      sizes.push_back(fiber::core::thread_state().stack->size / 1024);
    };
    fiber::asyncio::run([&] {
      using fiber::asyncio::await;
      await(fiber::asyncio::create_task(note));
      await(fiber::asyncio::create_task(note, {.guard_size = 1 << 20}));
      await(fiber::asyncio::create_task(note, {.stack_size = 1 << 20, .guard_size = 1 << 18}));
    });
    CHECK(sizes == std::vector<std::size_t>{68, 256, 1024, 256, 256, 1024});
  });
}
