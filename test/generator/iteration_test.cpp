#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "support/events.hpp"
#include "support/generators.hpp"

using fiber::Generator;
using fiber::StopIteration;
using support::count;
using support::Events;
using support::list;
using support::thrown_by;

namespace {

Generator<int> func2() {
  return [](auto& self) {
    self.yield(3);
    self.yield(4);
  };
}

Generator<int> func1() {
  return [](auto& self) {
    self.yield(1);
    self.yield_from(func2());
    self.yield(2);
  };
}

void plain_function(Generator<int>::Self& self) { self.yield(5); }

}  // namespace

TEST_CASE("a for loop sees what the body yields, and what it delegates to") {
  CHECK(list(func1()) == std::vector{1, 3, 4, 2});
}

TEST_CASE("the body does not run before the first item is asked for, and then up to each yield") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    say("started");
    self.yield(1);
    say("between");
    self.yield(2);
    say("ended");
  };
  CHECK(say.take() == "");
  CHECK(g.next() == 1);
  CHECK(say.take() == "started");
  CHECK(g.next() == 2);
  CHECK(say.take() == "between");
  CHECK(thrown_by([&] { g.next(); }) == "StopIteration()");
  CHECK(say.take() == "ended");
}

TEST_CASE("a generator that yields nothing is an empty range") {
  CHECK(list(Generator<int>([](auto&) {})).empty());
  CHECK(list(count(3, 3)).empty());
}

TEST_CASE("an exhausted generator stays exhausted") {
  const auto g = count(0, 1);
  CHECK(list(g) == std::vector{0});
  CHECK(list(g).empty());
  CHECK_THROWS_AS(g.next(), StopIteration);
  CHECK_THROWS_AS(g.next(), StopIteration);
  CHECK(g.next(7) == 7);
}

TEST_CASE("a loop that was left is continued by the next one") {
  const auto g = count(0, 6);
  std::vector<int> seen;
  for (const int i : g) {
    seen.push_back(i);
    if (i == 2) break;
  }
  seen.push_back(100);
  for (const int i : g) seen.push_back(i);
  CHECK(seen == std::vector{0, 1, 2, 100, 3, 4, 5});
}

TEST_CASE("next takes items out of a running loop") {
  const auto g = count(0, 6);
  std::vector<int> seen;
  for (const int i : g) {
    seen.push_back(i);
    seen.push_back(-g.next());
  }
  CHECK(seen == std::vector{0, -1, 2, -3, 4, -5});
}

TEST_CASE("next has a default for the end, as Python's") {
  const auto g = count(0, 1);
  CHECK(g.next(9) == 0);
  CHECK(g.next(9) == 9);
}

TEST_CASE("a loop whose generator is closed within ends") {
  const auto g = count(0, 6);
  std::vector<int> seen;
  for (const int i : g) {
    seen.push_back(i);
    if (i == 1) g.close();
  }
  CHECK(seen == std::vector{0, 1});
}

TEST_CASE("StopIteration carries the returned value, once") {
  const Generator<int, void, std::string> g = [](auto& self) -> std::string {
    self.yield(1);
    return "done";
  };
  CHECK(g.next() == 1);
  try {
    g.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    const StopIteration copy = stop;
    CHECK(stop.value().as<std::string>() == "done");
    CHECK(&copy.value() == &stop.value());
    CHECK_THROWS_AS(stop.value().as<int>(), fiber::TypeError);
  }
  try {
    g.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    CHECK(stop.value().empty());
  }
}

TEST_CASE("tuples and exceptions that are returned are values like any other") {
  const Generator<int, void, std::tuple<int, std::string>> pair = [](auto& self) {
    self.yield(1);
    return std::tuple(2, std::string("two"));
  };
  const Generator<int, void, StopIteration> stop = [](auto& self) {
    self.yield(1);
    return StopIteration(5);
  };
  Events say;
  const Generator<int> outer = [&](auto& self) {
    const auto [number, name] = self.yield_from(pair);
    say(number);
    say(name);
    say(self.yield_from(stop).value().template as<int>());
  };
  for ([[maybe_unused]] const int item : outer) {
  }
  CHECK(say.take() == "2 two 5");
  const Generator<int, void, StopIteration> direct = [](auto& self) {
    self.yield(1);
    return StopIteration(6);
  };
  direct.next();
  try {
    direct.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& end) {
    CHECK(end.value().as<StopIteration>().value().as<int>() == 6);
  }
}

