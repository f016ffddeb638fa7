// The targets of results and exceptions when a body ends.
#include <fiber/greenlet.hpp>

#include <utility>

#include <doctest/doctest.h>

#include "support/events.hpp"
#include "support/valgrind.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::value;
using support::Events;
using support::thrown_by;
using support::to_parent;

namespace {

struct MyExit : GreenletExit {
  using GreenletExit::GreenletExit;
};

}  // namespace

TEST_CASE("an exception out of the body is thrown in the parent: the same object") {
  const fiber::ValueError* thrown = nullptr;
  const greenlet g([&] {
    try {
      throw fiber::ValueError("bad");
    } catch (const fiber::ValueError& error) {
      thrown = &error;
      throw;
    }
  });
  try {
    g.switch_();
    FAIL("nothing was thrown");
  } catch (const fiber::ValueError& error) {
    CHECK(&error == thrown);
    CHECK(error.what() == std::string("bad"));
  }
  CHECK(g.dead());
}

TEST_CASE("anything that can be thrown crosses to the parent") {
  CHECK(thrown_by([] { greenlet([] { throw 1; }).switch_(); }) == "int()");
  CHECK(thrown_by([] { greenlet([] { throw std::string("s"); }).switch_(); }) ==
        "std::string('s')");
  CHECK(thrown_by([] { greenlet([] { throw fiber::KeyboardInterrupt(); }).switch_(); }) ==
        "KeyboardInterrupt()");
}

TEST_CASE(
    "GreenletExit, or a class derived from it, ends a greenlet with a value that carries it") {
  const GreenletExit* thrown = nullptr;
  value result = greenlet([&] {
                   try {
                     throw MyExit("bye");
                   } catch (const GreenletExit& exit) {
                     thrown = &exit;
                     throw;
                   }
                 }).switch_();
  REQUIRE(result.exited());
  try {
    std::rethrow_exception(result.exception());
  } catch (const MyExit& exit) {
    CHECK(&exit == thrown);
  }
  CHECK(greenlet([] { throw GreenletExit(); }).switch_().exited());
  CHECK(value(1).exception() == nullptr);
}

TEST_CASE("a result goes to the parent, whoever started the child") {
  Events events;
  greenlet child;
  const greenlet parent([&] {
    child.parent(getcurrent());
    const int v = to_parent().as<int>();
    events("parent got " + std::to_string(v));
    return v + 1;
  });
  child = greenlet([&] {
    events("child");
    return 1;
  });
  parent.switch_();
  CHECK(child.switch_().as<int>() == 2);
  CHECK(events.take() == "child parent got 1");
  CHECK((parent.dead() && child.dead()));
}

TEST_CASE("a pending parent is started with its child's result as the only argument") {
  Events events;
  const greenlet parent([&](int v) {
    events(v);
    return v * 2;
  });
  const greenlet child([] { return 21; }, {.parent = parent});
  CHECK(child.switch_().as<int>() == 42);
  CHECK(events.take() == "21");
  CHECK((parent.dead() && child.dead()));
}

TEST_CASE("a pending parent that cannot take its child's result dies of a TypeError") {
  Events events;
  const greenlet parent([&] { events("ran"); });
  const greenlet child([] { return 1; }, {.parent = parent});
  CHECK(thrown_by([&] { child.switch_(); }) ==
        "TypeError(\"the body of a greenlet takes no arguments, but one of type 'int' was sent\")");
  CHECK(parent.dead());
  CHECK(events.take().empty());
}

TEST_CASE("an exception kills a pending parent before it runs and goes on to the grandparent") {
  Events events;
  const greenlet parent([&] { events("ran"); });
  const greenlet child([] { throw fiber::ValueError("x"); }, {.parent = parent});
  CHECK(thrown_by([&] { child.switch_(); }) == "ValueError('x')");
  CHECK((parent.dead() && child.dead() && !parent));
  CHECK(events.take().empty());
}

TEST_CASE(
    "a child that nothing refers to leaves nothing when its exception skips pending parents") {
  greenlet child = nullptr;
  child = greenlet(
      [&child] {
        child = nullptr;
        throw fiber::ValueError("x");
      },
      {.parent = greenlet([] {})});
  CHECK(thrown_by([&] { greenlet(child).switch_(); }) == "ValueError('x')");
}

TEST_CASE("a dead parent is passed over") {
  Events events;
  const greenlet grandparent([&] {
    events("got " + to_parent().as<std::string>());
    events(thrown_by([] { to_parent(); }));
  });
  const greenlet parent([] {}, {.parent = grandparent});
  grandparent.switch_();
  const greenlet a([] { return "a"; }, {.parent = parent});
  const greenlet b([] { throw fiber::ValueError("b"); }, {.parent = parent});
  parent.parent(getcurrent());
  parent.switch_();
  REQUIRE(parent.dead());
  parent.parent(grandparent);
  a.switch_();
  b.switch_();
  CHECK(events.take() == "got a ValueError('b')");
  CHECK(grandparent.dead());
}

