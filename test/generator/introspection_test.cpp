#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <unordered_set>
#include <vector>

#include "support/events.hpp"

using fiber::Generator;
using fiber::GeneratorBase;
using fiber::GeneratorState;
using support::Events;
using namespace fiber;

namespace {

std::string shown(const GeneratorBase& generator) {
  std::ostringstream out;
  out << generator;
  std::string text = out.str();
  const auto at = text.find(" at 0x");
  return text.erase(at, text.find_first_of(" >", at + 4) - at);
}

}  // namespace

TEST_CASE("a generator is created, running, suspended and closed, as inspect says") {
  std::vector<GeneratorState> seen;
  Generator<int> g;
  g = [&](auto& self) {
    seen.push_back(g.state());
    self.yield(1);
  };
  seen.push_back(g.state());
  g.next();
  seen.push_back(g.state());
  CHECK_THROWS_AS(g.next(), StopIteration);
  seen.push_back(g.state());
  CHECK(seen == std::vector{GEN_CREATED, GEN_RUNNING, GEN_SUSPENDED, GEN_CLOSED});
  std::ostringstream out;
  for (const GeneratorState state : seen) out << state << ' ';
  CHECK(out.str() == "GEN_CREATED GEN_RUNNING GEN_SUSPENDED GEN_CLOSED ");
}

TEST_CASE("a generator is running while an inner one runs, and while it consumes another one") {
  Events say;
  std::vector<GeneratorBase> all;
  const auto states = [&] {
    for (const GeneratorBase& g : all) say(std::string(shown(g)).substr(11, 3));
  };
  const Generator<int> inner = [&](auto& self) {
    states();
    self.yield(1);
  };
  const Generator<int> middle = [&](auto& self) { self.yield_from(inner); };
  const Generator<int> outer = [&](auto& self) {
    for (const int i : middle) self.yield(i);
  };
  all = {outer, middle, inner};
  outer.next();
  CHECK(say.take() == "run run run");
  states();
  CHECK(say.take() == "sus sus sus");
}

TEST_CASE("the target of yield_from is known while its delegator is suspended") {
  Events say;
  Generator<int> outer;
  const Generator<int> inner = [&](auto& self) {
    say(outer.yield_from_target() == nullptr ? "none" : "some");  // executing: as in CPython
    self.yield(1);
  };
  outer = [&](auto& self) {
    self.yield(0);
    self.yield_from(inner);
    self.yield_from({2});
    self.yield(3);
  };
  CHECK(outer.yield_from_target() == nullptr);
  outer.next();
  CHECK(outer.yield_from_target() == nullptr);
  outer.next();
  CHECK(outer.yield_from_target() == inner);
  CHECK(inner.yield_from_target() == nullptr);
  outer.next();
  CHECK(outer.yield_from_target() == nullptr);
  outer.next();
  CHECK(outer.yield_from_target() == nullptr);
  CHECK_THROWS_AS(outer.next(), StopIteration);
  CHECK(outer.yield_from_target() == nullptr);
  CHECK(say.take() == "none");
}

TEST_CASE("the target is known as well where items are converted") {
  const Generator<int> inner = [](auto& self) { self.yield(1); };
  const Generator<double> outer = [&](auto& self) {
    self.yield_from(inner);
    self.yield(2);
  };
  outer.next();
  CHECK(outer.yield_from_target() == inner);
  outer.next();
  CHECK(outer.yield_from_target() == nullptr);
}

TEST_CASE("a name is an option, can be set, and is shown with the state") {
  const Generator<int> g([](auto& self) { self.yield(self.name() == "numbers"); },
                         {.name = "numbers"});
  CHECK(g.name() == "numbers");
  CHECK(shown(g) == "<generator 'numbers' created>");
  CHECK(g.next() == 1);
  CHECK(shown(g) == "<generator 'numbers' suspended>");
  g.close();
  CHECK(shown(g) == "<generator 'numbers' closed>");

  GeneratorBase unnamed = Generator<int>([](auto&) {});
  CHECK(unnamed.name() == "");
  CHECK(shown(unnamed) == "<generator created>");
  unnamed.name("now named");
  CHECK(shown(unnamed) == "<generator 'now named' created>");
  CHECK(repr(Generator<int>()) == "<generator null>");
}

TEST_CASE("handles have identity, and a hash of it") {
  const Generator<int> a = [](auto&) {};
  const Generator<double> b = [](auto&) {};
  const GeneratorBase also_a = a;
  CHECK(a == also_a);
  CHECK_FALSE(also_a == GeneratorBase(b));
  CHECK(std::unordered_set<GeneratorBase>{a, b, also_a}.size() == 2);
}
