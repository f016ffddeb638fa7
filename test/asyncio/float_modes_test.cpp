// Rounding belongs to a task: it does not leak into another task.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cfenv>
#include <chrono>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "support/vectors.hpp"

using namespace fiber::asyncio;
using namespace std::chrono_literals;

namespace {

// Sets the rounding, and restores the thread's modes when it ends.
struct Rounding {
  explicit Rounding(int mode) { std::fesetround(mode); }
  Rounding(const Rounding&) = delete;
  Rounding& operator=(const Rounding&) = delete;
  ~Rounding() { std::fesetround(before); }
  int before = std::fegetround();
};

}  // namespace

TEST_CASE("a task does not start with the rounding mode that another one ended with") {
  std::vector<int> modes;
  run([&] {
    for (int round = 0; round < 2; ++round) {  // on new stacks, and on used ones
      std::vector<Task<>> tasks;
      for (int i = 0; i < 3; ++i)
        tasks.push_back(create_task([&] {  // each starts on the stack of the one before
          modes.push_back(std::fegetround());
          std::fesetround(FE_UPWARD);
        }));
      await(gather(tasks));
      modes.push_back(std::fegetround());
    }
  });
  CHECK(modes == std::vector<int>(8, FE_TONEAREST));
}

TEST_CASE("a task does not start with the rounding mode of a task that waits") {
  std::vector<int> modes;
  run([&] {
    const auto waiting = create_task([&] {
      std::fesetround(FE_DOWNWARD);
      await(sleep(0s));
      modes.push_back(std::fegetround());
    });
    const auto other = create_task([&] { modes.push_back(std::fegetround()); });
    await(gather(waiting, other));
    modes.push_back(std::fegetround());
  });
  CHECK(modes == std::vector<int>{FE_TONEAREST, FE_DOWNWARD, FE_TONEAREST});
  CHECK(std::fegetround() == FE_TONEAREST);
}

#if defined(__SSE2__)
TEST_CASE("a task does not start with the vector unit's bits that another one ended with") {
  constexpr unsigned int flush_to_zero = 0x8000, denormals_are_zero = 0x40;
  std::vector<unsigned int> bits;
  run([&] {
    for (int i = 0; i < 4; ++i)
      await(create_task([&] {
        bits.push_back(_mm_getcsr() & (flush_to_zero | denormals_are_zero));
        _mm_setcsr(_mm_getcsr() | flush_to_zero | denormals_are_zero);
      }));
    bits.push_back(_mm_getcsr() & (flush_to_zero | denormals_are_zero));
  });
  CHECK(bits == std::vector<unsigned int>(5, 0));
}
#endif

TEST_CASE("tasks start with the floating-point modes of the code that runs the loop") {
  std::vector<int> modes;
  const Rounding up(FE_UPWARD);
  run([&] {
    const auto first = create_task([&] { std::fesetround(FE_TOWARDZERO); });
    const auto second = create_task([&] { modes.push_back(std::fegetround()); });
    await(gather(first, second));
    modes.push_back(std::fegetround());
  });
  modes.push_back(std::fegetround());
  CHECK(modes == std::vector<int>{FE_UPWARD, FE_UPWARD, FE_UPWARD});
}

TEST_CASE("arithmetic follows the mode that a task starts with") {
  volatile double one = 1, three = 3;
  std::vector<double> thirds;
  run([&] {
    const auto first = create_task([&] {
      std::fesetround(FE_UPWARD);
      thirds.push_back(one / three);
    });
    const auto second = create_task([&] { thirds.push_back(one / three); });
    await(gather(first, second));
    thirds.push_back(one / three);
  });
  CHECK(thirds[0] > thirds[1]);
  CHECK(thirds[1] == thirds[2]);
}
