// Python's exceptions: the type for each system call's error, and their texts.
#include <fiber/exceptions.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>

#include "support/events.hpp"

using support::Events;
using support::thrown_by;

namespace shop {

enum class Kind { late };

template <class T>
struct Error : fiber::ValueError {
  using ValueError::ValueError;
};
struct Interrupt : fiber::BaseException {};

}  // namespace shop

TEST_CASE("a failed system call throws Python's error for it, which names the call's object") {
  const auto raised = [](int number) {
    return thrown_by([&] { fiber::raise_os_error(number, "here"); });
  };
  CHECK(raised(ENOENT) == "FileNotFoundError('[Errno 2] No such file or directory: here')");
  CHECK(raised(EACCES) == "PermissionError('[Errno 13] Permission denied: here')");
  CHECK(raised(EPERM) == "PermissionError('[Errno 1] Operation not permitted: here')");
  CHECK(raised(ECONNREFUSED) == "ConnectionRefusedError('[Errno 111] Connection refused: here')");
  CHECK(raised(ECONNRESET) == "ConnectionResetError('[Errno 104] Connection reset by peer: here')");
  CHECK(raised(ECONNABORTED) ==
        "ConnectionAbortedError('[Errno 103] Software caused connection abort: here')");
  CHECK(raised(EPIPE) == "BrokenPipeError('[Errno 32] Broken pipe: here')");
  CHECK(raised(ESHUTDOWN) ==
        "BrokenPipeError('[Errno 108] Cannot send after transport endpoint shutdown: here')");
  CHECK(raised(ETIMEDOUT) == "TimeoutError('[Errno 110] Connection timed out: here')");
  CHECK(raised(EBADF) == "OSError('[Errno 9] Bad file descriptor: here')");
  try {
    fiber::raise_os_error(EPIPE);
  } catch (const fiber::ConnectionError& error) {
    CHECK(error.error_number() == EPIPE);
    CHECK(error.what() == std::string("[Errno 32] Broken pipe"));
  }
}

TEST_CASE("exceptions that ordinary handlers may catch are std::exceptions, others are not") {
  Events events;
  const auto throw_one = [&](auto error) {
    try {
      try {
        throw error;
      } catch (const std::exception&) {
        events("ordinary");
      }
    } catch (const fiber::BaseException&) {
      events("let through");
    }
  };
  throw_one(fiber::ValueError("x"));
  throw_one(fiber::TimeoutError());
  throw_one(fiber::KeyboardInterrupt());
  throw_one(fiber::SystemExit(3));
  CHECK(events.take() == "ordinary ordinary let through let through");
}

TEST_CASE("an exception shows as Python shows it, by its own name and its text") {
  struct Local : fiber::RuntimeError {
    using RuntimeError::RuntimeError;
  };
  const auto shown = [](auto error) { return fiber::repr(std::make_exception_ptr(error)); };
  CHECK(shown(fiber::ValueError("bad")) == "ValueError('bad')");
  CHECK(shown(fiber::SystemExit(3)) == "SystemExit(3)");
  CHECK(shown(shop::Interrupt()) == "Interrupt()");
  CHECK(shown(Local("here")) == "Local('here')");
  CHECK(shown(shop::Error<shop::Kind>("late")) == "Error<shop::Kind>('late')");
  CHECK(shown(std::out_of_range("far")) == "std::out_of_range('far')");
  CHECK(shown(std::string("text")) == "std::string('text')");
  CHECK(shown(static_cast<const char*>("text")) == "const char*('text')");
  CHECK(shown(7) == "int()");
  CHECK(fiber::repr(std::exception_ptr()) == "None");
  const auto nested = [](auto error) { return thrown_by([&] { std::throw_with_nested(error); }); };
  CHECK(nested(fiber::ValueError("bad")) == "ValueError('bad')");
  CHECK(nested(shop::Error<shop::Kind>("late")) == "Error<shop::Kind>('late')");
  const std::exception_ptr error = std::make_exception_ptr(fiber::ValueError("bad"));
  CHECK(fiber::type_name(error) == "ValueError");
  CHECK(fiber::str(error) == "bad");
}

TEST_CASE("a copy of an exception has its text") {
  const fiber::ValueError first("text");
  fiber::ValueError second;
  CHECK(second.what() == std::string());
  second = first;
  CHECK(second.what() == std::string("text"));
  CHECK(second.what() == first.what());  // shared
}
