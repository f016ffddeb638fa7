// Linked with -static-libstdc++ -static-libgcc: the C++ runtime's state for each thread is in the
// program itself.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <thread>

#include <cxxabi.h>
#include <dlfcn.h>

namespace asyncio = fiber::asyncio;
using asyncio::await;

TEST_CASE("the C++ runtime is the program's own") {
  Dl_info runtime{}, program{};
  const auto file_of = [](auto* function, Dl_info& info) {
    return ::dladdr(reinterpret_cast<void*>(function), &info) != 0;
  };
  REQUIRE(file_of(&abi::__cxa_get_globals, runtime));
  REQUIRE(file_of(&fiber::getcurrent, program));
  CHECK(runtime.dli_fbase == program.dli_fbase);
}

TEST_CASE("exceptions are thrown, caught and switched away from, in every thread") {
  const auto program = [] {
    const fiber::greenlet g([] {
      try {
        throw std::runtime_error("inner");
      } catch (const std::exception&) {
        fiber::getcurrent().parent().switch_(1);
        throw;
      }
    });
    try {
      throw std::logic_error("outer");
    } catch (const std::logic_error& outer) {
      CHECK(g.switch_().as<int>() == 1);
      CHECK_THROWS_WITH_AS(g.switch_(), "inner", std::runtime_error);
      CHECK(std::string(outer.what()) == "outer");
      CHECK(std::uncaught_exceptions() == 0);
    }
    const int sum = asyncio::run([] {
      const auto task = asyncio::create_task([]() -> int { throw std::out_of_range("task"); });
      CHECK_THROWS_AS(await(task), std::out_of_range);
      return await(asyncio::to_thread([] { return 42; }));
    });
    CHECK(sum == 42);
  };
  program();
  std::thread(program).join();
}
