// The types of the exceptions that come back from a pool of processes, and a thread that ends in
// submit().
#include <fiber/concurrent/process.hpp>

#include <doctest/doctest.h>

#include <fiber/demangle.hpp>
#include <fiber/exceptions/files.hpp>

#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <typeinfo>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/platform.hpp"

using namespace fiber::concurrent::futures;

namespace {

template <class... E>
struct List {};

// All exceptions of fiber/exceptions.hpp and fiber/exceptions/.
using Builtin =
    List<fiber::BaseException, fiber::KeyboardInterrupt, fiber::SystemExit, fiber::Exception,
         fiber::TypeError, fiber::ValueError, fiber::AttributeError, fiber::LookupError,
         fiber::RuntimeError, fiber::NotImplementedError, fiber::EOFError, fiber::MemoryError,
         fiber::OSError, fiber::TimeoutError, fiber::FileNotFoundError, fiber::FileExistsError,
         fiber::IsADirectoryError, fiber::NotADirectoryError, fiber::PermissionError,
         fiber::BlockingIOError, fiber::ProcessLookupError, fiber::ConnectionError,
         fiber::ConnectionRefusedError, fiber::ConnectionResetError, fiber::ConnectionAbortedError,
         fiber::BrokenPipeError>;

template <class E>
[[noreturn]] void fail() {
  if constexpr (std::derived_from<E, fiber::OSError>)
    throw E(EMLINK, "detail");
  else if constexpr (std::same_as<E, fiber::SystemExit>)
    throw E(7);
  else
    throw E("text");
}

template <class E>
void check_type(ProcessPoolExecutor& pool) {
  std::string expected;
  try {
    fail<E>();
  } catch (...) {
    expected = fiber::repr(std::current_exception());
  }
  CAPTURE(expected);
  const std::exception_ptr error = pool.submit(&fail<E>).exception();
  CHECK(fiber::repr(error) == expected);
  try {
    std::rethrow_exception(error);
  } catch (const E& e) {
    CHECK(typeid(e) == typeid(E));
    if constexpr (std::derived_from<E, fiber::OSError>) CHECK(e.error_number() == EMLINK);
  } catch (...) {
    FAIL_CHECK("another type");
  }
}

template <class... E>
void check_types(ProcessPoolExecutor& pool, List<E...>) {
  (check_type<E>(pool), ...);
}

template <class... E>
std::set<std::string> names(List<E...>) {
  std::set<std::string> all;
  const auto add = [&](const std::type_info& type) {
    const std::string name = fiber::core::demangle(type);
    all.insert(name.substr(name.rfind(':') + 1));
  };
  (add(typeid(E)), ...);
  return all;
}

// Returns the names of the classes in a header that derive from another, which are exceptions.
std::set<std::string> classes_in(const std::filesystem::path& header) {
  static const std::regex kClass("^(?:class|struct) (?:FIBER_API )?(\\w+)[^;]*: *public ");
  std::set<std::string> found;
  std::ifstream in(header);
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_search(line, match, kClass)) found.insert(match[1]);
  }
  return found;
}

// Errors of a program's own.
struct OwnError : fiber::OSError {
  using OSError::OSError;
};
struct OwnText : OwnError {
  OwnText() : OwnError(ENOENT, "name") {}
  const char* what() const noexcept override { return "its own text"; }
};
struct OwnTimeout : fiber::TimeoutError {};

}  // namespace

TEST_CASE("every built-in exception comes back with its type, its message and its number") {
  ProcessPoolExecutor pool({.max_workers = 1});
  check_types(pool, Builtin());
}

TEST_CASE("an OSError without a number, and one with a text of its own, stay what they are") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto error = [&](auto fn) { return fiber::repr(pool.submit(fn).exception()); };
  CHECK(error([] { throw fiber::NotADirectoryError("text"); }) == "NotADirectoryError('text')");
  CHECK(error([] { throw fiber::OSError(""); }) == "OSError()");
  CHECK(error([] { throw fiber::TimeoutError(); }) == "TimeoutError()");
  CHECK(error([] { throw OwnError("text"); }) == "OSError('text')");
  CHECK(error([] { throw OwnTimeout(); }) == "OSError('OwnTimeout')");
}

TEST_CASE("an unknown error that derives from OSError comes back as OSError, with its number") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto check = [&](auto fn, const std::string& text) {
    try {
      pool.submit(fn).result();
      FAIL("no error");
    } catch (const fiber::OSError& e) {
      CHECK(typeid(e) == typeid(fiber::OSError));
      CHECK(e.error_number() == ENOENT);
      CHECK(e.what() == text);
    }
  };
  check([] { throw OwnError(ENOENT, "name"); }, "[Errno 2] No such file or directory: name");
  check([] { throw OwnText(); }, "its own text");
}

// An exception that is added to the library has to be added to Builtin above, where the first test
// finds it missing in the list of the pool.
TEST_CASE("the list of this test has every exception of the headers") {
  const char* root = std::getenv("FIBER_SOURCE_ROOT");
  if (root == nullptr) {
    MESSAGE("FIBER_SOURCE_ROOT is not set: meson sets it");
    return;
  }
  const std::filesystem::path folder = std::filesystem::path(root) / "fiber";
  std::set<std::string> declared = classes_in(folder / "exceptions.hpp");
  for (const auto& entry : std::filesystem::directory_iterator(folder / "exceptions"))
    if (entry.path().extension() == ".hpp") declared.merge(classes_in(entry.path()));
  declared.insert("BaseException");  // the one that derives from nothing
  const std::set<std::string> listed = names(Builtin());
  std::string missing;
  for (const std::string& name : declared)
    if (!listed.contains(name)) missing += name + " ";
  CHECK(missing == "");
  CHECK(declared.size() == listed.size());
}

// ThreadSanitizer knows no cancelled threads.
#if !defined(FIBER_TSAN)
namespace {

int half(int x) { return x / 2; }

}  // namespace

TEST_CASE("a thread that is cancelled in the first submit() leaves the pool usable") {
  if (support::lacks_forced_unwinding()) return;
  ProcessPoolExecutor pool({.max_workers = 1});
  std::thread([&] {
    ::pthread_cancel(::pthread_self());
    static_cast<void>(pool.submit(half, 4));
    ::pthread_testcancel();
  }).join();
  CHECK(pool.submit(half, 6).result() == 3);
}
#endif

namespace {
ProcessPoolExecutor* of_the_parent = nullptr;
}

TEST_CASE("a pool whose workers have been forked refuses calls in a child process") {
  ProcessPoolExecutor pool({.max_workers = 1});
  of_the_parent = &pool;
  const auto use = [] {
    of_the_parent->shutdown();  // nothing to wait for
    of_the_parent->submit([] {}).result(std::chrono::seconds(5));
  };
  const auto refused = [](const std::exception_ptr& error) {
    return fiber::repr(error).starts_with(
        "RuntimeError('the workers of this executor are those of");
  };
  CHECK(refused(pool.submit(use).exception()));
  const pid_t child = fork();
  if (child == 0) {
    try {
      use();
    } catch (...) {
      std::_Exit(refused(std::current_exception()) ? 0 : 1);
    }
    std::_Exit(2);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(pool.submit([] { return 7; }).result() == 7);
}
