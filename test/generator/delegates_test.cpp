// PEP 380's hard cases: delegates that are closed, that have ended, or that are executing.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "support/events.hpp"

using fiber::Generator;
using fiber::GeneratorExit;
using fiber::RuntimeError;
using fiber::StopIteration;
using fiber::ValueError;
using support::AtEnd;
using support::Events;
using support::thrown_by;

TEST_CASE("close reaches the innermost generator first") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    const AtEnd end([&] { say("end1"); });
    self.yield_from(Generator<int>([&](auto& middle) {
      const AtEnd middle_end([&] { say("end2"); });
      middle.yield_from(Generator<int>([&](auto& inner) {
        const AtEnd inner_end([&] { say("end3"); });
        inner.yield(1);
      }));
    }));
  };
  CHECK(g.next() == 1);
  g.close();
  CHECK(say.take() == "end3 end2 end1");
}

TEST_CASE("an inner generator's exception in answer to close comes out of close") {
  const Generator<int> g = [](auto& self) {
    self.yield_from(Generator<int>([](auto& inner) {
      try {
        inner.yield(1);
      } catch (const GeneratorExit&) {
        throw ValueError("nybbles");
      }
    }));
  };
  g.next();
  CHECK(thrown_by([&] { g.close(); }) == "ValueError('nybbles')");
}

TEST_CASE("an inner generator that returns in answer to close leaves GeneratorExit to the outer") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    try {
      self.yield_from(Generator<int>([&](auto& inner) {
        try {
          inner.yield(1);
        } catch (const GeneratorExit&) {
          say("inner");
        }
      }));
      say("unreachable");
    } catch (const GeneratorExit&) {
      say("outer");
      throw;
    }
  };
  g.next();
  g.close();
  CHECK(say.take() == "inner outer");
}

TEST_CASE(
    "an inner generator that returns when GeneratorExit is thrown in leaves that to the outer") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    try {
      self.yield_from(Generator<int>([&](auto& inner) {
        try {
          inner.yield(1);
        } catch (const GeneratorExit&) {
          say("inner");
        }
      }));
    } catch (const GeneratorExit& exit) {
      say(exit.what());
      self.yield(2);  // throw_() is not close(): this is allowed
    }
  };
  g.next();
  CHECK(g.throw_(GeneratorExit("mine")) == 2);
  CHECK(say.take() == "inner mine");
}

TEST_CASE("an inner generator that yields in answer to close fails in the outer one") {
  Events say;
  Generator<int> kept;
  const auto make = [&] {
    return Generator<int>([&](auto& self) {
      const Generator<int> inner = [&](auto& i) {
        try {
          i.yield(1);
        } catch (const GeneratorExit&) {
          i.yield(2);
        }
        i.yield(3);
      };
      kept = inner;
      try {
        self.yield_from(inner);
      } catch (const RuntimeError& error) {
        say(error.what());
        throw;
      }
    });
  };
  const auto thrown_into = make();
  thrown_into.next();
  CHECK(thrown_by([&] { thrown_into.throw_(GeneratorExit()); }) ==
        "RuntimeError('generator ignored GeneratorExit')");
  CHECK(say.take() == "generator ignored GeneratorExit");
  CHECK(kept.state() == fiber::GEN_SUSPENDED);
  CHECK(kept.next() == 3);

  const auto closed = make();
  closed.next();
  CHECK(thrown_by([&] { closed.close(); }) == "RuntimeError('generator ignored GeneratorExit')");
  CHECK(say.take() == "generator ignored GeneratorExit");
  CHECK(closed.state() == fiber::GEN_CLOSED);
  CHECK(kept.next() == 3);
}

TEST_CASE("a middle generator that yields in answer to close fails in its own delegator") {
  Events say;
  Generator<int> kept;
  const Generator<int> g = [&](auto& self) {
    const Generator<int> middle = [&](auto& m) {
      try {
        m.yield_from(Generator<int>([](auto& inner) { inner.yield(1); }));
      } catch (const GeneratorExit&) {
        // A new delegate yields in its place.
        m.yield_from(Generator<int>([](auto& inner) {
          inner.yield(2);
          inner.yield(3);
        }));
      }
      m.yield(4);
    };
    kept = middle;
    try {
      self.yield_from(middle);
    } catch (const RuntimeError& error) {
      say(error.what());
    }
    self.yield(5);
  };
  CHECK(g.next() == 1);
  CHECK(g.throw_(GeneratorExit()) == 5);
  CHECK(say.take() == "generator ignored GeneratorExit");
  CHECK(kept.next() == 3);
  CHECK(kept.next() == 4);
}

