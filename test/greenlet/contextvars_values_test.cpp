// The lives of context variables' values, and the state of objects that were moved from.
#include <fiber/contextvars.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "support/clean_context.hpp"
#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::contextvars::Context;
using fiber::contextvars::ContextVar;
using fiber::contextvars::copy_context;
using fiber::contextvars::gr_context;
using support::Clean;
using support::Events;
using support::thrown_by;

TEST_CASE("values are destroyed with the last context that has them") {
  const Clean clean;
  const ContextVar<std::shared_ptr<int>> var("var");
  const auto value = std::make_shared<int>(1);
  {
    greenlet g([&] { var.set(value); });
    g.switch_();
    CHECK(value.use_count() == 2);
    const Context kept = gr_context(g).copy();
    g = nullptr;
    CHECK(value.use_count() == 2);
  }
  CHECK(value.use_count() == 1);
  const auto token = var.set(value);
  var.set(nullptr);
  CHECK(value.use_count() == 1);
  var.set(value);
  gr_context(getcurrent(), nullptr);
  CHECK(value.use_count() == 2);  // the token keeps its context
}

TEST_CASE("the destructor of a value may set variables") {
  const Clean clean;
  Events events;
  const ContextVar<std::shared_ptr<void>> var("var");
  const ContextVar<int> count("count", 0);
  const auto held = [&] {
    return std::shared_ptr<void>(nullptr, [&](void*) {
      events("destroyed");
      count.set(count.get() + 1);
    });
  };
  var.set(held());
  var.set(nullptr);
  CHECK(count.get() == 1);
  const auto token = var.set(held());
  var.reset(token);
  CHECK(count.get() == 2);
  CHECK(events.take() == "destroyed destroyed");
}

TEST_CASE("a variable or token that was moved from says so, and may be assigned to") {
  const Clean clean;
  ContextVar<int> var("var", 1);
  auto token = var.set(2);
  auto other = std::move(token);
  const std::string moved = "ValueError('this Token was moved from')";
  CHECK(thrown_by([&] { var.reset(token); }) == moved);
  CHECK(thrown_by([&] { token.var(); }) == moved);
  CHECK(thrown_by([&] { (void)token.missing(); }) == moved);
  CHECK(thrown_by([&] { token.old_value(); }) == moved);
  CHECK_FALSE(token == other);
  token = other;
  var.reset(token);
  CHECK(var.get() == 1);

  ContextVar<int> taken = std::move(var);
  const std::string gone = "ValueError('this ContextVar was moved from')";
  CHECK(thrown_by([&] { var.get(); }) == gone);
  CHECK(thrown_by([&] { var.get(3); }) == gone);
  CHECK(thrown_by([&] { var.set(3); }) == gone);
  CHECK(thrown_by([&] { var.reset(taken.set(3)); }) == gone);
  CHECK(thrown_by([&] { (void)var.name(); }) == gone);
  CHECK(thrown_by([&] { copy_context().contains(var); }) == gone);
  CHECK(thrown_by([&] { copy_context()[var]; }) == gone);
  CHECK(thrown_by([&] { repr(var); }) == gone);
  var = taken;
  CHECK(var.get() == 3);
}
