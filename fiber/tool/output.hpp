// The end of a tool's output, which may fail: stdout is closed, a disk is full.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace fiber::tool {

// Writes the rest of the output. Returns false, after a line on stderr, if some of the output could
// not be written.
inline bool finish_output(const char* tool) noexcept {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  std::fprintf(stderr, "%s: cannot write the output: %s\n", tool, std::strerror(errno));
  return false;
}

}  // namespace fiber::tool
