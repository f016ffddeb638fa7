#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <sstream>
#include <thread>
#include <type_traits>
#include <unordered_set>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using support::Events;
using support::thrown_by;

namespace {

// Returns repr() without the address.
std::string state_of(const greenlet& g) {
  std::string text = fiber::repr(g);
  const auto at = text.find(" at 0x");
  return text.erase(at, text.find_first_of(" >", at + 4) - at);
}

}  // namespace

TEST_CASE("a thread has one main greenlet: current, without a parent, active, not dead") {
  std::thread([] {
    const greenlet main = getcurrent();
    CHECK(main == getcurrent());
    CHECK(main == greenlet::getcurrent());
    CHECK(main.parent() == nullptr);
    CHECK(main);
    CHECK_FALSE(main.dead());
    CHECK(state_of(main) == "<greenlet current active started main>");
  }).join();
}

TEST_CASE("a new greenlet is pending, a child of the current one, and has no stack") {
  const auto stacks = fiber::core::thread_state().pool.census();
  const greenlet g([] {});
  CHECK_FALSE(g);
  CHECK_FALSE(g.dead());
  CHECK(g.parent() == getcurrent());
  CHECK(g.stack_used() == 0);
  const auto after = fiber::core::thread_state().pool.census();
  CHECK(after.in_use == stacks.in_use);
  CHECK(after.slabs == stacks.slabs);
}

TEST_CASE("what the body returns is the result of the switch that started it") {
  const greenlet g([](int a, int b) { return a + b; });
  CHECK(g.switch_(2, 3).as<int>() == 5);
  CHECK(g.dead());
  CHECK_FALSE(g);
}

TEST_CASE("greenlets and their parent take turns exactly") {
  Events events;
  const greenlet g([&] {
    events(0);
    getcurrent().parent().switch_();
    events(2);
    getcurrent().parent().switch_();
    events(4);
  });
  g.switch_();
  events(1);
  g.switch_();
  events(3);
  g.switch_();
  CHECK(events.take() == "0 1 2 3 4");
  CHECK(g.dead());
}

TEST_CASE("two greenlets switch to each other by name") {
  Events events;
  greenlet gr1, gr2;
  gr1 = greenlet([&] {
    events(1);
    gr2.switch_();
    events(2);
    gr2.switch_();
  });
  gr2 = greenlet([&] {
    events(3);
    gr1.switch_();
    events(4);
  });
  gr1.switch_();
  CHECK(events.take() == "1 3 2 4");
  CHECK(gr2.dead());
  CHECK(state_of(gr1) == "<greenlet suspended active started>");
}

TEST_CASE("siblings may finish in another order than they started") {
  const auto body = [](int x) { return getcurrent().parent().switch_(x).as<int>() * 10; };
  const greenlet a(body), b(body);
  CHECK(a.switch_(1).as<int>() == 1);
  CHECK(b.switch_(2).as<int>() == 2);
  CHECK(b.switch_(3).as<int>() == 30);
  CHECK((b.dead() && !b && !a.dead() && a));
  CHECK(a.switch_(4).as<int>() == 40);
  CHECK((a.dead() && !a));
}

TEST_CASE("a switch to the current greenlet returns its argument at once") {
  CHECK(getcurrent().switch_(7).as<int>() == 7);
  CHECK(getcurrent().switch_().empty());
  const greenlet g([] { return getcurrent().switch_(8).as<int>() + 1; });
  CHECK(g.switch_().as<int>() == 9);
  CHECK(state_of(getcurrent()) == "<greenlet current active started main>");
}

TEST_CASE("a switch to a dead child of the current greenlet returns its argument at once") {
  const greenlet g([] {});
  g.switch_();
  CHECK(g.dead());
  CHECK(g.switch_().empty());
  CHECK(g.switch_(25).as<int>() == 25);
}

TEST_CASE("handles to one greenlet are equal and tell the same") {
  const greenlet g([] {});
  const greenlet copy = g, other([] {});
  CHECK(copy == g);
  CHECK(std::hash<greenlet>()(copy) == std::hash<greenlet>()(g));
  CHECK(other != g);
  copy.switch_();
  CHECK((g.dead() && copy.dead() && !other.dead()));
  const std::unordered_set<greenlet> set{g, copy, other};
  CHECK(set.size() == 2);
}

TEST_CASE("a greenlet without a body refuses to start, stays pending, and may get one later") {
  const greenlet g;
  CHECK(thrown_by([&] { g.switch_(); }) ==
        "AttributeError('a greenlet without a body (run) cannot be started')");
  CHECK(thrown_by([&] { g.throw_(); }) ==
        "AttributeError('a greenlet without a body (run) cannot be thrown into')");
  CHECK(state_of(g) == "<greenlet pending>");
  g.run([](int x) { return x + 1; });
  CHECK(g.switch_(1).as<int>() == 2);
}

TEST_CASE("of two bodies the latest runs, and the first is destroyed unrun") {
  Events events;
  auto kept = std::make_shared<int>(1);
  const greenlet g([&events, kept] { events("first"); });
  CHECK(kept.use_count() == 2);
  g.run([&events] { events("second"); });
  CHECK(kept.use_count() == 1);
  g.switch_();
  CHECK(events.take() == "second");
}

