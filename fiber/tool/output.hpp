// The output of a tool, which may not arrive: stdout is closed, a disk is full.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace fiber::tool {

// Writes what is left of the output. Returns false after saying on stderr why some did not arrive.
inline bool finish_output(const char* tool) noexcept {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  std::fprintf(stderr, "%s: cannot write the output: %s\n", tool, std::strerror(errno));
  return false;
}

}  // namespace fiber::tool
