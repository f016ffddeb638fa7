// Generators among greenlets and threads: a body runs as a part of its consumer.
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/events.hpp"

using fiber::Generator;
using fiber::getcurrent;
using fiber::greenlet;
using support::AtEnd;
using support::Events;
using support::thrown_by;

TEST_CASE("the current greenlet of a body is its consumer's") {
  const Generator<bool> g = [main = getcurrent()](auto& self) {
    self.yield(getcurrent() == main);
    self.yield(getcurrent() == main);
    self.yield(getcurrent() == main);
  };
  CHECK(g.next());
  const greenlet other([&] { return g.next(); });
  CHECK_FALSE(other.switch_().as<bool>());
  CHECK(g.next());
}

TEST_CASE("a body that switches suspends its consumer, with all that is between") {
  Events say;
  const greenlet main = getcurrent();
  const Generator<int> g = [&](auto& self) {
    self.yield(main.switch_(1).as<int>());
    self.yield(main.switch_(2).as<int>());
  };
  const greenlet consumer([&] {
    for (const int item : g) say(item);
    return 3;
  });
  say(consumer.switch_().as<int>());
  CHECK(g.state() == fiber::GEN_RUNNING);
  say(thrown_by([&] { g.next(); }));
  say(consumer.switch_(10).as<int>());
  say(consumer.switch_(20).as<int>());
  CHECK(say.take() == "1 ValueError('generator already executing') 10 2 20 3");
  CHECK(consumer.dead());
}

TEST_CASE("two greenlets take turns at one generator") {
  Events say;
  const Generator<int> numbers = [](auto& self) {
    for (int i = 0;; ++i) self.yield(i);
  };
  greenlet a, b;
  a = greenlet([&] {
    for (int i = 0; i < 3; ++i) {
      say(numbers.next());
      b.switch_();
    }
  });
  b = greenlet([&] {
    for (;;) {
      say(-numbers.next());
      a.switch_();
    }
  });
  a.switch_();
  CHECK(say.take() == "0 -1 2 -3 4 -5");
  a = b = nullptr;
}

TEST_CASE("a greenlet killed inside a body unwinds the body, then the consumer") {
  Events say;
  const greenlet main = getcurrent();
  const Generator<int> g = [&](auto& self) {
    const AtEnd end([&] { say("body"); });
    main.switch_();
    self.yield(1);
  };
  {
    const greenlet consumer([&] {
      const AtEnd end([&] { say("consumer"); });
      g.next();
    });
    consumer.switch_();
  }
  CHECK(say.take() == "body consumer");
  CHECK(g.state() == fiber::GEN_CLOSED);
}

TEST_CASE("a suspended generator survives its consumer") {
  const Generator<int> g = [](auto& self) { self.yield_from({1, 2}); };
  CHECK(greenlet([&] { return g.next(); }).switch_().as<int>() == 1);
  CHECK(g.next() == 2);
}

TEST_CASE("a killed greenlet closes the generators it owns") {
  Events say;
  const greenlet main = getcurrent();
  {
    const greenlet owner([&] {
      const Generator<int> g = [&](auto& self) {
        const AtEnd end([&] { say("closed"); });
        self.yield(1);
      };
      g.next();
      main.switch_();
    });
    owner.switch_();
  }
  CHECK(say.take() == "closed");
}

TEST_CASE("a yield in another greenlet, outside of the body or after its end is a RuntimeError") {
  Events say;
  std::optional<std::reference_wrapper<Generator<int>::Self>> captured;
  const Generator<int> g = [&](auto& self) {
    captured = self;
    const greenlet inner([&] { say(thrown_by([&] { self.yield(9); })); });
    inner.switch_();
    self.yield(1);
  };
  g.next();
  const auto tried = [&](const std::string& result) { return result.substr(0, 13); };
  say(tried(thrown_by([&] { captured->get().yield(8); })));
  say(tried(thrown_by([&] { captured->get().yield_from({8}); })));
  say(tried(thrown_by([&] { captured->get().yield_from(Generator<int>([](auto&) {})); })));
  CHECK_THROWS_AS(g.next(), fiber::StopIteration);
  say(tried(thrown_by([&] { captured->get().yield(7); })));
  CHECK(say.take() ==
        "RuntimeError('yield outside of the generator: not in its body, or in another greenlet or "
        "thread') RuntimeError( RuntimeError( RuntimeError( RuntimeError(");
}

