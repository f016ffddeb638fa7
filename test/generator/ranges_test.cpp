#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <numeric>
#include <ranges>
#include <string>
#include <vector>

#include "support/generators.hpp"

using fiber::Generator;
using support::count;
namespace ranges = std::ranges;
namespace views = std::views;

namespace {

static_assert(ranges::input_range<Generator<int>>);
static_assert(ranges::input_range<const Generator<int>>);
static_assert(ranges::input_range<Generator<int&>>);
static_assert(ranges::input_range<Generator<const std::string&>>);
static_assert(ranges::input_range<Generator<std::unique_ptr<int>>>);
static_assert(!ranges::forward_range<Generator<int>>);
static_assert(ranges::view<Generator<int>>);
static_assert(ranges::borrowed_range<Generator<int>>);
static_assert(std::same_as<ranges::range_value_t<Generator<const std::string&>>, std::string>);
static_assert(std::same_as<ranges::range_reference_t<Generator<int>>, int&&>);
static_assert(std::same_as<ranges::range_reference_t<Generator<int&>>, int&>);
static_assert(std::sentinel_for<std::default_sentinel_t, Generator<int>::iterator>);

template <class Range>
std::vector<int> list(Range&& range) {
  std::vector<int> items;
  for (int item : range) items.push_back(item);
  return items;
}

}  // namespace

TEST_CASE("algorithms take generators") {
  std::vector<int> copied;
  ranges::copy(count(0, 4), std::back_inserter(copied));
  CHECK(copied == std::vector{0, 1, 2, 3});
  CHECK(ranges::count_if(count(0, 10), [](int i) { return i % 3 == 0; }) == 4);
  CHECK(ranges::any_of(count(0, 10), [](int i) { return i == 9; }));
  CHECK(ranges::equal(count(0, 3), std::vector{0, 1, 2}));
  CHECK(ranges::distance(count(0, 7)) == 7);
  int sum = 0;
  ranges::for_each(count(0, 4), [&](int i) { sum += i; });
  CHECK(sum == 6);
}

TEST_CASE("find stops at what it finds, and the iterator stays usable") {
  auto it = ranges::find(count(0, 10), 4);
  REQUIRE(it != std::default_sentinel);
  CHECK(*it == 4);
  ++it;
  CHECK(*it == 5);
  CHECK(ranges::find(count(0, 3), 8) == std::default_sentinel);
}

TEST_CASE("views compose over generators, temporary or not") {
  CHECK(list(count(0, 10) | views::filter([](int i) { return i % 2 == 1; }) |
             views::transform([](int i) { return i * i; })) == std::vector{1, 9, 25, 49, 81});
  CHECK(list(count(0, 10) | views::drop(7)) == std::vector{7, 8, 9});
  CHECK(list(count(0, 1'000'000'000) | views::take_while([](int i) { return i < 3; })) ==
        std::vector{0, 1, 2});
  const auto g = count(0, 10);
  CHECK(list(g | views::take(3)) == std::vector{0, 1, 2});
  CHECK(g.state() == fiber::GEN_SUSPENDED);  // a view shares its generator
}

TEST_CASE("a generator may yield from a view of another one") {
  const Generator<int> g = [](auto& self) {
    self.yield_from(count(0, 5) | views::transform([](int i) { return -i; }));
  };
  CHECK(list(g) == std::vector{0, -1, -2, -3, -4});
}

TEST_CASE("classic algorithms take a common view") {
  auto common = count(1, 6) | views::common;
  CHECK(std::accumulate(common.begin(), common.end(), 0) == 15);
}

TEST_CASE("move-only items pass through views") {
  const auto owned = [] {
    return Generator<std::unique_ptr<int>>([](auto& self) {
      for (int i = 1; i < 4; ++i) self.yield(std::make_unique<int>(i));
    });
  };
  CHECK(list(owned() | views::transform([](std::unique_ptr<int> item) { return *item; })) ==
        std::vector{1, 2, 3});
  std::vector<std::unique_ptr<int>> kept;
  for (auto&& item : owned()) kept.push_back(std::move(item));
  CHECK(kept.size() == 3);
}

TEST_CASE("several generators run side by side") {
  const auto a = count(0, 3);
  const auto b = count(10, 20);
  std::vector<int> zipped;
  for (const int i : a) {
    zipped.push_back(i);
    zipped.push_back(b.next());
  }
  CHECK(zipped == std::vector{0, 10, 1, 11, 2, 12});
}

TEST_CASE("an algorithm that throws leaves the generator suspended") {
  const auto g = count(0, 10);
  CHECK_THROWS_AS(ranges::for_each(g,
                                   [](int i) {
                                     if (i == 3) throw i;
                                   }),
                  int);
  CHECK(g.next() == 4);
}
