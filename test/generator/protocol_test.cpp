// send(), throw_() and close().
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/events.hpp"

using fiber::Generator;
using fiber::GeneratorExit;
using fiber::StopIteration;
using support::Events;
using support::thrown_by;

TEST_CASE("yield returns the sent value") {
  Events say;
  const Generator<int, std::string> g = [&](auto& self) {
    say(self.yield(1));
    say(self.yield(2));
  };
  CHECK(g.next() == 1);
  CHECK(g.send("one") == 2);
  CHECK(thrown_by([&] { g.send("two"); }) == "StopIteration()");
  CHECK(say.take() == "one two");
}

TEST_CASE(
    "something sent to a generator that has not started is a TypeError, and changes nothing") {
  const Generator<int, int> g = [](auto& self) { self.yield(self.yield(1)); };
  CHECK(thrown_by([&] { g.send(5); }) ==
        "TypeError(\"can't send non-None value to a just-started generator\")");
  CHECK(g.state() == fiber::GEN_CREATED);
  CHECK(g.next() == 1);
  CHECK(g.send(5) == 5);
}

TEST_CASE("None may be sent at the start: nothing, an empty optional, a null pointer") {
  const Generator<int, std::optional<int>> optional = [](auto& self) {
    self.yield(self.yield(1).value_or(-1));
  };
  CHECK(optional.send(std::optional<int>()) == 1);
  CHECK(optional.send(std::nullopt) == -1);

  const Generator<int, std::shared_ptr<int>> pointer = [](auto& self) {
    self.yield(*self.yield(1));
  };
  CHECK(pointer.send(nullptr) == 1);
  CHECK(pointer.send(std::make_shared<int>(8)) == 8);

  const Generator<int> nothing = [](auto& self) { self.yield(1); };
  CHECK(nothing.send() == 1);
}

TEST_CASE("next sends a value-initialised Send, and an optional one tells nothing from something") {
  const Generator<int, int> zero = [](auto& self) { self.yield(self.yield(1)); };
  CHECK(zero.next() == 1);
  CHECK(zero.next() == 0);

  // PEP 342's counter that can be set.
  const Generator<int, std::optional<int>> counter = [](auto& self) {
    for (int i = 0;;) {
      const std::optional<int> value = self.yield(i);
      i = value ? *value : i + 1;
    }
  };
  std::vector<int> seen;
  for (int i = 0; i < 3; ++i) seen.push_back(counter.next());
  seen.push_back(counter.send(10));
  seen.push_back(counter.next());
  CHECK(seen == std::vector{0, 1, 2, 10, 11});
}

TEST_CASE("a Send without a default value must be sent") {
  struct Order {
    explicit Order(int i) : number(i) {}
    int number;
  };
  const Generator<int, Order> g = [](auto& self) { self.yield(self.yield(1).number); };
  CHECK(g.next() == 1);
  CHECK(g.send(Order(3)) == 3);
  const Generator<int, Order> unsent = [](auto& self) { self.yield(self.yield(1).number); };
  CHECK(unsent.next() == 1);
  CHECK_THROWS_AS(unsent.next(), fiber::TypeError);
}

TEST_CASE("a sent value is moved, and a sent reference is the very object") {
  const Generator<int, std::unique_ptr<int>> moved = [](auto& self) {
    std::unique_ptr<int> got = self.yield(1);
    self.yield(*got);
  };
  moved.next();
  CHECK(moved.send(std::make_unique<int>(6)) == 6);

  int object = 1;
  const Generator<int, int&> referred = [&](auto& self) {
    int& got = self.yield(1);
    got = 7;
    self.yield(&got == &object);
  };
  referred.next();
  CHECK(referred.send(object) == 1);
  CHECK(object == 7);
}

TEST_CASE("send() feeds a running average") {
  const Generator<double, double> average = [](auto& self) {
    double total = 0;
    double value = self.yield(0.0);
    for (int count = 1;; ++count) {
      total += value;
      value = self.yield(total / count);
    }
  };
  average.next();
  CHECK(average.send(10) == 10);
  CHECK(average.send(30) == 20);
  CHECK(average.send(5) == 15);
}

TEST_CASE("throw_ raises at the yield, and returns the next item if the body goes on") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    for (int i = 0;; ++i) {
      try {
        self.yield(i);
      } catch (const fiber::ValueError& error) {
        say(error.what());
      }
    }
  };
  CHECK(g.next() == 0);
  CHECK(g.throw_(fiber::ValueError("a")) == 1);
  CHECK(g.throw_(std::make_exception_ptr(fiber::ValueError("b"))) == 2);
  CHECK(g.next() == 3);
  CHECK(say.take() == "a b");
}

TEST_CASE("an exception that is thrown in and not handled comes back, and closes the generator") {
  const Generator<int> g = [](auto& self) { self.yield(1); };
  CHECK(g.next() == 1);
  CHECK(thrown_by([&] { g.throw_(fiber::ValueError("a")); }) == "ValueError('a')");
  CHECK(g.state() == fiber::GEN_CLOSED);
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("throw_ into a body that returns is a StopIteration with the value") {
  const Generator<int, void, int> g = [](auto& self) {
    try {
      self.yield(1);
    } catch (int thrown) {
      return thrown;
    }
    return 0;
  };
  CHECK(g.next() == 1);
  try {
    g.throw_(5);
    FAIL("no StopIteration");
  } catch (const StopIteration& stop) {
    CHECK(stop.value().as<int>() == 5);
  }
}

TEST_CASE("throw_ before the start closes the generator without running it") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    say("ran");
    self.yield(1);
  };
  CHECK(thrown_by([&] { g.throw_(fiber::ValueError("a")); }) == "ValueError('a')");
  CHECK(g.state() == fiber::GEN_CLOSED);
  CHECK_THROWS_AS(g.next(), StopIteration);
  CHECK(say.take() == "");
}

