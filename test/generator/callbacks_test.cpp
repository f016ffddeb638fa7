// Yields from inside callbacks of C libraries.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include <search.h>

#include "support/events.hpp"

using fiber::Generator;
using Comparison = std::pair<int, int>;

namespace {

// Yields each comparison of qsort as an item; the value sent back is the result of the comparison.
Generator<Comparison, int> sorting(std::vector<int>& numbers) {
  return [&](auto& self) {
    thread_local std::remove_reference_t<decltype(self)>* comparing;
    comparing = &self;
    std::qsort(numbers.data(), numbers.size(), sizeof(int), [](const void* a, const void* b) {
      auto* mine = comparing;
      const int answer = mine->yield({*static_cast<const int*>(a), *static_cast<const int*>(b)});
      comparing = mine;
      return answer;
    });
  };
}

int answer(const Comparison& c) { return (c.first > c.second) - (c.first < c.second); }

}  // namespace

TEST_CASE("the consumer answers the comparisons of qsort") {
  std::vector<int> numbers{5, 3, 9, 1, 7, 2};
  const auto g = sorting(numbers);
  int comparisons = 0;
  CHECK_THROWS_AS(
      [&] {
        for (Comparison c = g.next();; ++comparisons) c = g.send(answer(c));
      }(),
      fiber::StopIteration);
  CHECK(numbers == std::vector{1, 2, 3, 5, 7, 9});
  CHECK(comparisons >= 5);
}

TEST_CASE("two sorts are interleaved") {
  std::vector<int> a{4, 1, 3, 2, 6, 5};
  std::vector<int> b{40, 10, 30, 20};
  std::vector<Generator<Comparison, int>> sorts{sorting(a), sorting(b)};
  std::vector<Comparison> asked;
  for (const auto& sort : sorts) asked.push_back(sort.next());
  const Comparison end{-1, -1};
  while (asked[0] != end || asked[1] != end) {
    for (int i = 0; i < 2; ++i) {
      if (asked[i] == end) continue;
      try {
        asked[i] = sorts[i].send(answer(asked[i]));
      } catch (const fiber::StopIteration&) {
        asked[i] = end;
      }
    }
  }
  CHECK(a == std::vector{1, 2, 3, 4, 5, 6});
  CHECK(b == std::vector{10, 20, 30, 40});
}

TEST_CASE("a tree walk of the C library becomes a loop") {
  static fiber::Generator<int>::Self* walking;
  const Generator<int> keys = [](auto& self) {
    void* root = nullptr;
    static const int numbers[] = {5, 2, 8, 1, 9, 3};
    const auto compare = [](const void* a, const void* b) {
      return *static_cast<const int*>(a) - *static_cast<const int*>(b);
    };
    for (const int& number : numbers) tsearch(&number, &root, compare);
    walking = &self;
    twalk(root, [](const void* node, VISIT visit, int) {
      if (visit == postorder || visit == leaf)
        walking->yield(**static_cast<const int* const*>(node));
    });
    for (const int& number : numbers) tdelete(&number, &root, compare);
  };
  std::vector<int> seen;
  for (const int key : keys) seen.push_back(key);
  CHECK(seen == std::vector{1, 2, 3, 5, 8, 9});
}

TEST_CASE("the consumer steers a bsearch") {
  static Generator<int, int>::Self* searching;
  const std::vector<int> numbers{1, 3, 5, 7, 9, 11, 13};
  const Generator<int, int> g = [&](auto& self) {
    searching = &self;
    const int key = 0;  // only the consumer knows the key
    const void* found = std::bsearch(&key, numbers.data(), numbers.size(), sizeof(int),
                                     [](const void*, const void* element) {
                                       return searching->yield(*static_cast<const int*>(element));
                                     });
    self.yield(found != nullptr ? -*static_cast<const int*>(found) : 0);
  };
  int probe = g.next();
  while (probe > 0) probe = g.send((9 > probe) - (9 < probe));
  CHECK(probe == -9);
}

TEST_CASE("the comparator of std::sort, and the function of an algorithm, may yield") {
  std::vector<int> numbers{4, 2, 5, 1, 3};
  const Generator<Comparison, bool> sorting = [&](auto& self) {
    std::sort(numbers.begin(), numbers.end(),
              [&](int a, int b) { return self.yield(Comparison(a, b)); });
  };
  CHECK_THROWS_AS(
      [&] {
        for (Comparison c = sorting.next();;) c = sorting.send(c.first > c.second);
      }(),
      fiber::StopIteration);
  CHECK(numbers == std::vector{5, 4, 3, 2, 1});

  const Generator<int> each = [&](auto& self) {
    std::for_each(numbers.begin(), numbers.end(), [&](int number) { self.yield(number); });
  };
  std::vector<int> seen;
  for (const int number : each) seen.push_back(number);
  CHECK(seen == numbers);
}

TEST_CASE("an exception thrown into a C++ algorithm unwinds it") {
  support::Events say;
  const Generator<int> g = [&](auto& self) {
    std::vector<int> numbers{1, 2, 3};
    try {
      std::for_each(numbers.begin(), numbers.end(), [&](int number) {
        const support::AtEnd end([&] { say("left"); });
        self.yield(number);
      });
    } catch (const fiber::ValueError& error) {
      say(error.what());
      self.yield(0);
    }
  };
  CHECK(g.next() == 1);
  CHECK(g.next() == 2);
  CHECK(g.throw_(fiber::ValueError("thrown")) == 0);
  CHECK(say.take() == "left left thrown");
}
