// Some tests do less under Valgrind, which is some fifty times as slow as the processor, and much
// more so with thousands of stacks, or leave out what it does not imitate.
#pragma once

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

// How often to do what is done `count` times elsewhere.
inline int times(int count) { return on_valgrind() ? count / 100 : count; }

}  // namespace support