TEST_CASE("throw_ after the end throws the exception itself") {
  const Generator<int> g = [](auto&) {};
  CHECK_THROWS_AS(g.next(), StopIteration);
  CHECK(thrown_by([&] { g.throw_(fiber::ValueError("a")); }) == "ValueError('a')");
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("GeneratorExit and StopIteration may be thrown in") {
  const Generator<int> exiting = [](auto& self) { self.yield(1); };
  exiting.next();
  CHECK(thrown_by([&] { exiting.throw_(GeneratorExit()); }) == "GeneratorExit()");
  const Generator<int> stopping = [](auto& self) { self.yield(1); };
  stopping.next();
  CHECK(thrown_by([&] { stopping.throw_(StopIteration()); }) ==
        "RuntimeError('generator raised StopIteration')");
  const Generator<int> catching = [](auto& self) {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      self.yield(2);
    }
  };
  catching.next();
  CHECK(catching.throw_(GeneratorExit()) == 2);
}

TEST_CASE("a null exception is refused, and changes nothing") {
  const Generator<int> g = [](auto& self) {
    self.yield(1);
    self.yield(2);
  };
  g.next();
  CHECK_THROWS_AS(g.throw_(std::exception_ptr()), fiber::ValueError);
  CHECK(g.next() == 2);
}

TEST_CASE("close raises GeneratorExit at the yield, and destructors run") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    const support::AtEnd cleanup([&] { say("cleanup"); });
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      say("exit");
      throw;
    }
  };
  g.next();
  g.close();
  CHECK(say.take() == "exit cleanup");
  CHECK(g.state() == fiber::GEN_CLOSED);
  g.close();
  CHECK(say.take() == "");
}

TEST_CASE("GeneratorExit is no std::exception") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    try {
      self.yield(1);
    } catch (const std::exception&) {
      say("swallowed");
    }
  };
  g.next();
  g.close();
  CHECK(say.take() == "");
}

TEST_CASE("close before the start does not run the body, and drops it") {
  auto shared = std::make_shared<int>(1);
  const Generator<int> g = [shared](auto& self) { self.yield(*shared); };
  CHECK(shared.use_count() == 2);
  g.close();
  CHECK(shared.use_count() == 1);
  CHECK(g.state() == fiber::GEN_CLOSED);
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("close after the end does nothing") {
  const Generator<int> g = [](auto& self) { self.yield(1); };
  for ([[maybe_unused]] const int i : g) {
  }
  g.close();
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("a body that catches GeneratorExit and returns is closed, and close gives its value") {
  const Generator<int, void, std::string> g = [](auto& self) -> std::string {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
    }
    return "value";
  };
  g.next();
  CHECK(g.close() == "value");
  CHECK(g.close() == std::nullopt);
  CHECK_THROWS_AS(g.next(), StopIteration);
}

TEST_CASE("a body that yields in answer to close is a RuntimeError, and stays suspended") {
  const Generator<int> g = [](auto& self) {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      self.yield(2);
    }
    self.yield(3);
  };
  g.next();
  CHECK(thrown_by([&] { g.close(); }) == "RuntimeError('generator ignored GeneratorExit')");
  CHECK(g.state() == fiber::GEN_SUSPENDED);
  CHECK(g.next() == 3);
  g.close();
  CHECK(g.state() == fiber::GEN_CLOSED);
}

TEST_CASE("another exception in answer to close comes out of it") {
  const Generator<int> g = [](auto& self) {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      throw fiber::ValueError("a");
    }
  };
  g.next();
  CHECK(thrown_by([&] { g.close(); }) == "ValueError('a')");
  CHECK(g.state() == fiber::GEN_CLOSED);
}

TEST_CASE("a StopIteration in answer to close is a RuntimeError") {
  const Generator<int> g = [](auto& self) {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      throw StopIteration();
    }
  };
  g.next();
  CHECK(thrown_by([&] { g.close(); }) == "RuntimeError('generator raised StopIteration')");
}

TEST_CASE("clean-up may run other generators, catch exceptions and throw its own") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    const support::AtEnd cleanup([&] {
      const Generator<int> other = [](auto& inner) {
        inner.yield(1);
        inner.yield(2);
      };
      for (const int i : other) say(i);
      say(thrown_by([] { throw fiber::ValueError("caught"); }));
    });
    self.yield(1);
  };
  g.next();
  g.close();
  CHECK(say.take() == "1 2 ValueError('caught')");
}

TEST_CASE(
    "a generator may be closed, resumed and thrown into inside a handler and while unwinding") {
  Events say;
  const auto make = [&] {
    return Generator<int>([&](auto& self) {
      const support::AtEnd cleanup([&] { say(std::uncaught_exceptions()); });
      self.yield(1);
      self.yield(2);
    });
  };
  try {
    const auto dropped = make();
    const auto closed = make();
    dropped.next();
    closed.next();
    const support::AtEnd close([&] {
      say(closed.next());
      closed.close();
    });
    throw fiber::ValueError("a");
  } catch (const fiber::ValueError& error) {
    say(error.what());
  }
  CHECK(say.take() == "2 1 1 a");
}
