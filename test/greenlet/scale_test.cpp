// Many greenlets at once: their cost, and the limits. FIBER_SCALE_GREENLETS sets the number; `meson
// test --benchmark` runs a million.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/valgrind.hpp"

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers keep much memory for each stack

using fiber::getcurrent;
using fiber::greenlet;
using support::run_forked;
using support::thrown_by;

namespace {

// Returns the bytes of a line "Name:  number kB" of a file of /proc; 0 if there is none.
std::size_t bytes_in(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.rfind(name + ":", 0) == 0) return std::stoul(line.substr(name.size() + 1)) * 1024;
  return 0;
}

long mappings() {
  std::ifstream file("/proc/self/maps");
  long count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

// Returns whether guards need no mappings of their own here (Linux 6.13).
bool has_guard_regions() {
  fiber::core::StackPool pool;
  const long before = mappings();
  std::vector<fiber::core::Stack*> all;
  for (int i = 0; i < 100; ++i) all.push_back(pool.allocate(fiber::core::kDefaultStackSize));
  const bool without = mappings() < before + 50;
  for (fiber::core::Stack* stack : all) pool.release(stack);
  return without;
}

}  // namespace

// More than twice the number for which the default limit of mappings would suffice. Valgrind has no
// guard regions, and would take minutes.
TEST_CASE("suspended greenlets with guards cost a page each and no mappings" *
          doctest::skip(support::on_valgrind())) {
  if (!has_guard_regions()) {
    MESSAGE("skipped: this kernel's guards take mappings");
    return;
  }
  const char* wanted = std::getenv("FIBER_SCALE_GREENLETS");
  const std::size_t count = wanted != nullptr ? std::stoul(wanted) : 50'000;
  if (bytes_in("/proc/meminfo", "MemAvailable") < count * 8192) {
    MESSAGE("skipped: too little memory");
    return;
  }
  const auto ended = run_forked([count] {
    std::vector<greenlet> all;
    all.reserve(count);
    std::size_t sum = 0;
    const std::size_t before = bytes_in("/proc/self/status", "VmRSS");
    const long mappings_before = mappings();
    for (std::size_t i = 0; i < count; ++i) {
      all.emplace_back([&sum](std::size_t number) {
        getcurrent().parent().switch_();
        sum += number;
      });
      all.back().switch_(i);
    }
    const std::size_t each = (bytes_in("/proc/self/status", "VmRSS") - before) / count;
    std::printf("%zu stacks, %s, %s\n", fiber::core::thread_state().pool.census().in_use,
                mappings() - mappings_before < 100 ? "few mappings" : "too many mappings",
                each <= 4608 ? "small" : (std::to_string(each) + " bytes each").c_str());
    for (const greenlet& g : all) g.switch_();
    std::puts(sum == count * (count - 1) / 2 ? "all resumed" : "some lost");
  });
  CHECK(ended.out() == std::to_string(count) + " stacks, few mappings, small\nall resumed\n");
  CHECK(ended.status == 0);
}

// Valgrind has mappings of its own, and a limit of its own on them.
TEST_CASE("without guard regions the limit on mappings is a MemoryError, before the kernel's own" *
          doctest::skip(support::on_valgrind())) {
  std::size_t limit = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  if (limit > 100'000) {  // raised: coming near it would take too long
    MESSAGE("skipped: vm.max_map_count is high");
    return;
  }
  const auto ended = run_forked([] {
    fiber::core::stack_limits().guard_install = false;
    std::vector<greenlet> all;
    std::string error;
    while (error.empty()) {
      greenlet g([] { getcurrent().parent().switch_(); });
      error = thrown_by([&] { g.switch_(); });
      if (error.empty())
        all.push_back(std::move(g));
      else
        std::puts(g.dead() || g ? "not pending" : "pending");
    }
    const std::string start =
        "MemoryError('cannot guard another fiber stack: the process is near the limit "
        "vm.max_map_count with ";
    std::puts(error.rfind(start + std::to_string(all.size()) + " guarded stacks", 0) == 0
                  ? "named"
                  : error.c_str());
    std::puts(all.size() > 1000 ? "many" : "few");
    for (const greenlet& g : all) g.switch_();
    // The rest of the program still has room.
    std::vector<std::unique_ptr<char[]>> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(std::make_unique<char[]>(1 << 20));
    greenlet([] { std::puts("one more, on a stack used before"); }).switch_();
  });
  CHECK(ended.out() == "pending\nnamed\nmany\none more, on a stack used before\n");
  CHECK(ended.status == 0);
}

#endif