TEST_CASE(
    "GeneratorExit thrown in reaches the outermost generator itself, the others as a fresh one") {
  Events say;
  const Generator<int> g = [&](auto& self) {
    try {
      self.yield_from(Generator<int>([&](auto& middle) {
        try {
          middle.yield_from(Generator<int>([&](auto& inner) {
            try {
              inner.yield(1);
            } catch (const GeneratorExit& exit) {
              say(std::string("inner:") + exit.what());
              throw;
            }
          }));
        } catch (const GeneratorExit& exit) {
          say(std::string("middle:") + exit.what());
          throw;
        }
      }));
    } catch (const GeneratorExit& exit) {
      say(std::string("outer:") + exit.what());
    }
  };
  g.next();
  CHECK_THROWS_AS(g.throw_(GeneratorExit("mine")), StopIteration);
  CHECK(say.take() == "inner: middle: outer:mine");
}

TEST_CASE("a generator being closed may not hand a delegate's items over, new or under way") {
  Events say;
  const Generator<int> under_way = [](auto& self) {
    self.yield_from(Generator<int>([](auto& inner) { inner.yield(10); }));
    self.yield(11);
    self.yield(12);
  };
  CHECK(under_way.next() == 10);
  const Generator<int> middle = [&](auto& self) {
    try {
      self.yield(1);
    } catch (const GeneratorExit&) {
      self.yield_from(under_way);
    }
  };
  const Generator<int> g = [&](auto& self) {
    try {
      self.yield_from(middle);
    } catch (const RuntimeError& error) {
      say(error.what());
    }
  };
  CHECK(g.next() == 1);
  g.close();
  CHECK(say.take() == "generator ignored GeneratorExit");
  CHECK(g.state() == fiber::GEN_CLOSED);
  CHECK(middle.yield_from_target() == under_way);
  CHECK(middle.next() == 12);
}

TEST_CASE("a delegate's result in answer to close is lost") {
  const auto test = [](auto item) {
    const Generator<decltype(item), void, int> inner = [](auto& self) {
      try {
        self.yield(1);
      } catch (const GeneratorExit&) {
      }
      return 42;
    };
    const Generator<int, void, int> g = [&](auto& self) { return self.yield_from(inner); };
    g.next();
    CHECK_FALSE(g.close());
    CHECK(thrown_by([&] { inner.next(); }) == "StopIteration()");
    CHECK_FALSE(inner.close());
  };
  test(1);
  test(1L);  // converted on the way
}

TEST_CASE("a StopIteration thrown into an exhausted delegate, or a range, ends the delegation") {
  Events say;
  const Generator<int, void, std::string> inner = [](auto& self) -> std::string {
    self.yield(1);
    return "returned";
  };
  const Generator<int> g = [&](auto& self) {
    say(self.yield_from(inner));
    self.yield(2);
  };
  CHECK(g.next() == 1);
  CHECK_THROWS_AS(inner.next(), StopIteration);
  CHECK(g.throw_(StopIteration(std::string("thrown"))) == 2);
  CHECK(say.take() == "thrown");

  const Generator<int> over_range = [](auto& self) {
    self.yield_from({1, 2, 3});
    self.yield(4);
  };
  CHECK(over_range.next() == 1);
  CHECK(over_range.throw_(StopIteration()) == 4);

  const Generator<int, void, std::string_view> text = [](auto& self) -> std::string_view {
    self.yield(1);
    return "returned";
  };
  const Generator<int> views = [&](auto& self) {
    say(self.yield_from(text));
    self.yield(2);
  };
  CHECK(views.next() == 1);
  try {
    text.next();
  } catch (StopIteration& stop) {
    say(stop.value().as<std::string>());
  }
  CHECK(say.take() == "returned");
  CHECK(thrown_by([&] { views.throw_(StopIteration("thrown")); }) ==
        "TypeError(\"yield_from cannot return the text of the StopIteration that was thrown in as "
        "'std::string_view', since the text ends with the exception: return std::string\")");
}

