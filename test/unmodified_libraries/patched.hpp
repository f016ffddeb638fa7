// Helpers of the tests of unmodified libraries.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/config.hpp>
#include <fiber/monkey.hpp>

#include <doctest/doctest.h>

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "support/threads.hpp"

namespace legacy_test {

namespace asyncio = fiber::asyncio;
namespace monkey = fiber::monkey;
using asyncio::await;
using namespace std::chrono_literals;
using support::threads;

// Patches the shared object that defines a function while it lives, and no other object.
class PatchedLibrary {
 public:
  explicit PatchedLibrary(const char* function) {
    Dl_info where{};
    REQUIRE(::dladdr(::dlsym(RTLD_DEFAULT, function), &where) != 0);
    REQUIRE(monkey::patch_library(where.dli_fname) > 0);
  }
  PatchedLibrary(const PatchedLibrary&) = delete;
  PatchedLibrary& operator=(const PatchedLibrary&) = delete;
  ~PatchedLibrary() { monkey::unpatch(); }
};

// ThreadSanitizer may have a thread of its own.
#if defined(FIBER_TSAN)
inline constexpr int kMostThreads = 2;
#else
inline constexpr int kMostThreads = 1;
#endif

// Runs `body(i)` in `count` tasks at once and checks that one thread ran all of them. Prints the
// whole time and the time of the fastest task, in a line that test/run shows; returns the seconds.
template <class F>
double at_once(const char* library, const std::string& what, int count, F body) {
  using Seconds = std::chrono::duration<double>;
  const auto start = std::chrono::steady_clock::now();
  const auto since = [](auto begin) {
    return Seconds(std::chrono::steady_clock::now() - begin).count();
  };
  int most = threads();
  double quickest = 1e9;
  std::vector<asyncio::Task<void>> tasks;
  for (int i = 0; i < count; ++i)
    tasks.push_back(asyncio::create_task([&, i] {
      const auto its_start = std::chrono::steady_clock::now();
      body(i);
      quickest = std::min(quickest, since(its_start));
      most = std::max(most, threads());
    }));
  await(asyncio::gather(tasks));
  const double took = since(start);
  CHECK(most <= kMostThreads);
  std::printf("legacy: %s: %d x %s: %.3f s in all, each %.3f s or more, in %d thread%s\n", library,
              count, what.c_str(), took, quickest, most, most == 1 ? "" : "s");
  std::fflush(stdout);
  return took;
}

// Waits until `count`, which tasks count up before they wait, is `number`; and a little longer.
inline void until(const int& count, int number = 1) {
  while (count < number) await(asyncio::sleep(1ms));
  await(asyncio::sleep(50ms));
}

// Cancels the task, and returns whether it ends as cancelled.
template <class Task>
bool cancel(const Task& task) {
  task.cancel();
  await(asyncio::wait(std::vector{task}));
  return task.cancelled();
}

}  // namespace legacy_test
