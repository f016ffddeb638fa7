// Exceptions as Python's traceback.print_exception shows them, and what() of exceptions with little
// text.
#include <fiber/exceptiongroup.hpp>
#include <fiber/exceptions.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"

namespace {

using fiber::ExceptionGroup;
using fiber::KeyboardInterrupt;
using fiber::OSError;
using fiber::TimeoutError;
using fiber::ValueError;

template <class E>
std::exception_ptr error(E e) {
  return std::make_exception_ptr(std::move(e));
}

// Returns `effect`, thrown from `cause`.
template <class E>
std::exception_ptr from(const std::exception_ptr& cause, E effect) {
  try {
    try {
      std::rethrow_exception(cause);
    } catch (...) {
      std::throw_with_nested(std::move(effect));
    }
  } catch (...) {
    return std::current_exception();
  }
}

std::string what(const std::exception_ptr& of) {
  try {
    std::rethrow_exception(of);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const fiber::BaseException& e) {
    return e.what();
  }
}

std::string printed(const std::exception_ptr& of) {
  std::ostringstream out;
  fiber::print_exception(of, out);
  return out.str();
}

// Throws out of a noexcept function, as an uncaught exception leaves main().
void leaves_main(const std::exception_ptr& thrown) noexcept { std::rethrow_exception(thrown); }

constexpr const char* kCause =
    "\nThe above exception was the direct cause of the following exception:\n\n";

}  // namespace

TEST_CASE("an exception is a line, and its causes come before it") {
  CHECK(printed(nullptr) == "NoneType: None\n");
  CHECK(printed(error(ValueError("a"))) == "ValueError: a\n");
  CHECK(printed(error(ValueError())) == "ValueError\n");
  CHECK(printed(error(TimeoutError())) == "TimeoutError\n");
  CHECK(printed(error(KeyboardInterrupt())) == "KeyboardInterrupt\n");
  CHECK(printed(error(std::runtime_error("two\nlines"))) == "std::runtime_error: two\nlines\n");
  const auto chain = from(from(error(OSError("c")), ValueError("b")), std::logic_error("a"));
  CHECK(printed(chain) == std::string("OSError: c\n") + kCause + "ValueError: b\n" + kCause +
                              "std::logic_error: a\n");
}

// The expected text is CPython 3.11's for equal groups.
TEST_CASE("a group is drawn as a tree") {
  const ExceptionGroup inner("inner", {error(OSError("k")), error(ValueError("m\nn"))});
  const auto outer = error(ExceptionGroup(
      "outer", {error(ValueError("a")), error(inner), from(error(OSError("c")), ValueError("e"))}));
  CHECK(printed(outer) ==
        "  | ExceptionGroup: outer (3 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ValueError: a\n"
        "    +---------------- 2 ----------------\n"
        "    | ExceptionGroup: inner (2 sub-exceptions)\n"
        "    +-+---------------- 1 ----------------\n"
        "      | OSError: k\n"
        "      +---------------- 2 ----------------\n"
        "      | ValueError: m\n"
        "      | n\n"
        "      +------------------------------------\n"
        "    +---------------- 3 ----------------\n"
        "    | OSError: c\n"
        "    | \n"
        "    | The above exception was the direct cause of the following exception:\n"
        "    | \n"
        "    | ValueError: e\n"
        "    +------------------------------------\n");
}

TEST_CASE("a wide group and a deep one are cut short") {
  const std::vector<std::exception_ptr> many(17, error(ValueError("x")));
  const std::string wide = printed(error(ExceptionGroup("wide", many)));
  CHECK(
      wide.ends_with("    +---------------- 15 ----------------\n"
                     "    | ValueError: x\n"
                     "    +---------------- ... ----------------\n"
                     "    | and 2 more exceptions\n"
                     "    +------------------------------------\n"));
  auto deep = error(ValueError("bottom"));
  for (int i = 0; i < 20; ++i) deep = error(ExceptionGroup("level", {deep}));
  const std::string text = printed(deep);
  CHECK(text.find("bottom") == std::string::npos);
  CHECK(text.find("... (max_group_depth is 10)\n") != std::string::npos);
}

TEST_CASE("what() says what happened where Python's str() does not") {
  CHECK(what(error(TimeoutError())) == "timed out");
  CHECK(fiber::str(error(TimeoutError())) == "");
  CHECK(fiber::repr(error(TimeoutError())) == "TimeoutError()");
  CHECK(what(error(TimeoutError("late"))) == "late");
  const auto group =
      error(ExceptionGroup("g", {error(TimeoutError()), from(error(OSError("c")), ValueError("e")),
                                 error(ExceptionGroup("h", {error(ValueError())}))}));
  CHECK(what(group) ==
        "g (3 sub-exceptions): TimeoutError: timed out; ValueError: e (from OSError: c); "
        "ExceptionGroup: h (1 sub-exception): ValueError");
  CHECK(fiber::str(group) == "g (3 sub-exceptions)");
  const auto base = error(fiber::BaseExceptionGroup("b", {error(KeyboardInterrupt())}));
  CHECK(what(base) == "b (1 sub-exception): KeyboardInterrupt");
}

TEST_CASE("KeyboardInterrupt and SystemExit that leave main end the program as Python does") {
  const support::ChildResult interrupted =
      support::run_forked([] { leaves_main(error(KeyboardInterrupt())); });
  CHECK(interrupted.status == 130);
  CHECK(interrupted.errors == "KeyboardInterrupt\n");
  const support::ChildResult left =
      support::run_forked([] { leaves_main(error(fiber::SystemExit(3))); });
  CHECK(left.status == 3);
  CHECK(left.errors == "");
}

TEST_CASE("a terminate handler of the program's own is called, and other exceptions abort") {
  const std::terminate_handler own = [] { ::_exit(42); };
  CHECK(support::run_forked([&] {
          std::set_terminate(own);
          leaves_main(error(KeyboardInterrupt()));
        }).status == 42);
  CHECK(support::run_forked([&] {
          static_cast<void>(KeyboardInterrupt());
          std::set_terminate(own);
          leaves_main(error(KeyboardInterrupt()));
        }).status == 42);
  CHECK(support::run_forked([&] {
          static_cast<void>(KeyboardInterrupt());
          leaves_main(error(ValueError("other")));
        }).status == 128 + SIGABRT);
}