TEST_CASE("close handled by the outer generator, which then ends, is no error") {
  const Generator<int> g = [](auto& self) {
    try {
      self.yield_from(Generator<int>([](auto& inner) { inner.yield(1); }));
    } catch (const GeneratorExit&) {
    }
  };
  g.next();
  g.close();
  CHECK(g.state() == fiber::GEN_CLOSED);
}

TEST_CASE("a loop of delegation is a ValueError") {
  Events say;
  Generator<int> first;
  const auto second = [&] {
    return Generator<int>([&](auto& self) {
      self.yield(2);
      say("loop");
      self.yield_from(first);
      say("unreachable");
    });
  };
  first = [&](auto& self) {
    self.yield(1);
    self.yield_from(second());
    say("unreachable");
  };
  say(thrown_by([&] {
    for (const int i : first) say(i);
  }));
  CHECK(say.take() == "1 2 loop ValueError('generator already executing')");
  CHECK(first.state() == fiber::GEN_CLOSED);
  first = nullptr;
}

TEST_CASE("a generator that delegates to itself is a ValueError") {
  Generator<int> g;
  g = [&](auto& self) { self.yield_from(g); };
  CHECK(thrown_by([&] { g.next(); }) == "ValueError('generator already executing')");
  g = nullptr;
}

TEST_CASE("a delegate that ended elsewhere gives nothing to send or throw to") {
  const auto setting = [](auto&& test) {
    const Generator<int, std::optional<int>, std::string> shared = [](auto& self) -> std::string {
      self.yield(1);
      return "returned";
    };
    const Generator<int, std::optional<int>> outer = [&](auto& self) {
      try {
        self.yield_from(shared) == "" ? self.yield(10) : self.yield(11);
      } catch (const ValueError&) {
        self.yield(20);
      }
    };
    CHECK(outer.next() == 1);
    CHECK_THROWS_AS(shared.next(), StopIteration);
    test(outer);
  };
  setting([](const auto& outer) { CHECK(outer.next() == 10); });
  setting([](const auto& outer) { CHECK(outer.send(5) == 10); });
  setting([](const auto& outer) { CHECK(outer.throw_(ValueError("a")) == 20); });
  setting([](const auto& outer) {
    CHECK(thrown_by([&] { outer.throw_(GeneratorExit("mine")); }) == "GeneratorExit('mine')");
  });
  setting([](const auto& outer) {
    outer.close();
    CHECK(outer.state() == fiber::GEN_CLOSED);
  });
}

TEST_CASE("a delegate that is executing elsewhere fails in its other delegator") {
  Events say;
  Generator<int> other;
  Generator<int> shared = [&](auto& self) {
    self.yield(1);
    self.yield(2);
    say(thrown_by([&] { other.next(); }));
    self.yield(3);
  };
  other = [&](auto& self) {
    try {
      self.yield_from(shared);
    } catch (const ValueError& error) {
      say(error.what());
      throw;
    }
  };
  const Generator<int> outer = [&](auto& self) { self.yield_from(shared); };
  CHECK(outer.next() == 1);
  CHECK(other.next() == 2);
  CHECK(outer.next() == 3);
  CHECK(say.take() == "generator already executing ValueError('generator already executing')");
  CHECK(other.state() == fiber::GEN_CLOSED);
}

TEST_CASE("every generator of a running chain is executing") {
  Events say;
  Generator<int> outer;
  Generator<int> middle = [&](auto& self) {
    self.yield_from(Generator<int>([&](auto& inner) {
      say(thrown_by([&] { outer.next(); }));
      say(thrown_by([&] { middle.close(); }));
      inner.yield(1);
    }));
  };
  outer = [&](auto& self) { self.yield_from(middle); };
  CHECK(outer.next() == 1);
  CHECK(say.take() ==
        "ValueError('generator already executing') ValueError('generator already executing')");
}
