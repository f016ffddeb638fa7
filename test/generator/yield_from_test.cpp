// PEP 380, by behaviour: the cases of CPython's own tests of `yield from`.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "support/events.hpp"
#include "support/generators.hpp"

using fiber::Generator;
using fiber::GeneratorExit;
using fiber::RuntimeError;
using fiber::StopIteration;
using fiber::ValueError;
using support::AtEnd;
using support::Events;
using support::list;
using support::thrown_by;

TEST_CASE("the first next starts the inner generator, and the last one ends both") {
  Events say;
  const auto inner = [&] {
    return Generator<int>([&](auto& self) {
      say("start2");
      self.yield(42);
      say("end2");
    });
  };
  const Generator<int> outer = [&](auto& self) {
    say("start1");
    self.yield_from(inner());
    say("end1");
  };
  for (const int i : outer) say(i);
  CHECK(say.take() == "start1 start2 42 end2 end1");
}

TEST_CASE("an exception of the inner generator passes through the outer one") {
  Events say;
  const auto run = [&](bool at_once) {
    const Generator<int> outer = [&](auto& self) {
      const AtEnd end([&] { say("end1"); });
      self.yield_from(Generator<int>([&](auto& inner) {
        const AtEnd inner_end([&] { say("end2"); });
        if (!at_once) inner.yield(1);
        throw ValueError("spanish inquisition");
      }));
    };
    say(thrown_by([&] {
      for (const int i : outer) say(i);
    }));
    return say.take();
  };
  CHECK(run(true) == "end2 end1 ValueError('spanish inquisition')");
  CHECK(run(false) == "1 end2 end1 ValueError('spanish inquisition')");
}

TEST_CASE("the outer generator may handle an exception of the inner one, and go on") {
  const Generator<int> g = [](auto& self) {
    try {
      self.yield_from(Generator<int>([](auto& inner) {
        inner.yield(1);
        throw 2;
      }));
    } catch (int thrown) {
      self.yield(thrown);
    }
    self.yield(3);
  };
  CHECK(list(g) == std::vector{1, 2, 3});
}

TEST_CASE("send reaches the inner generator while it runs, and the outer one before and after") {
  Events say;
  const Generator<std::string, int> g = [&](auto& self) {
    say("1:" + std::to_string(self.yield("ham")));
    self.yield_from(Generator<std::string, int>([&](auto& inner) {
      say("2:" + std::to_string(inner.yield("spam")));
      say("2:" + std::to_string(inner.yield("more")));
    }));
    say("1:" + std::to_string(self.yield("eggs")));
  };
  say(g.next());
  say(thrown_by([&] {
    for (int i = 1;; ++i) say(g.send(i));
  }));
  CHECK(say.take() == "ham 1:1 spam 2:2 more 2:3 eggs 1:4 StopIteration()");
}

TEST_CASE("throw_ reaches the inner generator, which may go on, end, or let it pass") {
  const auto make = [](auto&& handler) {
    return Generator<int, void, int>([handler](auto& self) {
      const int got = self.yield_from(Generator<int, void, int>([handler](auto& inner) {
        try {
          inner.yield(1);
        } catch (const ValueError&) {
          return handler(inner);
        }
        return 0;
      }));
      self.yield(100 + got);
      return got;
    });
  };
  const auto goes_on = make([](auto& inner) {
    inner.yield(2);
    return 3;
  });
  goes_on.next();
  CHECK(goes_on.throw_(ValueError("a")) == 2);
  CHECK(goes_on.next() == 103);

  const auto ends = make([](auto&) { return 4; });
  ends.next();
  CHECK(ends.throw_(ValueError("a")) == 104);

  const auto passes = make([](auto&) -> int { throw; });
  passes.next();
  CHECK(thrown_by([&] { passes.throw_(ValueError("a")); }) == "ValueError('a')");
}

TEST_CASE("yield_from returns what the inner generator returns") {
  Events say;
  const auto inner = [](std::optional<int> result) {
    return Generator<int, void, std::optional<int>>([=](auto& self) {
      self.yield(1);
      return result;
    });
  };
  const Generator<int> g = [&](auto& self) {
    say(self.yield_from(inner(std::nullopt)) ? "value" : "none");
    say(*self.yield_from(inner(42)));
    std::unique_ptr<int> moved = self.yield_from(
        Generator<int, void, std::unique_ptr<int>>([](auto&) { return std::make_unique<int>(3); }));
    say(*moved);
  };
  CHECK(list(g) == std::vector{1, 1});
  CHECK(say.take() == "none 42 3");
}