TEST_CASE("the parent at the moment when a greenlet ends gets the outcome") {
  Events events;
  const greenlet suspended([&] { events("suspended got " + to_parent().as<std::string>()); });
  suspended.switch_();
  const greenlet pending([&](std::string v) { events("pending got " + v); });
  greenlet([&] {
    getcurrent().parent(suspended);
    return "1";
  }).switch_();
  greenlet([&] {
    getcurrent().parent(pending);
    return "2";
  }).switch_();
  CHECK(events.take() == "suspended got 1 pending got 2");
}

TEST_CASE("a parent without a body costs the result: its error goes one level up") {
  const greenlet parent;
  const greenlet child([] { return 1; }, {.parent = parent});
  const std::string error = "AttributeError('a greenlet without a body (run) cannot be started')";
  CHECK(thrown_by([&] { child.switch_(); }) == error);
  CHECK((child.dead() && !parent.dead()));

  Events events;
  const greenlet above([&] { events(thrown_by([] { to_parent(); })); });
  above.switch_();
  parent.parent(above);
  greenlet([] { throw 1; }, {.parent = parent}).switch_();
  CHECK(events.take() == error);
}

TEST_CASE("a dead greenlet passes values sent to it on to a pending parent") {
  const greenlet dead([] {});
  dead.switch_();
  const greenlet parent([](int v) { return v + 1; });
  dead.parent(parent);
  CHECK(dead.switch_(1).as<int>() == 2);
  CHECK(parent.dead());
  CHECK(dead.switch_(1).as<int>() == 1);
}

TEST_CASE("a pending parent of an exited greenlet is started with the exit value") {
  Events events;
  const auto child_of = [](const greenlet& parent) {
    return greenlet([] { throw GreenletExit(); }, {.parent = parent});
  };
  CHECK(child_of(greenlet([](value v) { return v.exited(); })).switch_().as<bool>());
  CHECK(thrown_by([&] { child_of(greenlet([] {})).switch_(); }).rfind("TypeError", 0) == 0);

  const greenlet dead([] {});
  dead.switch_();
  dead.parent(greenlet([](value v) { return v.exited(); }));
  CHECK(dead.throw_().as<bool>());
}

TEST_CASE("pending greenlets whose bodies hold each other are dropped without recursion") {
  int dropped = 0;
  struct Count {
    explicit Count(int& its_count) : count(&its_count) {}
    Count(Count&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
    ~Count() {
      if (count != nullptr) ++*count;
    }
    int* count;
  };
  constexpr int kMany = 200'000;
  greenlet last;
  for (int i = 0; i < kMany; ++i)
    last = greenlet([held = last, counted = Count(dropped)](value) { return value(); });
  last = greenlet();
  CHECK(dropped == kMany);
}

TEST_CASE("a long chain of pending or dead greenlets is dropped without recursion") {
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
  const int length = 20'000;  // a greenlet's end is expensive there, and frames are larger
#else
  const int length = support::times(1'000'000);
#endif
  for (const bool dead : {false, true}) {
    const greenlet leaf([] {});
    greenlet last = leaf;
    for (int i = 0; i < length; ++i) {
      const greenlet next([] {});
      if (dead) last.switch_();
      last.parent(next);
      last = next;
    }
    CHECK(leaf.dead() == dead);
    CHECK(leaf.parent().parent() != getcurrent());
  }
}

TEST_CASE("twenty thousand pending parents run on one stack") {
  const int depth = support::times(20'000);
  std::size_t stacks = 0;
  greenlet leaf([&](int v) {
    stacks = fiber::core::thread_state().pool.census().in_use;
    return v + 1;
  });
  for (int i = 1; i < depth; ++i) leaf = greenlet([](int v) { return v + 1; }, {.parent = leaf});
  CHECK(leaf.switch_(0).as<int>() == depth);
  CHECK(stacks == 1);

  greenlet failing([] {});
  for (int i = 1; i < depth; ++i) failing = greenlet([] {}, {.parent = failing});
  CHECK(thrown_by([&] { failing.throw_(fiber::ValueError("x")); }) == "ValueError('x')");
  CHECK(failing.parent().dead());
}

TEST_CASE("a pending parent that wants a larger stack gets it") {
  const greenlet parent(
      [](int v) {
        volatile char deep[512 * 1024];
        deep[0] = static_cast<char>(v);
        return deep[0] + 1;
      },
      {.stack_size = 1024 * 1024});
  CHECK(greenlet([] { return 1; }, {.parent = parent}).switch_().as<int>() == 2);
}

TEST_CASE("an exception does not pass a try block of a switcher that is not the parent") {
  Events events;
  const greenlet thrower([] { throw fiber::ValueError("x"); });
  const greenlet switcher([&] {
    try {
      thrower.switch_();
      events("switcher resumed");
    } catch (...) {
      events("switcher caught");
    }
  });
  try {
    switcher.switch_();
  } catch (const fiber::ValueError&) {
    events("parent caught");
  }
  switcher.switch_();
  CHECK(events.take() == "parent caught switcher resumed");
}
