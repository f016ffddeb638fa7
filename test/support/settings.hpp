// Settings of long tests, in the environment.
#pragma once

#include <cstdlib>

namespace support {

// Returns the number in a variable of the environment; without the variable, `otherwise`.
inline long number_from(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : otherwise;
}

}  // namespace support
