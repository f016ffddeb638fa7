#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <thread>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::settrace;
using fiber::ValueError;
using support::Events;
using support::label;
using support::named;
using support::thrown_by;
using support::to_parent;
using support::Tracing;

namespace {

bool tracing() { return static_cast<bool>(fiber::gettrace()); }

}  // namespace

TEST_CASE("a tracer sees starts, results and exceptions") {
  Events events;
  const greenlet f([] {}, named("f"));
  const greenlet g([] { throw ValueError("x"); }, named("g"));
  {
    const Tracing tracing(events);
    f.switch_();
    CHECK_THROWS_AS(g.switch_(), ValueError);
  }
  CHECK(events.take() == "switch(main,f) switch(f,main) switch(main,g) throw(g,main)");
  f.switch_();
  CHECK(events.take().empty());
}

TEST_CASE("an exception into a pending greenlet is traced as if it had run") {
  Events events;
  const greenlet f([] {}, named("f")), g([] {}, named("g")), h([] {}, {.parent = g, .name = "h"});
  const Tracing tracing(events);
  f.throw_();
  CHECK(events.take() == "throw(main,f) switch(f,main)");
  CHECK_THROWS_AS(h.throw_(ValueError("x")), ValueError);
  CHECK(events.take() == "throw(main,h) throw(h,g) throw(g,main)");
}

TEST_CASE("dead parents do not appear in a trace, pending ones are switched to") {
  Events events;
  const greenlet dead([] {}, named("dead"));
  dead.switch_();
  const greenlet pending([](int) {}, named("pending"));
  dead.parent(pending);
  const greenlet child([] { return 1; }, {.parent = dead, .name = "child"});
  const Tracing tracing(events);
  child.switch_();
  CHECK(events.take() == "switch(main,child) switch(child,pending) switch(pending,main)");
}

TEST_CASE("a switch that stays is one event from and to the current greenlet") {
  Events events;
  const greenlet dead([] {}, named("dead"));
  dead.switch_();
  const Tracing tracing(events);
  getcurrent().switch_(1);
  dead.switch_(1);
  dead.throw_();
  CHECK_THROWS_AS(dead.throw_(ValueError("x")), ValueError);
  CHECK(events.take() == "switch(main,main) switch(main,main) switch(main,main) throw(main,main)");
}

TEST_CASE("a tracer runs in the target, before the value is delivered") {
  Events events;
  const greenlet f(
      [&](int v) {
        events("started with " + std::to_string(v));
        events("resumed with " + std::to_string(to_parent().as<int>()));
      },
      named("f"));
  settrace([&](const char*, const greenlet& origin, const greenlet& target) {
    CHECK(target == getcurrent());
    CHECK(target);
    events(label(origin) + ">" + label(target));
  });
  f.switch_(1);
  f.switch_(2);
  settrace(nullptr);
  CHECK(events.take() == "main>f started with 1 f>main main>f resumed with 2 f>main");
}

TEST_CASE("a tracer that throws at a first start ends the greenlet before it runs") {
  Events events;
  const greenlet f([&] { events("ran"); });
  settrace([](const char*, const greenlet&, const greenlet&) { throw ValueError("tracer"); });
  CHECK(thrown_by([&] { f.switch_(); }) == "ValueError('tracer')");
  CHECK(f.dead());
  CHECK_FALSE(tracing());
  CHECK(events.take().empty());
}

TEST_CASE("the exception of a tracer takes the place of the one that was thrown") {
  Events events;
  const greenlet f([&] { events(thrown_by([] { to_parent(); })); });
  f.switch_();
  settrace([](const char*, const greenlet&, const greenlet&) { throw ValueError("tracer"); });
  f.throw_(fiber::TypeError("thrown"));
  CHECK(events.take() == "ValueError('tracer')");
  CHECK_FALSE(tracing());
  CHECK(f.dead());
}

