// What the tests of unmodified libraries share.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <doctest/doctest.h>

#include <dirent.h>
#include <dlfcn.h>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace legacy_test {

namespace asyncio = fiber::asyncio;
namespace monkey = fiber::monkey;
using asyncio::await;
using namespace std::chrono_literals;

// The shared object that defines a function is patched while it lives; nothing else of the process.
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

inline int threads() {
  int count = 0;
  DIR* list = ::opendir("/proc/self/task");
  REQUIRE(list != nullptr);
  while (const dirent* entry = ::readdir(list))
    if (entry->d_name[0] != '.') ++count;
  ::closedir(list);
  return count;
}

// Runs `body(i)` in `count` tasks at once, prints how long it took, and checks that one thread did
// it all. Returns the seconds.
template <class F>
double at_once(const std::string& what, int count, F body) {
  const int before = threads();
  int most = 0;
  const auto start = std::chrono::steady_clock::now();
  std::vector<asyncio::Task<void>> tasks;
  for (int i = 0; i < count; ++i)
    tasks.push_back(asyncio::create_task([&, i] {
      body(i);
      most = std::max(most, threads());
    }));
  await(asyncio::gather(tasks));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(most == before);
  std::cout << count << " x " << what << ": " << took.count() << " s, " << most << " thread"
            << (most == 1 ? "" : "s") << std::endl;
  return took.count();
}

// Until `count`, which tasks count up before they wait, is `number`; and a little longer.
inline void until(const int& count, int number = 1) {
  while (count < number) await(asyncio::sleep(1ms));
  await(asyncio::sleep(50ms));
}

// Tells whether the task ends as cancelled.
template <class Task>
bool cancel(const Task& task) {
  task.cancel();
  await(asyncio::wait(std::vector{task}));
  return task.cancelled();
}

}  // namespace legacy_test
