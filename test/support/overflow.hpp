// A stack that overflows, and the report that ends the process.
#pragma once

#include <string>

namespace support {

// Recurses by frames of some 512 bytes.
inline int recurse(int depth) {
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

inline void overflow() { recurse(1 << 30); }

inline std::string overflow_report(const std::string& who, int kib = 256) {
  return "fiber: stack overflow in " + who + ": its stack of " + std::to_string(kib) +
         " KiB is used up; give it a larger one with the option stack_size, or all "
         "with fiber::stacks::default_size()\n";
}

}  // namespace support