TEST_CASE("an exhausted generator yields nothing and returns None") {
  const Generator<int, void, std::string> done = [](auto&) -> std::string { return "text"; };
  CHECK_THROWS_AS(done.next(), StopIteration);
  struct Unmakeable {
    explicit Unmakeable(int) {}
  };
  const Generator<int, void, Unmakeable> other = [](auto&) { return Unmakeable(1); };
  CHECK_THROWS_AS(other.next(), StopIteration);
  const Generator<int> g = [&](auto& self) {
    CHECK(self.yield_from(done) == "");
    self.yield(1);
    self.yield_from(other);
  };
  CHECK(g.next() == 1);
  CHECK_THROWS_AS(g.next(), RuntimeError);
}

TEST_CASE("yield_from takes any range, and initialiser lists") {
  const Generator<int> g = [](auto& self) {
    const std::vector<int> vector{1, 2};
    const std::list<long> converted{3, 4};
    const int array[] = {5, 6};
    self.yield_from(vector);
    self.yield_from(converted);
    self.yield_from(array);
    self.yield_from(std::array{7, 8});
    self.yield_from({9, 10});
    self.yield_from(std::views::iota(11, 13));
    self.yield_from(std::vector<int>());
    self.yield_from(std::map<int, int>{{13, 0}, {14, 0}} | std::views::keys);
  };
  std::vector<int> expected;
  for (int i = 1; i < 15; ++i) expected.push_back(i);
  CHECK(list(g) == expected);

  const Generator<char> text = [](auto& self) {
    self.yield_from("ab");
    self.yield_from(std::string("cd"));
    self.yield_from(std::string_view("ef"));
  };
  CHECK(list(text) == std::vector{'a', 'b', 'c', 'd', 'e', 'f'});
  const Generator<std::string> words = [](auto& self) { self.yield_from({"a", "b"}); };
  CHECK(list(words) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("a range takes no sent value, but None") {
  Events say;
  const Generator<int, std::optional<int>> g = [&](auto& self) {
    const AtEnd end([&] { say("end"); });
    self.yield_from({0, 1, 2});
  };
  CHECK(g.next() == 0);
  CHECK(g.send(std::nullopt) == 1);
  CHECK_THROWS_AS(g.send(42), fiber::AttributeError);
  CHECK(say.take() == "end");
}

TEST_CASE("an exception thrown in while a range is delegated to is raised in the delegator") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    const AtEnd end([&] { say("end"); });
    self.yield_from(std::views::iota(0));
  };
  for (int i = 0; i < 5; ++i) CHECK(g.next() == i);
  CHECK(thrown_by([&] { g.throw_(ValueError("tomato")); }) == "ValueError('tomato')");
  CHECK(say.take() == "end");

  const Generator<int> closed = [&](auto& self) {
    const AtEnd end([&] { say("end"); });
    self.yield_from(std::views::iota(0));
  };
  closed.next();
  closed.close();
  CHECK(say.take() == "end");
}

TEST_CASE("delegation continues a generator that has already been iterated") {
  const Generator<int> inner = [](auto& self) { self.yield_from({1, 2, 3, 4}); };
  CHECK(inner.next() == 1);
  const Generator<int> outer = [&](auto& self) {
    self.yield(10);
    self.yield_from(inner);
    self.yield(20);
  };
  CHECK(list(outer) == std::vector{10, 2, 3, 4, 20});
}

TEST_CASE("an inner generator may be iterated directly between the items of the outer one") {
  const Generator<int> inner = [](auto& self) {
    self.yield_from(Generator<int>([](auto& leaf) { leaf.yield_from({1, 2, 3, 4, 5}); }));
  };
  const Generator<int> outer = [&](auto& self) {
    self.yield_from(inner);
    self.yield(10);
  };
  CHECK(outer.next() == 1);
  CHECK(inner.next() == 2);
  CHECK(inner.next() == 3);
  CHECK(outer.next() == 4);
  CHECK(inner.next() == 5);
  CHECK_THROWS_AS(inner.next(), StopIteration);
  CHECK(outer.next() == 10);
  CHECK_THROWS_AS(outer.next(), StopIteration);
}

TEST_CASE("two generators may delegate to the same one") {
  const Generator<int> shared = [](auto& self) { self.yield_from({1, 2, 3, 4}); };
  const auto delegate = [&](int last) {
    return Generator<int>([&shared, last](auto& self) {
      self.yield_from(shared);
      self.yield(last);
    });
  };
  const auto a = delegate(10);
  const auto b = delegate(20);
  CHECK(a.next() == 1);
  CHECK(b.next() == 2);
  CHECK(a.next() == 3);
  CHECK(b.next() == 4);
  CHECK(a.next() == 10);  // ended for a, returned to a
  CHECK(b.next() == 20);  // found ended
}