TEST_CASE("an outer generator cannot yield from within an inner one") {
  const Generator<int> g = [](auto& outer) {
    for (const int item : Generator<int>([&](auto& inner) {
           CHECK_THROWS_AS(outer.yield(1), fiber::RuntimeError);
           inner.yield(2);
         }))
      outer.yield(item);
  };
  CHECK(g.next() == 2);
  CHECK_THROWS_AS(g.next(), fiber::StopIteration);
}

TEST_CASE("another thread may not use a generator, nor its self") {
  Events say;
  std::optional<std::reference_wrapper<Generator<int>::Self>> captured;
  const Generator<int> g = [&](auto& self) {
    captured = self;
    self.yield(1);
    self.yield(2);
  };
  g.next();
  std::thread([&] {
    say(thrown_by([&] { fiber::GeneratorBase(nullptr); }));
    const auto refused = [&](auto&& operation) {
      CHECK(thrown_by(operation).substr(0, 13) == "RuntimeError(");
    };
    refused([&] { captured->get().yield(1); });
    fiber::detail::GeneratorObject* object = g.object();
    refused([&] { object->advance(nullptr); });
    refused([&] { object->close(); });
  }).join();
  CHECK(g.next() == 2);
}

TEST_CASE("a generator of another thread cannot be delegated to") {
  Generator<int> foreign;
  std::thread([&] { foreign = [](auto& self) { self.yield(1); }; }).join();
  const Generator<int> g = [&](auto& self) { self.yield_from(foreign); };
  CHECK(thrown_by([&] { g.next(); }) ==
        "RuntimeError('a generator was used on another thread than the one that made it')");
}

TEST_CASE("errno and what is caught belong to the body") {
  const Generator<int> g = [](auto& self) {
    errno = 5;
    try {
      throw fiber::ValueError("body");
    } catch (...) {
      self.yield(errno);
      CHECK(errno == 5);
      CHECK(thrown_by([] { throw; }) == "ValueError('body')");
    }
  };
  errno = 7;
  CHECK(g.next() == 5);
  CHECK(errno == 7);
  CHECK(std::current_exception() == nullptr);
  CHECK_THROWS_AS(g.next(), fiber::StopIteration);
}

TEST_CASE("a thread's generators end with it, also those that run in its suspended greenlets") {
  Events say;
  std::thread([&] {
    static thread_local greenlet consumer;
    static thread_local Generator<int> running;
    const greenlet main = getcurrent();
    running = [&say, main](auto& self) {
      const AtEnd end([&] { say("unwound"); });
      main.switch_();
      self.yield(1);
    };
    consumer = greenlet([&say] {
      try {
        running.next();
      } catch (const fiber::GreenletExit&) {
        say("killed");
        throw;
      }
    });
    consumer.switch_();
  }).join();
  CHECK(say.take() == "unwound killed");
}

TEST_CASE("nested, recursive and zipped generators give what plain loops give") {
  const std::function<Generator<std::vector<int>>(std::vector<int>)> permutations =
      [&](std::vector<int> items) {
        return Generator<std::vector<int>>([&, items](auto& self) {
          if (items.empty()) {
            self.yield({});
            return;
          }
          for (std::size_t i = 0; i < items.size(); ++i) {
            std::vector<int> rest = items;
            rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
            for (std::vector<int> tail : permutations(rest)) {
              tail.insert(tail.begin(), items[i]);
              self.yield(std::move(tail));
            }
          }
        });
      };
  std::vector<int> expected{1, 2, 3, 4};
  const auto zipped = permutations(expected);
  int count = 0;
  for (const auto& found : permutations(expected)) {
    CHECK(found == expected);
    CHECK(zipped.next() == expected);
    std::next_permutation(expected.begin(), expected.end());
    ++count;
  }
  CHECK(count == 24);
}
