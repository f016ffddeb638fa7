#pragma once

#include <fiber/contextvars.hpp>

namespace support {

/// Leaves the current greenlet without a context at its end, as it was at the start.
struct Clean {
  Clean() { fiber::contextvars::gr_context(fiber::getcurrent(), nullptr); }
  Clean(const Clean&) = delete;
  Clean& operator=(const Clean&) = delete;
  ~Clean() { fiber::contextvars::gr_context(fiber::getcurrent(), nullptr); }
};

}  // namespace support