TEST_CASE("a loop drops the returned value") {
  auto shared = std::make_shared<int>(1);
  const Generator<int, void, std::shared_ptr<int>> g = [shared](auto& self) {
    self.yield(1);
    return shared;
  };
  for ([[maybe_unused]] const int i : g) CHECK(shared.use_count() == 2);
  CHECK(shared.use_count() == 1);
  try {
    g.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    CHECK(stop.value().empty());
  }
}

TEST_CASE("a returned value need not be assignable") {
  struct Fixed {
    const int number;
  };
  const auto make = [] {
    return Generator<int, void, Fixed>([](auto& self) -> Fixed {
      self.yield(1);
      return {7};
    });
  };
  const auto g = make();
  g.next();
  try {
    g.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    CHECK(stop.value().as<Fixed>().number == 7);
  }
  Generator<int> outer = [&](auto& self) { self.yield(self.yield_from(make()).number); };
  CHECK(outer.next() == 1);
  CHECK(outer.next() == 7);
}

TEST_CASE("a move-only value and a reference may be returned") {
  int object = 5;
  const Generator<int, void, std::unique_ptr<int>> moved = [](auto&) {
    return std::make_unique<int>(4);
  };
  const Generator<int, void, int&> referred = [&](auto&) -> int& { return object; };
  try {
    moved.next();
  } catch (const StopIteration& stop) {
    CHECK(*stop.value().as<std::unique_ptr<int>>() == 4);
  }
  try {
    referred.next();
  } catch (const StopIteration& stop) {
    CHECK(&stop.value().as<std::reference_wrapper<int>>().get() == &object);
  }
}

TEST_CASE("an exception leaves the body for the consumer, and the generator is closed") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    const support::AtEnd cleanup([&] { say("cleanup"); });
    self.yield(1);
    throw fiber::ValueError("bad");
  };
  say(thrown_by([&] {
    for (const int i : g) say(i);
  }));
  CHECK(say.take() == "1 cleanup ValueError('bad')");
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("any type may be thrown, at once or later") {
  const Generator<int> at_once = [](auto&) { throw 5; };
  const Generator<int> later = [](auto& self) {
    self.yield(1);
    throw std::string("text");
  };
  CHECK_THROWS_AS(at_once.next(), int);
  CHECK(later.next() == 1);
  CHECK_THROWS_AS(later.next(), std::string);
}

TEST_CASE("a StopIteration that escapes from the body becomes a RuntimeError that nests it") {
  const auto empty = count(0, 0);
  const Generator<int> g = [&](auto& self) {
    self.yield(1);
    empty.next();
  };
  CHECK(g.next() == 1);
  try {
    g.next();
    FAIL("no exception");
  } catch (const fiber::RuntimeError& error) {
    CHECK(fiber::repr(std::current_exception()) ==
          "RuntimeError('generator raised StopIteration')");
    CHECK_THROWS_AS(std::rethrow_if_nested(error), StopIteration);
  }
  CHECK(g.state() == fiber::GEN_CLOSED);
}

