// Context variables, and the context of each greenlet.
#include <fiber/contextvars.hpp>

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <thread>

#include "support/allocations.hpp"
#include "support/clean_context.hpp"
#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::RuntimeError;
using fiber::ValueError;
using fiber::contextvars::Context;
using fiber::contextvars::ContextVar;
using fiber::contextvars::copy_context;
using fiber::contextvars::gr_context;
using fiber::contextvars::Token;
using support::AtEnd;
using support::Clean;
using support::Events;
using support::thrown_by;
using support::to_parent;

namespace {

// Returns the text without addresses.
std::string shape(std::string text) {
  for (auto at = text.find("0x"); at != std::string::npos; at = text.find("0x"))
    text.replace(at, text.find_first_not_of("x0123456789abcdef", at) - at, "ADDRESS");
  return text;
}

}  // namespace

TEST_CASE(
    "a variable without a value gives what the caller offers, then its default, then throws") {
  const Clean clean;
  const ContextVar<int> bare("bare"), with_default("with_default", 1);
  CHECK(bare.name() == "bare");
  CHECK(bare.get(2) == 2);
  CHECK(with_default.get() == 1);
  CHECK(with_default.get(2) == 2);
  CHECK_THROWS_AS(bare.get(), fiber::LookupError);
  CHECK(shape(thrown_by([&] { bare.get(); })) ==
        "LookupError(\"<ContextVar name='bare' at ADDRESS>\")");
  bare.set(3);
  with_default.set(4);
  CHECK(bare.get() == 3);
  CHECK(with_default.get(2) == 4);
}

TEST_CASE("two variables of one name differ; copies of a variable are that variable") {
  const Clean clean;
  const ContextVar<int> a("x"), b("x"), copy = a;
  a.set(1);
  CHECK(copy.get() == 1);
  CHECK((copy == a && a != b));
  CHECK(b.get(0) == 0);
}

TEST_CASE("a token restores the value from before its set, once") {
  const Clean clean;
  const ContextVar<std::string> var("var", "default");
  const auto first = var.set("one");
  const auto second = var.set("two");
  CHECK(first.missing());
  CHECK_THROWS_AS(first.old_value(), fiber::LookupError);
  CHECK(second.old_value() == "one");
  CHECK(second.var() == var);
  const Token<std::string> copy = second;
  CHECK((copy == second && copy != first));
  var.reset(second);
  CHECK(var.get() == "one");
  CHECK_THROWS_AS(var.reset(copy), RuntimeError);
  CHECK(shape(thrown_by([&] { var.reset(second); })) ==
        "RuntimeError('<Token at ADDRESS> has already been used once')");
  var.reset(first);
  CHECK(var.get() == "default");
  CHECK_FALSE(copy_context().contains(var));
}

TEST_CASE("tokens may be used out of order") {
  const Clean clean;
  const ContextVar<int> var("var");
  const auto first = var.set(1);
  const auto second = var.set(2);
  var.reset(first);
  CHECK(var.get(0) == 0);
  var.reset(second);
  CHECK(var.get() == 1);
}

TEST_CASE("a token of another variable or of another context is refused, and is not used up") {
  const Clean clean;
  const ContextVar<int> a("a"), b("b");
  const auto token = a.set(1);
  CHECK(shape(thrown_by([&] { b.reset(token); })) ==
        "ValueError('<Token at ADDRESS> was created by a different ContextVar')");
  const std::string foreign = "ValueError('<Token at ADDRESS> was created in a different Context')";
  CHECK(shape(copy_context().run([&] { return thrown_by([&] { a.reset(token); }); })) == foreign);
  CHECK(greenlet([&] { return shape(thrown_by([&] { a.reset(token); })); })
            .switch_()
            .as<std::string>() == foreign);
  a.reset(token);
  CHECK(a.get(0) == 0);
}

TEST_CASE("a copied context is a snapshot: changes on neither side show on the other") {
  const Clean clean;
  const ContextVar<int> var("var"), other("other");
  var.set(1);
  const Context snapshot = copy_context();
  var.set(2);
  other.set(3);
  CHECK(snapshot[var] == 1);
  CHECK(snapshot.size() == 1);
  snapshot.run([&] {
    CHECK(var.get() == 1);
    var.set(4);
    CHECK(other.get(0) == 0);
  });
  CHECK(snapshot[var] == 4);
  CHECK(var.get() == 2);
  const Context again = snapshot.copy();
  CHECK((again != snapshot && again[var] == 4));
  const Context same = snapshot;
  CHECK(same == snapshot);
}

TEST_CASE("variables that run sets stay in its context, also when the function throws") {
  const Clean clean;
  const ContextVar<int> var("var");
  var.set(1);
  const Context context = copy_context();
  CHECK(thrown_by([&] {
          context.run([&] {
            var.set(2);
            throw ValueError("x");
          });
        }) == "ValueError('x')");
  CHECK(var.get() == 1);
  CHECK(context[var] == 2);
  context.run([&] { CHECK(var.get() == 2); });
}