TEST_CASE("a tracer may switch: its switches are traced, and the outer one keeps its value") {
  Events events;
  const greenlet other(
      [] {
        for (;;) to_parent();
      },
      named("other"));
  const greenlet f([](int v) { return v + 1; }, named("f"));
  bool busy = false;
  settrace([&](const char* event, const greenlet& origin, const greenlet& target) {
    events(std::string(event) + "(" + label(origin) + "," + label(target) + ")");
    if (std::exchange(busy, true)) return;
    other.parent(getcurrent());
    other.switch_();
    busy = false;
    events("back");
  });
  const int result = f.switch_(1).as<int>();
  settrace(nullptr);
  CHECK(result == 2);
  CHECK(events.take() ==
        "switch(main,f) switch(f,other) switch(other,f) back switch(f,main) switch(main,other) "
        "switch(other,main) back");
}

TEST_CASE("a tracer may switch away from a pending greenlet that was thrown into") {
  Events events;
  const greenlet f([&] { events("ran"); }, named("f"));
  greenlet other;
  other = greenlet([&] { f.switch_(); }, named("other"));
  settrace([&](const char* event, const greenlet& origin, const greenlet& target) {
    events(std::string(event) + "(" + label(origin) + "," + label(target) + ")");
    if (target == f && origin != other) {
      getcurrent().parent().switch_(7);
      events("back");
    }
  });
  CHECK(f.throw_(ValueError("x")).as<int>() == 7);
  CHECK(f);
  CHECK(thrown_by([&] { other.switch_(); }) == "ValueError('x')");
  settrace(nullptr);
  CHECK(f.dead());
  CHECK(events.take() ==
        "throw(main,f) switch(f,main) switch(main,other) switch(other,f) back throw(f,main)");
}

TEST_CASE("a tracer belongs to its thread") {
  Events events;
  settrace([&](const char*, const greenlet&, const greenlet&) { events("here"); });
  std::thread([&] {
    CHECK_FALSE(tracing());
    greenlet([] {}).switch_();
    Events others;
    {
      const Tracing traced(others);
      greenlet([] {}, named("f")).switch_();
    }
    CHECK(others.take() == "switch(main,f) switch(f,main)");
  }).join();
  CHECK(events.take().empty());
  CHECK(tracing());
  settrace(nullptr);
}

TEST_CASE("settrace returns the previous tracer, and takes the same one twice") {
  Events events;
  CHECK_FALSE(settrace([&](const char*, const greenlet&, const greenlet&) { events("first"); }));
  fiber::trace_function first =
      settrace([&](const char*, const greenlet&, const greenlet&) { events("second"); });
  settrace(first);
  settrace(first);
  getcurrent().switch_();
  CHECK(events.take() == "first");
  CHECK(settrace(nullptr));
  CHECK_FALSE(tracing());
}

// With a trace function.
TEST_CASE("a dropped greenlet's end is traced, by GreenletExit or by another exception") {
  Events events;
  greenlet quiet([] { to_parent(); }, named("quiet"));
  greenlet loud(
      [] {
        try {
          to_parent();
        } catch (const GreenletExit&) {
          throw ValueError("x");
        }
      },
      named("loud"));
  quiet.switch_();
  loud.switch_();
  const support::UnraisableEvents unraisable(events);
  const Tracing tracing(events);
  quiet = nullptr;
  CHECK(events.take() == "throw(main,quiet) switch(quiet,main)");
  loud = nullptr;
  CHECK(events.take() ==
        "throw(main,loud) throw(loud,main) loud: Exception ignored in ValueError('x')");
}

TEST_CASE("the exception of a tracer during a kill is reported, not thrown") {
  Events events;
  greenlet f([&] { events(thrown_by([] { to_parent(); })); }, named("f"));
  f.switch_();
  const support::UnraisableEvents unraisable(events);
  settrace([](const char*, const greenlet&, const greenlet&) { throw ValueError("tracer"); });
  f = nullptr;
  CHECK_FALSE(tracing());
  CHECK(events.take() == "ValueError('tracer')");
}
