// Several errors thrown as one, and the handlers that take them apart.
#include <fiber/exceptiongroup.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"

using fiber::errors_of;
using fiber::make_exception_group;
using fiber::TypeError;
using fiber::ValueError;
using support::thrown_by;

namespace {

template <class E>
std::exception_ptr error(const std::string& text) {
  return std::make_exception_ptr(E(text));
}

// Returns the repr of what is left of the group after the handlers.
template <class... H>
std::string left_of(const std::exception_ptr& group, H... handlers) {
  return thrown_by([&] { fiber::except_star(group, handlers...); });
}

}  // namespace

TEST_CASE("errors that handlers throw again are left in the shape of the group, each by identity") {
  const auto same = error<ValueError>("a");
  const auto group = make_exception_group(
      "outer",
      {same, make_exception_group("inner", {error<ValueError>("b"), error<TypeError>("c")}),
       error<fiber::RuntimeError>("d"), same});
  CHECK(left_of(
            group, [](errors_of<ValueError>) { throw; }, [](errors_of<TypeError>) {}) ==
        "ExceptionGroup('outer', [ValueError('a'), ExceptionGroup('inner', [ValueError('b')]), "
        "RuntimeError('d'), ValueError('a')])");
  const auto only_b = [](const ValueError& each) {
    if (each.what() == std::string("b")) throw;
  };
  CHECK(left_of(group, only_b, [](const fiber::RuntimeError&) {}) ==
        "ExceptionGroup('outer', [ExceptionGroup('inner', [ValueError('b'), TypeError('c')])])");
  CHECK(
      left_of(
          group, [](const ValueError&) { throw ValueError("a"); }, [](const std::exception&) {}) ==
      "ExceptionGroup('', [ValueError('a'), ValueError('a'), ValueError('a')])");
}

TEST_CASE("handlers that throw their errors again cope with very many") {
  constexpr std::size_t kErrors = 20'000;
  std::vector<std::exception_ptr> errors;
  while (errors.size() < kErrors) errors.push_back(error<ValueError>("x"));
  const auto group = make_exception_group("many", errors);
  bool first = true;
  try {
    // All but the first are left.
    fiber::except_star(group, [&](const ValueError&) {
      if (!std::exchange(first, false)) throw;
    });
  } catch (const fiber::ExceptionGroup& left) {
    errors.erase(errors.begin());
    CHECK((left.exceptions() == errors));
    return;
  }
  FAIL("nothing was left");
}