TEST_CASE("run hands arguments and results through: references, move-only values, nothing") {
  const Clean clean;
  const Context context;
  int number = 1;
  int& same = context.run([](int& n) -> int& { return n; }, number);
  CHECK(&same == &number);
  auto moved = context.run([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(2));
  CHECK(*moved == 2);
  const int& bound = context.run([&]() -> const int& { return number; });
  CHECK(&bound == &number);
  context.run([](int& n) { n = 3; }, number);
  CHECK(number == 3);
}

TEST_CASE("a context is entered once at a time, others may be nested in it") {
  const Clean clean;
  const Context outer, inner;
  outer.run([&] {
    CHECK(shape(thrown_by([&] { outer.run([] {}); })) ==
          "RuntimeError('cannot enter context: <Context at ADDRESS> is already entered')");
    inner.run([&] {
      CHECK_THROWS_AS(outer.run([] {}), RuntimeError);
      CHECK_THROWS_AS(inner.run([] {}), RuntimeError);
    });
    inner.run([] {});
  });
  outer.run([] {});
  CHECK_THROWS_AS(Context(nullptr).run([] {}), ValueError);
}

TEST_CASE("a context that a suspended greenlet has entered stays entered") {
  const Clean clean;
  const Context context;
  const ContextVar<int> var("var", 0);
  greenlet g([&] {
    context.run([&] {
      var.set(1);
      to_parent();
      CHECK(var.get() == 1);
      to_parent();
    });
  });
  g.switch_();
  CHECK(var.get() == 0);
  CHECK_THROWS_AS(context.run([] {}), RuntimeError);
  var.set(2);
  g.switch_();
  CHECK(var.get() == 2);
  g = nullptr;  // unwound: leaves the context
  context.run([&] { CHECK(var.get() == 1); });
}

TEST_CASE("a context that was replaced while it was entered is reported when it is left") {
  const Clean clean;
  const Context context, other;
  CHECK(thrown_by([&] { context.run([&] { gr_context(getcurrent(), other); }); }) ==
        "RuntimeError('cannot exit context: the current greenlet refers to a different context by "
        "now')");
  CHECK(gr_context(getcurrent()) == other);
  context.run([] {});
}

TEST_CASE("a context is a mapping from variables to values") {
  const Clean clean;
  const ContextVar<int> a("a", 10), b("b");
  const ContextVar<std::string> c("c");
  c.set("three");
  a.set(1);
  const Context context = copy_context();
  CHECK(context.size() == 2);
  CHECK((context.contains(a) && !context.contains(b) && context.contains(c)));
  CHECK((context[a] == 1 && context[c] == "three"));
  CHECK_THROWS_AS(context[b], fiber::LookupError);
  CHECK((context.get(a) == 1 && context.get(b) == std::nullopt && context.get(b, 5) == 5));
  std::string names;
  for (const auto& var : context.keys()) names += var.name();
  CHECK(names == "ac");
  CHECK(Context().keys().empty());
  CHECK((Context(nullptr).size() == 0 && !Context(nullptr).contains(a)));
}

TEST_CASE("variables and contexts are shown as in Python") {
  const ContextVar<int> var("request");
  std::ostringstream out;
  out << var << " " << Context() << " " << Context(nullptr);
  CHECK(shape(out.str()) ==
        "<ContextVar name='request' at ADDRESS> <Context at ADDRESS> <Context null>");
}

TEST_CASE("copying a context costs the same, whatever it holds, and setting costs its depth") {
  if (!support::allocations_are_counted()) return;
  const Clean clean;
  std::vector<ContextVar<int>> vars;
  for (int i = 0; i < 20'000; ++i) vars.emplace_back("v");
  std::vector<std::pair<std::size_t, std::size_t>> costs;
  std::size_t most_for_set = 0;
  for (std::size_t i = 0; i < vars.size(); ++i) {
    const std::size_t before = support::allocations.count;
    vars[i].set(1);
    most_for_set = std::max(most_for_set, support::allocations.count - before);
    if (i != 9 && i != 19'999) continue;
    const support::Allocations start = support::allocations;
    const Context copied = copy_context();
    costs.emplace_back(support::allocations.count - start.count,
                       support::allocations.bytes - start.bytes);
    CHECK(copied.size() == i + 1);
  }
  CHECK(costs[0] == costs[1]);
  CHECK(costs[0].first == 1);
  CHECK(most_for_set < 100);
}

TEST_CASE("random sets, resets and copies agree with plain maps") {
  std::mt19937 random(49);
  std::vector<ContextVar<int>> vars;
  for (int i = 0; i < 60; ++i) vars.emplace_back("v" + std::to_string(i));
  using Model = std::map<std::size_t, int>;
  std::vector<std::pair<Context, Model>> all{{Context(), Model()}};
  const auto agree = [&](const Context& context, const Model& model) {
    if (context.size() != model.size()) return false;
    for (std::size_t i = 0; i < vars.size(); ++i) {
      const auto at = model.find(i);
      if (context.get(vars[i], -1) != (at == model.end() ? -1 : at->second)) return false;
    }
    return context.keys().size() == model.size();
  };
  for (int step = 0; step < 300; ++step) {
    auto& [context, model] = all[random() % all.size()];
    context.run([&, &model = model] {
      struct Undo {
        std::size_t var;
        Token<int> token;
        std::optional<int> before;
      };
      std::vector<Undo> undo;
      for (int i = 0; i < 20; ++i) {
        const std::size_t at = random() % vars.size();
        if (random() % 3 != 0 || undo.empty()) {
          const int number = static_cast<int>(random() % 1000);
          const auto before =
              model.contains(at) ? std::optional<int>(model[at]) : std::optional<int>();
          undo.push_back({at, vars[at].set(number), before});
          model[at] = number;
        } else {
          vars[undo.back().var].reset(undo.back().token);
          if (undo.back().before)
            model[undo.back().var] = *undo.back().before;
          else
            model.erase(undo.back().var);
          undo.pop_back();
        }
      }
    });
    REQUIRE(agree(context, model));
    if (step % 10 == 0) {
      auto copied = std::pair(context.copy(), model);
      all.push_back(std::move(copied));
    }
  }
  for (const auto& [context, model] : all) REQUIRE(agree(context, model));
}

TEST_CASE("each greenlet has variables of its own, none at first") {
  const Clean clean;
  Events events;
  const ContextVar<int> var("var", 0);
  var.set(1);
  const auto body = [&](int number) {
    events(var.get());
    var.set(number);
    to_parent();
    events(var.get());
  };
  const greenlet a(body), b(body);
  a.switch_(2);
  b.switch_(3);
  events(var.get());
  a.switch_();
  b.switch_();
  events(var.get());
  CHECK(events.take() == "0 0 1 2 3 1");
}

TEST_CASE("a greenlet's context can be read and replaced in every state, and survives its death") {
  const Clean clean;
  Events events;
  const ContextVar<int> var("var", 0);
  const greenlet g([&] {
    events(var.get());
    to_parent();
    events(var.get());
    var.set(3);
    CHECK(gr_context(getcurrent())[var] == 3);
    gr_context(getcurrent(), nullptr);
    events(var.get());
    var.set(4);
  });
  CHECK(gr_context(g) == Context(nullptr));
  const Context first, second;
  first.run([&] { var.set(1); });
  second.run([&] { var.set(2); });
  gr_context(g, first);
  CHECK(gr_context(g) == first);
  g.switch_();
  gr_context(g, second);
  g.switch_();
  CHECK(events.take() == "1 2 0");
  CHECK(g.dead());
  CHECK(gr_context(g)[var] == 4);
  CHECK((first[var] == 1 && second[var] == 3));
  gr_context(g, nullptr);
  CHECK_FALSE(gr_context(g));
  CHECK_THROWS_AS(gr_context(nullptr), ValueError);
  CHECK_THROWS_AS(gr_context(nullptr, first), ValueError);
}

TEST_CASE("a context may be copied into a greenlet, or shared by several") {
  const Clean clean;
  Events events;
  const ContextVar<int> var("var", 0);
  var.set(1);
  const auto body = [&] {
    events(var.get());
    var.set(var.get() + 1);
  };
  const greenlet copied(body), sharing(body), sharing_too(body);
  gr_context(copied, copy_context());
  gr_context(sharing, gr_context(getcurrent()));
  gr_context(sharing_too, gr_context(getcurrent()));
  copied.switch_();
  events(var.get());
  sharing.switch_();
  sharing_too.switch_();
  events(var.get());
  CHECK(events.take() == "1 1 1 2 3");
}

TEST_CASE(
    "the context of a greenlet that runs on another thread is refused; any other greenlet's is "
    "not") {
  const Clean clean;
  const ContextVar<int> var("var", 0);
  var.set(1);
  const greenlet suspended([&] {
    var.set(2);
    to_parent();
    CHECK(var.get() == 3);
  });
  suspended.switch_();
  std::thread([&, main = &getcurrent()] {
    CHECK(thrown_by([&] { gr_context(*main); }) ==
          "ValueError('cannot get context of a greenlet that is running in a different thread')");
    CHECK(thrown_by([&] { gr_context(*main, Context()); }) ==
          "ValueError('cannot set context of a greenlet that is running in a different thread')");
    CHECK(gr_context(suspended)[var] == 2);
    const Context other;
    other.run([&] { var.set(3); });
    gr_context(suspended, other);
  }).join();
  suspended.switch_();
  CHECK(var.get() == 1);
}

TEST_CASE("a context may be run on another thread, one at a time") {
  const Clean clean;
  const ContextVar<std::string> var("var");
  var.set("main");
  const Context context = copy_context();
  std::thread([&] {
    CHECK(var.get("none") == "none");
    context.run([&] {
      CHECK(var.get() == "main");
      var.set("thread");
    });
  }).join();
  CHECK(context[var] == "thread");
  CHECK(var.get() == "main");
}

TEST_CASE("destructors in a greenlet that is unwound see its variables") {
  const Clean clean;
  Events events;
  const ContextVar<int> var("var", 0);
  var.set(1);
  greenlet g([&] {
    var.set(2);
    const AtEnd end([&] { events(var.get()); });
    to_parent();
  });
  g.switch_();
  g = nullptr;
  events(var.get());
  CHECK(events.take() == "2 1");
}
