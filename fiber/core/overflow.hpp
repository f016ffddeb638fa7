// A stack that overflows ends the process with a message that says which fiber it was.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>

namespace fiber::core {

// Gives the thread an alternate signal stack, unless it has one, and installs the process-wide
// handler for SIGSEGV and SIGBUS at first use. Faults that are no overflow of a fiber's stack go
// to whatever handler was installed before.
class OverflowGuard {
 public:
  OverflowGuard() noexcept;
  ~OverflowGuard();
  OverflowGuard(const OverflowGuard&) = delete;
  OverflowGuard& operator=(const OverflowGuard&) = delete;

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace fiber::core
