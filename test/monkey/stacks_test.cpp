// Stacks of tasks in a patched program.
#include <fiber/stacks.hpp>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>

#include "monkey/old_calls.hpp"
#include "monkey/support.hpp"

using namespace monkey_test;
namespace stacks = fiber::stacks;

namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

std::pair<std::size_t, std::size_t> sizes() {
  return {stacks::default_size(), stacks::default_guard_size()};
}
constexpr std::pair<std::size_t, std::size_t> kOrdinary{256 * kKiB, 68 * kKiB};
constexpr std::pair<std::size_t, std::size_t> kLarge{kMiB, kMiB};

}  // namespace

TEST_CASE("stacks of a patched program have 1 MiB and a guard as wide, also in new threads") {
  CHECK(sizes() == kOrdinary);
  {
    const Patch patch;
    CHECK(sizes() == kLarge);
    std::thread([] {
      CHECK(sizes() == kLarge);
      stacks::default_size(64 * kKiB);
      CHECK(stacks::default_size(0) == 64 * kKiB);  // 0: the size at first, again
      CHECK(sizes() == kLarge);
    }).join();
  }
  CHECK(sizes() == kOrdinary);
  std::thread([] { CHECK(sizes() == kOrdinary); }).join();
  calls::usleep(1);  // a reference, which has the object loaded
  CHECK(monkey::patch_library("libmonkey_calls.so") > 0);
  CHECK(sizes() == kLarge);
  monkey::unpatch();
  CHECK(sizes() == kOrdinary);
}

TEST_CASE("sizes that the program has chosen stay") {
  stacks::default_size(512 * kKiB);
  {
    const Patch patch;
    CHECK(stacks::default_size() == 512 * kKiB);
  }
  CHECK(stacks::default_size(0) == 512 * kKiB);
  CHECK(sizes() == kOrdinary);
}

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers make frames several times as large
TEST_CASE("a task has room for what libc and the C++ library need") {
  run([] {
    for (const OldCall& call : kOldCalls) {
      CAPTURE(std::string(call.name));
      bool done = false;
      await(asyncio::create_task([&] {
        call.run();
        done = true;
      }));
      CHECK(done);
    }
  });
}
#endif
