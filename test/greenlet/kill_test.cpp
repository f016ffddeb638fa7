// The drop of the last handle to a suspended greenlet.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include "support/events.hpp"
#include "support/leak_check.hpp"
#include "support/valgrind.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::ValueError;
using fiber::weak_greenlet;
using support::AtEnd;
using support::Events;
using support::named;
using support::thrown_by;
using support::to_parent;
using support::UnraisableEvents;

namespace {

greenlet find(const std::string& name) {
  for (const greenlet& g : fiber::all_greenlets())
    if (g.name() == name) return g;
  return nullptr;
}

// Ends a greenlet that outlived its GreenletExit; only the list of live ones still has it.
void finish(const std::string& name) {
  const greenlet g = find(name);
  REQUIRE(g != nullptr);
  g.parent(getcurrent());
  g.switch_();
  CHECK(g.dead());
}

}  // namespace

TEST_CASE("dropping the last handle unwinds a suspended greenlet before the drop returns") {
  Events events;
  greenlet g([&] {
    const AtEnd outer([&] { events("outer"); });
    const AtEnd inner([&] { events("inner"); });
    try {
      to_parent();
    } catch (const GreenletExit& exit) {
      events(exit.what());
      throw;
    }
  });
  g.switch_();
  greenlet copy = g;
  g = nullptr;
  CHECK(events.take().empty());
  copy = nullptr;
  CHECK(events.take() == "the last reference was dropped inner outer");
}

TEST_CASE("dropping a pending or a dead greenlet switches nowhere") {
  Events events;
  greenlet pending([&] { events("ran"); }), dead([] {});
  dead.switch_();
  const support::Tracing tracing(events);
  pending = nullptr;
  dead = nullptr;
  CHECK(events.take().empty());
}

TEST_CASE("an error in a greenlet that is being unwound goes to the unraisable hook, once") {
  Events events;
  const UnraisableEvents unraisable(events);
  greenlet g(
      [] {
        try {
          to_parent();
        } catch (const GreenletExit&) {
          throw ValueError("x");
        }
      },
      named("g"));
  g.switch_();
  g = nullptr;
  events("dropper goes on");
  CHECK(events.take() == "g: Exception ignored in ValueError('x') dropper goes on");
}

TEST_CASE("a hook that throws is survived") {
  auto previous = fiber::set_unraisablehook([](const auto&) { throw ValueError("hook"); });
  greenlet g([] {
    const AtEnd end([] {});
    try {
      to_parent();
    } catch (...) {
      throw ValueError("x");
    }
  });
  g.switch_();
  g = nullptr;
  fiber::set_unraisablehook(std::move(previous));
}

TEST_CASE("a greenlet that stores a handle to itself while it is unwound lives on") {
  Events events;
  greenlet saved = nullptr;
  greenlet g([&] {
    for (int i = 0;; ++i) {
      try {
        events(to_parent().as<int>());
      } catch (const GreenletExit&) {
        events("exit");
        if (i >= 20) throw;
        saved = getcurrent();
      }
    }
  });
  const greenlet hub([&] { to_parent(); });
  g.switch_();
  g.parent(hub);
  g = nullptr;
  CHECK((saved && saved.parent() == hub));
  saved.parent(getcurrent());
  saved.switch_(5);
  CHECK(events.take() == "exit 5");
  for (int i = 2; i < 20; ++i) {
    const weak_greenlet weak(saved);
    saved = nullptr;
    CHECK((saved && weak.lock() == saved));
  }
  saved.switch_(6);
  events.take();
  saved = nullptr;
  CHECK(events.take() == "exit");
  CHECK(saved == nullptr);
}

TEST_CASE("while a greenlet is unwound its parent is the greenlet that dropped it") {
  Events events;
  const greenlet hub([&] {
    to_parent();
    events("hub resumed");
  });
  hub.switch_();
  greenlet dropper;
  greenlet f(
      [&] {
        try {
          to_parent();
        } catch (...) {
          events(getcurrent().parent() == dropper ? "killer is parent" : "wrong parent");
          throw;
        }
      },
      {.parent = hub});
  f.parent(getcurrent());
  f.switch_();
  f.parent(hub);
  dropper = greenlet([&] {
    f = nullptr;
    events("dropper goes on");
  });
  dropper.switch_();
  CHECK(events.take() == "killer is parent dropper goes on");
  CHECK((hub && !hub.dead()));
}

TEST_CASE("a greenlet that swallows GreenletExit is reported once and stays listed") {
  Events events;
  const UnraisableEvents unraisable(events);
  greenlet g(
      [&] {
        for (int i = 0; i < 2; ++i) {
          try {
            to_parent();
          } catch (const GreenletExit&) {
            events("swallowed");
          }
        }
      },
      named("stubborn"));
  g.switch_();
  g = nullptr;
  CHECK(events.take() == "swallowed stubborn: GreenletExit did not end");
  { const greenlet found = find("stubborn"); }
  CHECK(events.take().empty());
  finish("stubborn");
  CHECK(find("stubborn") == nullptr);
}