TEST_CASE("the body of a started greenlet cannot be set") {
  const std::string refused = "AttributeError('run cannot be set after a greenlet has started')";
  const greenlet g([] { getcurrent().parent().switch_(); });
  g.switch_();
  CHECK(thrown_by([&] { g.run([] {}); }) == refused);
  g.switch_();
  CHECK(g.dead());
  CHECK(thrown_by([&] { g.run([] {}); }) == refused);
}

TEST_CASE("a main greenlet takes neither a parent nor a body") {
  const greenlet g([] {});
  CHECK(thrown_by([&] { getcurrent().parent(g); }) ==
        "AttributeError('the parent of a main greenlet cannot be set')");
  CHECK(thrown_by([&] { getcurrent().run([] {}); }) ==
        "AttributeError('run cannot be set after a greenlet has started')");
  CHECK(getcurrent().parent() == nullptr);
}

TEST_CASE("parents cannot form a cycle") {
  const greenlet a([] {}), b([] {}), c([] {});
  const std::string refused = "ValueError('cyclic parent chain')";
  CHECK(thrown_by([&] { a.parent(a); }) == refused);
  b.parent(a);
  c.parent(b);
  CHECK(thrown_by([&] { a.parent(c); }) == refused);
  CHECK(a.parent() == getcurrent());
  CHECK(b.parent() == a);
  CHECK(c.parent() == b);
}

TEST_CASE("null is no parent, but means the current greenlet in the constructor") {
  const greenlet g([] {}, {.parent = nullptr});
  CHECK(g.parent() == getcurrent());
  CHECK(thrown_by([&] { g.parent(nullptr); }) ==
        "TypeError('the parent of a greenlet must be a greenlet, not null')");
  CHECK(g.parent() == getcurrent());
}

TEST_CASE("a parent may be set while its child is pending, running, suspended or dead") {
  const greenlet a([] {}), b([] {});
  const greenlet g([&] {
    getcurrent().parent(b);
    getcurrent().parent().parent().switch_();
    getcurrent().parent(b.parent());
  });
  g.parent(a);
  CHECK(g.parent() == a);
  g.parent(getcurrent());
  g.switch_();
  CHECK(g.parent() == b);
  g.parent(a);
  CHECK(g.parent() == a);
  g.switch_();
  CHECK(g.dead());
  CHECK(g.parent() == getcurrent());
  g.parent(b);
  CHECK(g.parent() == b);
}

TEST_CASE("greenlets are objects with an identity: handles copy, greenlets do not") {
  static_assert(!std::is_copy_constructible_v<fiber::detail::GreenletObject>);
  static_assert(!std::is_copy_assignable_v<fiber::detail::GreenletObject>);
  static_assert(std::is_nothrow_move_constructible_v<greenlet>);
  greenlet g([] {});
  greenlet copy = g;
  const greenlet moved = std::move(g);
  CHECK(moved == copy);
  CHECK(thrown_by([&] { (void)g.switch_(); }).rfind("ValueError", 0) == 0);  // NOLINT: moved from
  g = copy;
  g = *&g;
  CHECK(g == moved);
}

TEST_CASE("a printed greenlet says its name and state, the same each time") {
  std::vector<std::string> states;
  greenlet g;
  const auto look = [&](const greenlet& at) {
    states.push_back(state_of(at));
    CHECK(fiber::repr(at) == fiber::repr(at));
  };
  g = greenlet([&] {
    look(getcurrent());
    look(getcurrent().parent());
    getcurrent().parent().switch_();
  });
  look(g);
  g.switch_();
  look(g);
  g.name("worker");
  g.switch_();
  look(g);
  look(getcurrent());
  std::thread([&, main = &getcurrent()] { look(*main); }).join();
  CHECK(states ==
        std::vector<std::string>{"<greenlet pending>", "<greenlet current active started>",
                                 "<greenlet suspended active started main>",
                                 "<greenlet suspended active started>", "<greenlet 'worker' dead>",
                                 "<greenlet current active started main>",
                                 "<greenlet current active started main>"});
  std::ostringstream out;
  out << g << greenlet(nullptr);
  CHECK(out.str() == fiber::repr(g) + "<greenlet null>");
}

TEST_CASE("the list of live greenlets has those that started and did not end, in that order") {
  const auto body = [] { getcurrent().parent().switch_(); };
  const greenlet pending(body), second(body), first(body), dead([] {});
  first.switch_();
  second.switch_();
  dead.switch_();
  CHECK(fiber::all_greenlets() == std::vector<greenlet>{getcurrent(), first, second});
}

TEST_CASE("a suspended greenlet tells how much of its stack it touched") {
  const greenlet g([](std::size_t bytes) {
    const auto touched = std::make_unique<int>(0);
    auto* memory = static_cast<volatile char*>(__builtin_alloca(bytes));
    for (std::size_t i = 0; i < bytes; i += 1024) memory[i] = 1;
    getcurrent().parent().switch_();
  });
  g.switch_(std::size_t{100 * 1024});
  CHECK(g.stack_used() >= 100 * 1024);
  CHECK(g.stack_used() <= 256 * 1024);
  g.switch_();
  CHECK(g.stack_used() == 0);
}
