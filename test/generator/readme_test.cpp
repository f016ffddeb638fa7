// The README's programs with generators.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"

using fiber::Generator;

namespace {

Generator<int> inner() {
  return [](auto& self) {
    self.yield(3);
    self.yield(4);
  };
}
Generator<int> outer() {
  return [](auto& self) {
    self.yield(1);
    self.yield_from(inner());
    self.yield(2);
  };
}

Generator<double, double> average() {
  return [](auto& self) {
    double total = 0;
    double value = self.yield(0);
    for (int count = 1;; ++count) {
      total += value;
      value = self.yield(total / count);
    }
  };
}

int cleanups = 0;
struct Cleanup {
  Cleanup() = default;
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  ~Cleanup() { ++cleanups; }
};

Generator<int, void, std::string> careful() {
  return [](auto& self) -> std::string {
    const Cleanup cleanup;
    try {
      self.yield(1);
    } catch (const fiber::ValueError&) {
      self.yield(2);
    }
    return "done";
  };
}

Generator<int> delegating(std::string& result) {
  return [&](auto& self) {
    result = self.yield_from(careful());
    self.yield_from({7, 8});
  };
}

Generator<std::pair<int, int>, int> sorting(std::vector<int>& numbers) {
  return [&](auto& self) {
    std::sort(numbers.begin(), numbers.end(), [&](int a, int b) { return self.yield({a, b}) < 0; });
  };
}

}  // namespace

TEST_CASE("a simple and a delegating generator") {
  support::Events say;
  for (const int item : outer()) say(item);
  CHECK(say.take() == "1 3 4 2");
}

TEST_CASE("send") {
  const auto g = average();
  g.next();
  CHECK(g.send(10) == 10);
  CHECK(g.send(30) == 20);
}

TEST_CASE("throw_, the end, and what is returned") {
  cleanups = 0;
  const auto h = careful();
  CHECK(h.next() == 1);
  CHECK(h.throw_(fiber::ValueError("odd")) == 2);
  try {
    h.next();
    FAIL("no StopIteration");
  } catch (const fiber::StopIteration& stop) {
    CHECK(stop.value().as<std::string>() == "done");
  }
  CHECK(cleanups == 1);
  CHECK(h.next(-1) == -1);
}

TEST_CASE("delegation to generators and ranges") {
  std::string result;
  std::vector<int> items;
  for (const int item : delegating(result)) items.push_back(item);
  CHECK(items == std::vector{1, 7, 8});
  CHECK(result == "done");
}

TEST_CASE("yields from a callback") {
  std::vector<int> numbers{3, 1, 2};
  const auto g = sorting(numbers);
  CHECK_THROWS_AS(
      [&] {
        for (auto asked = g.next();;) asked = g.send(asked.first - asked.second);
      }(),
      fiber::StopIteration);
  CHECK(numbers == std::vector{1, 2, 3});
}