TEST_CASE("a generator that asks itself for an item is already executing") {
  Generator<int> g;
  g = [&](auto& self) {
    self.yield(1);
    self.yield(g.next());
  };
  CHECK(g.next() == 1);
  CHECK(thrown_by([&] { g.next(); }) == "ValueError('generator already executing')");
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("every operation on an executing generator is refused") {
  Events say;
  Generator<int, int> g;
  g = [&](auto& self) {
    say(thrown_by([&] { g.next(); }));
    say(thrown_by([&] { g.send(1); }));
    say(thrown_by([&] { g.throw_(5); }));
    say(thrown_by([&] { g.close(); }));
    say(thrown_by([&] {
      for ([[maybe_unused]] const int i : g) say(i);
    }));
    self.yield(1);
  };
  CHECK(g.next() == 1);
  std::string expected;
  for (int i = 0; i < 5; ++i)
    expected += (i > 0 ? " " : "") + std::string("ValueError('generator already executing')");
  CHECK(say.take() == expected);
}

TEST_CASE("two generators of one function are independent, two handles of one generator are not") {
  const auto a = count(0, 9);
  const auto b = count(0, 9);
  const auto c = a;
  CHECK(a.next() == 0);
  CHECK(b.next() == 0);
  CHECK(c.next() == 1);
  CHECK(a.next() == 2);
  CHECK(a == c);
  CHECK(a != b);
}

TEST_CASE("a body may be any callable: a function, a typed or generic lambda, a function object") {
  struct Body {
    int item;
    void operator()(Generator<int>::Self& self) { self.yield(item++); }
  };
  CHECK(list(Generator<int>(plain_function)) == std::vector{5});
  CHECK(list(Generator<int>(&plain_function)) == std::vector{5});
  CHECK(list(Generator<int>(Body{6})) == std::vector{6});
  CHECK(list(Generator<int>([](Generator<int>::Self& self) { self.yield(7); })) == std::vector{7});
  const std::function<void(Generator<int>::Self&)> function = plain_function;
  CHECK(list(Generator<int>(function)) == std::vector{5});
}

TEST_CASE("a body may own what cannot be copied") {
  auto owned = std::make_unique<int>(3);
  const Generator<int> g = [owned = std::move(owned)](auto& self) mutable {
    self.yield(*owned);
    owned.reset();
    self.yield(owned == nullptr ? 1 : 0);
  };
  CHECK(list(g) == std::vector{3, 1});
}

TEST_CASE("a yield may be anywhere below the body: in functions, loops, handlers and destructors") {
  struct Yielding {
    Generator<int>::Self& self;
    ~Yielding() { self.yield(4); }
  };
  const Generator<int> g = [](auto& self) {
    const std::function<void(int)> nested = [&](int depth) {
      if (depth == 0)
        self.yield(1);
      else
        nested(depth - 1);
    };
    nested(50);
    try {
      self.yield(2);
      throw 1;
    } catch (int) {
      self.yield(3);
    }
    try {
      const Yielding yielding{self};
      throw 2;
    } catch (int) {
      self.yield(5);
    }
  };
  CHECK(list(g) == std::vector{1, 2, 3, 4, 5});
}

TEST_CASE("exceptions in flight on both sides do not meet") {
  const Generator<int> g = [](auto& self) {
    try {
      throw fiber::ValueError("inside");
    } catch (...) {
      self.yield(std::uncaught_exceptions());
      CHECK(thrown_by([] { throw; }) == "ValueError('inside')");
    }
    CHECK(std::current_exception() == nullptr);
    self.yield(2);
  };
  try {
    throw fiber::ValueError("outside");
  } catch (...) {
    CHECK(g.next() == 0);
    CHECK(g.next() == 2);
    CHECK(thrown_by([] { throw; }) == "ValueError('outside')");
  }
}

TEST_CASE("a null handle is refused") {
  const Generator<int> none;
  CHECK_FALSE(none);
  CHECK(none == nullptr);
  CHECK_THROWS_AS(none.next(), fiber::ValueError);
  CHECK_THROWS_AS(none.begin(), fiber::ValueError);
  CHECK_THROWS_AS(none.close(), fiber::ValueError);
  CHECK_THROWS_AS(none.state(), fiber::ValueError);
}

TEST_CASE("a bare yield hands a value-initialised item over") {
  const Generator<int> g = [](auto& self) { self.yield(); };
  CHECK(list(g) == std::vector{0});
}

TEST_CASE("an iterator that was moved from goes on where it was") {
  const Generator<int> generator = count(0, 3);
  auto at = generator.begin();
  const auto moved = std::move(at);
  CHECK(*at == 0);
  CHECK(*++at == 1);
  CHECK(*moved == 1);
  CHECK(*++at == 2);
  CHECK(++at == generator.end());
  CHECK(moved == generator.end());
}
