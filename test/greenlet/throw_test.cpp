#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::ValueError;
using support::Events;
using support::thrown_by;
using support::to_parent;

TEST_CASE("GreenletExit passes handlers of std::exception") {
  static_assert(!std::is_base_of_v<std::exception, GreenletExit>);
  static_assert(std::is_base_of_v<std::exception, greenlet::error>);
  Events events;
  const greenlet g([&] {
    try {
      to_parent();
    } catch (const std::exception&) {
      events("swallowed");
    }
  });
  g.switch_();
  CHECK(g.throw_().exited());
  CHECK(events.take().empty());
}

TEST_CASE("throw_ raises where the greenlet is suspended and returns what comes back") {
  const greenlet g([] {
    try {
      to_parent();
    } catch (const ValueError& error) {
      return getcurrent().parent().switch_(std::string(error.what()));
    }
    return fiber::value();
  });
  g.switch_();
  CHECK(g.throw_(ValueError("x")).as<std::string>() == "x");
  CHECK(g);
  CHECK(g.switch_(5).as<int>() == 5);
}

TEST_CASE("a pending greenlet that is thrown into dies without running") {
  Events events;
  const greenlet g([&] { events("ran"); });
  CHECK(thrown_by([&] { g.throw_(ValueError("x")); }) == "ValueError('x')");
  CHECK((g.dead() && !g));
  CHECK(events.take().empty());
}

TEST_CASE("a pending greenlet that gets GreenletExit ends with an exit value") {
  Events events;
  const greenlet g([&] { events("ran"); });
  CHECK(g.throw_().exited());
  CHECK(g.dead());
  CHECK(events.take().empty());
}

TEST_CASE("an exception thrown into a dead child arrives here; GreenletExit as a value") {
  const greenlet g([] {});
  g.switch_();
  CHECK(g.throw_().exited());
  CHECK(thrown_by([&] { g.throw_(ValueError("x")); }) == "ValueError('x')");
}

TEST_CASE("an exception thrown into a dead greenlet goes to its nearest living ancestor") {
  Events events;
  const greenlet parent([&] {
    events(thrown_by([] { to_parent(); }));
    events(to_parent().exited() ? "exited" : "?");
    return 1;
  });
  parent.switch_();
  const greenlet dead([] {});
  dead.switch_();
  dead.parent(parent);
  CHECK(dead.throw_(ValueError("x")).empty());
  CHECK(dead.throw_().as<int>() == 1);
  CHECK(events.take() == "ValueError('x') exited");
}

TEST_CASE("the current greenlet throws into itself on the spot") {
  CHECK(thrown_by([] { getcurrent().throw_(ValueError("x")); }) == "ValueError('x')");
  CHECK(thrown_by([] { getcurrent().throw_(); }) == "GreenletExit()");
  const greenlet g([] { return thrown_by([] { getcurrent().throw_(); }); });
  CHECK(g.switch_().as<std::string>() == "GreenletExit()");
}

TEST_CASE("an exception thrown into a pending greenlet goes to its own parent") {
  Events events;
  {
    const greenlet g1([&] { events("g1 ran"); });
    const greenlet g2([&] { events("g2 ran"); }, {.parent = g1});
    CHECK(thrown_by([&] { g2.throw_(ValueError("x")); }) == "ValueError('x')");
    CHECK((g1.dead() && g2.dead()));
  }
  {
    const greenlet g1([&] { return "g1 caught " + thrown_by([] { to_parent(); }); });
    const greenlet g2([&] { events("g2 ran"); }, {.parent = g1});
    g1.switch_();
    CHECK(g2.throw_(ValueError("x")).as<std::string>() == "g1 caught ValueError('x')");
    CHECK((g1.dead() && g2.dead()));
  }
  {
    const greenlet g1([&] { return "g1 caught " + thrown_by([] { to_parent(); }); });
    const greenlet g2([&] { to_parent(); }, {.parent = g1});
    g1.switch_();
    g1.parent(getcurrent());
    CHECK(g2.switch_().as<std::string>() == "g1 caught ");
    CHECK(thrown_by([&] { g2.throw_(ValueError("x")); }) == "ValueError('x')");
  }
  CHECK(events.take().empty());
}

TEST_CASE("a helper child that throws is a way to throw into its parent") {
  const greenlet g([] { return thrown_by([] { to_parent(); }); });
  g.switch_();
  const greenlet helper([] { throw ValueError("x"); }, {.parent = g});
  CHECK(helper.switch_().as<std::string>() == "ValueError('x')");
}

TEST_CASE("a null exception is an error in the caller, before any switch") {
  Events events;
  const greenlet g([&] { events("ran"); });
  CHECK(thrown_by([&] { g.throw_(std::exception_ptr()); }) ==
        "ValueError('throw_ was given a null exception pointer')");
  CHECK((!g.dead() && !g));
  g.switch_();
  CHECK(events.take() == "ran");
}

TEST_CASE("an exception pointer is thrown as what it points to") {
  const auto error = std::make_exception_ptr(ValueError("x"));
  const greenlet g([] { to_parent(); });
  g.switch_();
  try {
    g.throw_(error);
  } catch (const ValueError&) {
    CHECK(std::current_exception() == error);
  }
  CHECK(g.dead());
}

TEST_CASE("a handle that refers to nothing refuses everything but being asked whether it lives") {
  const greenlet none = nullptr;
  CHECK_FALSE(none);
  CHECK_THROWS_AS(none.switch_(), ValueError);
  CHECK_THROWS_AS(none.throw_(), ValueError);
  CHECK_THROWS_AS((void)none.dead(), ValueError);
  CHECK_THROWS_AS((void)none.parent(), ValueError);
  CHECK_THROWS_AS(none.parent(getcurrent()), ValueError);
  CHECK_THROWS_AS(none.run([] {}), ValueError);
}
