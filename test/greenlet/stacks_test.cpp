// <fiber/stacks.hpp>: what a thread's stacks are, and how few of them are kept.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/stacks.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/events.hpp"

namespace stacks = fiber::stacks;
using fiber::Generator;
using fiber::getcurrent;
using fiber::greenlet;

namespace {

// Each test has a thread, and so stacks, of its own.
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

TEST_CASE("at most so many idle stacks are kept, from now on and of those there are") {
  on_fresh_thread([] {
    CHECK(stacks::max_idle() == SIZE_MAX);
    suspended(10);
    CHECK(counts() == "0 in use, 10 idle");
    stacks::max_idle(4);
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

TEST_CASE("trim gives back what is idle, and what is in use goes on") {
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
