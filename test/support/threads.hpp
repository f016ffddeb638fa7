// The threads of this process.
#pragma once

#include <filesystem>
#include <iterator>

namespace support {

// Returns how many there are now.
inline int threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<int>(std::distance(begin(tasks), end(tasks)));
}

}  // namespace support
