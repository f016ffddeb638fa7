// Under Valgrind some tests do less, since it is some fifty times as slow as the processor, and
// much slower with thousands of stacks; others are skipped, since it does not imitate everything.
#pragma once

#include <cstdlib>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

namespace support {

inline bool on_valgrind() {
#if defined(RUNNING_ON_VALGRIND)
  return RUNNING_ON_VALGRIND != 0;
#else
  return false;
#endif
}

// Returns whether the processor is emulated, which test/support/cross/processor.ini.in tells.
inline bool on_emulator() { return std::getenv("FIBER_EMULATOR") != nullptr; }

// Returns how often to repeat an action that is repeated `count` times elsewhere.
inline int times(int count) { return on_valgrind() ? count / 100 : count; }

}  // namespace support