TEST_CASE("a value that another greenlet sends to the dropper during a kill is swallowed") {
  Events events;
  const UnraisableEvents unraisable(events);
  const greenlet main = getcurrent();
  const greenlet other([&] {
    events("other");
    main.switch_("swallowed");
    events("other goes on");
  });
  greenlet f(
      [&] {
        try {
          to_parent();
        } catch (const GreenletExit&) {
          other.switch_();
        }
      },
      named("f"));
  f.switch_();
  f = nullptr;
  CHECK(events.take() == "other f: GreenletExit did not end");
  finish("f");
  other.switch_();
  CHECK(events.take() == "other goes on");
}

TEST_CASE("a greenlet that nobody refers to is unwound by the switch that leaves it") {
  Events events;
  greenlet handle = nullptr;
  handle = greenlet([&] {
    const AtEnd end([&] { events("unwound"); });
    handle = nullptr;
    getcurrent().parent().switch_("value");
  });
  const fiber::detail::GreenletObject* object = handle.object();
  const fiber::value got =
      fiber::detail::greenlet_thread().switch_to(handle.object(), fiber::value());
  events("main goes on");
  CHECK(fiber::value(std::move(const_cast<fiber::value&>(got))).as<std::string>() == "value");
  CHECK(object != nullptr);
  CHECK(events.take() == "unwound main goes on");
}

TEST_CASE("a value that an unwound sender still sends is swallowed, and the first value arrives") {
  Events events;
  const UnraisableEvents unraisable(events);
  greenlet handle = nullptr;
  const auto start = [&](auto answer) {
    handle = greenlet(
        [&handle, answer] {
          handle = nullptr;
          try {
            getcurrent().parent().switch_("first");
          } catch (const GreenletExit&) {
            answer();
          }
        },
        named("sender"));
    return fiber::detail::greenlet_thread().switch_to(handle.object(), fiber::value());
  };
  CHECK(start([] { getcurrent().parent().switch_("second"); }).as<std::string>() == "first");
  CHECK(events.take() == "sender: GreenletExit did not end");
  finish("sender");
  CHECK(start([] { throw ValueError("x"); }).as<std::string>() == "first");
  CHECK(events.take() == "sender: Exception ignored in ValueError('x')");
}

TEST_CASE(
    "suspended greenlets, each held by the stack of the one before, all unwind, 20 000 deep") {
  const int depth = support::times(20'000);
  int unwound = 0;
  greenlet next = nullptr;
  for (int i = 0; i < depth; ++i) {
    greenlet g([&unwound](const greenlet&) {
      const AtEnd end([&] { ++unwound; });
      to_parent();
    });
    g.switch_(std::move(next));
    next = std::move(g);
  }
  CHECK(unwound == 0);
  next = nullptr;
  CHECK(unwound == depth);
}

TEST_CASE("twenty thousand suspended greenlets get twenty thousand exits") {
  int exits = 0;
  std::vector<greenlet> all;
  const int count = support::times(20'000);
  for (int i = 0; i < count; ++i) {
    all.emplace_back([&] {
      try {
        to_parent();
      } catch (const GreenletExit&) {
        ++exits;
        throw;
      }
    });
    all.back().switch_();
  }
  all.clear();
  CHECK(exits == count);
}

TEST_CASE("a kill inside a kill may go back to the first dropper, and be ended later") {
  Events events;
  const greenlet main = getcurrent();
  greenlet inner(
      [&] {
        try {
          to_parent();
        } catch (const GreenletExit&) {
          main.switch_();
        }
      },
      named("inner"));
  inner.switch_();
  greenlet outer(
      [&, held = std::move(inner)]() mutable {
        try {
          to_parent();
        } catch (const GreenletExit&) {
          held = nullptr;
          events("outer goes on");
        }
      },
      named("outer"));
  outer.switch_();
  outer = nullptr;
  events("first dropper goes on");
  find("inner").switch_();
  CHECK(events.take() == "first dropper goes on outer goes on");
  CHECK(find("inner") == nullptr);
  CHECK(find("outer") == nullptr);
}

TEST_CASE("a greenlet may be given another parent while it is unwound") {
  Events events;
  greenlet f([&] {
    try {
      to_parent();
    } catch (const GreenletExit&) {
      getcurrent().parent(greenlet([&](fiber::value v) { events(v.exited() ? "exited" : "?"); },
                                   {.parent = getcurrent().parent()}));
      throw;
    }
  });
  f.switch_();
  f = nullptr;
  CHECK(events.take() == "exited");
}

TEST_CASE(
    "a greenlet that becomes its parent's parent while it is unwound stays with the dropper") {
  Events events;
  const greenlet parent([&] {
    to_parent();
    events("parent");
  });
  parent.switch_();
  greenlet child([&] {
    try {
      to_parent();
    } catch (const GreenletExit&) {
      parent.parent(getcurrent());  // no cycle yet: the parent is the dropper here
      to_parent();
    }
    events("child");
  });
  child.switch_();
  child.parent(parent);
  child = nullptr;
  CHECK(parent.parent().parent() == getcurrent());
  parent.switch_();
  CHECK(parent.dead());
  CHECK(events.take() == "parent child");
}
