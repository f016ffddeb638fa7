// Memory runs out at every possible place: nothing is lost, nothing ends the process.
#include <fiber/contextvars.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <new>
#include <vector>

#include "support/allocations.hpp"
#include "support/events.hpp"
#include "support/leak_check.hpp"

using fiber::greenlet;
using fiber::GreenletExit;
using fiber::ValueError;
using fiber::weak_greenlet;
using support::Holdings;
using support::Scarce;
using support::to_parent;

namespace {

template <class F>
bool runs_out(F function) {
  try {
    const Scarce scarce(0);
    function();
    return false;
  } catch (const std::bad_alloc&) {
    return true;
  }
}

// Runs `program` with 0, 1, 2... allocations until these suffice; returns their number. Each run
// must end by bad_alloc, or normally, and must leave nothing behind.
template <class Program>
long survives(Program program) {
  program();  // makes everything that is made once and kept
  const Holdings held = Holdings::now();
  for (long enough = 0;; ++enough) {
    bool finished = false;
    try {
      const Scarce scarce(enough);
      program();
      finished = support::allocations.left > 0;
    } catch (const std::bad_alloc&) {
    }
    REQUIRE(Holdings::now() == held);
    if (finished) return enough;
    REQUIRE(enough < 1000);
  }
}

}  // namespace

TEST_CASE("creating, starting and finishing greenlets survives every failed allocation") {
  if (!support::allocations_are_counted()) return;
  const auto argument = std::make_shared<int>(1);
  const long needed = survives([&] {
    const greenlet g(
        [](const std::shared_ptr<int>& a, std::vector<int> b) {
          auto got = to_parent();
          return *a + static_cast<int>(b.size()) + got.as<int>();
        },
        {.name = "a name that is too long to be stored in place"});
    g.switch_(argument, std::vector<int>{1, 2});
    if (g.switch_(3).as<int>() != 6) throw ValueError("wrong sum");
  });
  CHECK(needed >= 4);
  CHECK(argument.use_count() == 1);
}

TEST_CASE("a body that fails to allocate ends by that exception, as by any other") {
  if (!support::allocations_are_counted()) return;
  const greenlet g([] { return std::make_unique<int>(1); });
  CHECK(runs_out([&] { g.switch_(); }));
  CHECK(g.dead());
}

TEST_CASE("an argument that cannot be sent leaves the target where it was") {
  if (!support::allocations_are_counted()) return;
  struct Large {
    char data[1000] = {};
  };
  const greenlet pending([](const Large&) { return 1; });
  const greenlet suspended([] { return to_parent().holds<Large>(); });
  suspended.switch_();
  CHECK(runs_out([&] { pending.switch_(Large()); }));
  CHECK(runs_out([&] { suspended.switch_(Large()); }));
  CHECK((!pending && !pending.dead()));
  CHECK(suspended.switch_(Large()).as<bool>());
  CHECK(pending.switch_(Large()).as<int>() == 1);
}

TEST_CASE("throwing, tracing, weak handles, names and contexts survive every failed allocation") {
  if (!support::allocations_are_counted()) return;
  const fiber::contextvars::ContextVar<int> var("var");
  survives([&] {
    const greenlet g([&] {
      var.set(1);
      try {
        to_parent();
      } catch (const ValueError&) {
        var.set(2);
      }
      fiber::contextvars::copy_context().run([&] { var.set(3); });
    });
    const weak_greenlet weak(g);
    g.name("another name that is too long to be stored in place");
    const auto reset = [](fiber::trace_function* previous) { fiber::settrace(*previous); };
    auto previous = fiber::settrace([](const char*, const greenlet&, const greenlet&) {});
    const std::unique_ptr<fiber::trace_function, decltype(reset)> guard(&previous, reset);
    g.switch_();
    g.throw_(ValueError("a text that is too long to be stored in place"));
    if (weak.lock() != g) throw ValueError("wrong greenlet");
  });
}

TEST_CASE("dropping a suspended greenlet needs no memory") {
  if (!support::allocations_are_counted()) return;
  bool unwound = false;
  greenlet g([&] {
    const support::AtEnd end([&] { unwound = true; });
    to_parent();
  });
  g.switch_();
  {
    const Scarce scarce(0);
    g = nullptr;
  }
  CHECK(unwound);
}

TEST_CASE("an error that nobody can be told of is reported without memory for the report") {
  if (!support::allocations_are_counted()) return;
  static int told;
  told = 0;
  auto previous = fiber::set_unraisablehook(
      [](const fiber::UnraisableHookArgs& args) { told += args.exception != nullptr; });
  greenlet g([] {
    try {
      to_parent();
    } catch (const GreenletExit&) {
      throw 1;
    }
  });
  g.switch_();
  {
    const Scarce scarce(0);
    g = nullptr;
  }
  CHECK(told == 1);
  fiber::set_unraisablehook(std::move(previous));
}