TEST_CASE("generators of other item types are converted, with all four operations") {
  Events say;
  const auto inner = [&] {
    return Generator<int, long, std::string>([&](auto& self) -> std::string {
      const AtEnd end([&] { say("end"); });
      for (int i = 1; i < 4; ++i) {
        try {
          say(self.yield(i));
        } catch (const ValueError& error) {
          say(error.what());
        }
      }
      return "returned";
    });
  };
  const Generator<double, int> outer = [&](auto& self) { say(self.yield_from(inner())); };
  CHECK(outer.next() == 1.0);
  CHECK(outer.send(5) == 2.0);
  CHECK(outer.throw_(ValueError("thrown")) == 3.0);
  CHECK_THROWS_AS(outer.next(), StopIteration);
  CHECK(say.take() == "5 thrown 0 end returned");

  const Generator<double, int> closed = [&](auto& self) { self.yield_from(inner()); };
  closed.next();
  closed.close();
  CHECK(say.take() == "end");
}

TEST_CASE(
    "depth 10 000: each item, exception and end reaches its place, and close unwinds it all") {
  constexpr int kDepth = 10'000;
  int alive = 0;
  const std::function<Generator<int, void, int>(int)> nested = [&](int depth) {
    return Generator<int, void, int>([&, depth](auto& self) {
      ++alive;
      const AtEnd end([&] { --alive; });
      if (depth > 0) return self.yield_from(nested(depth - 1)) + 1;
      self.yield(1);
      try {
        self.yield(2);
      } catch (const ValueError&) {
        self.yield(3);
      }
      return 0;
    });
  };
  const auto ended = nested(kDepth);
  CHECK(ended.next() == 1);
  CHECK(ended.next() == 2);
  CHECK(alive == kDepth + 1);
  CHECK(ended.throw_(ValueError("a")) == 3);
  try {
    ended.next();
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    CHECK(stop.value().as<int>() == kDepth);
  }
  CHECK(alive == 0);

  {
    const auto dropped = nested(kDepth);
    CHECK(dropped.next() == 1);
    CHECK(alive == kDepth + 1);
  }
  CHECK(alive == 0);

  const auto thrown = nested(kDepth);
  CHECK(thrown.next() == 1);
  CHECK_THROWS_AS(thrown.throw_(5), int);
  CHECK(alive == 0);
}

TEST_CASE("at any depth the consumer and the innermost generator switch to each other directly") {
  constexpr int kDepth = 10'000;
  constexpr int kItems = 100'000;  // would take hours if each item passed through each level
  fiber::GeneratorBase innermost;
  const std::function<Generator<int>(int)> nested = [&](int depth) {
    Generator<int> g = [&, depth](auto& self) {
      if (depth > 0)
        self.yield_from(nested(depth - 1));
      else
        for (int i = 0; i < kItems; ++i) self.yield(i);
    };
    innermost = g;
    return g;
  };
  const auto g = nested(kDepth);
  long sum = 0;
  for (const int item : g) {
    sum += item;
    if (item % 10'000 != 0) continue;
    CHECK(g.object()->active == innermost.object());
    CHECK(innermost.object()->root == g.object());
  }
  CHECK(sum == static_cast<long>(kItems) * (kItems - 1) / 2);
}

TEST_CASE("a recursive generator walks a tree") {
  struct Tree {
    int label;
    std::unique_ptr<Tree> left, right;
  };
  const std::function<std::unique_ptr<Tree>(int, int)> tree = [&](int low, int high) {
    if (low >= high) return std::unique_ptr<Tree>();
    const int middle = (low + high) / 2;
    return std::make_unique<Tree>(middle, tree(low, middle), tree(middle + 1, high));
  };
  const std::function<Generator<const Tree&>(const Tree*)> inorder = [&](const Tree* at) {
    return Generator<const Tree&>([&, at](auto& self) {
      if (at == nullptr) return;
      self.yield_from(inorder(at->left.get()));
      self.yield(*at);
      self.yield_from(inorder(at->right.get()));
    });
  };
  const auto root = tree(0, 100);
  int next = 0;
  for (const Tree& node : inorder(root.get())) CHECK(node.label == next++);
  CHECK(next == 100);
}
