// A stack that overflows ends the process with a message that says which fiber it was.
#pragma once

#include <fiber/core/thread_state.hpp>

#include <cstddef>

namespace fiber::core {

// Gives the thread an alternate signal stack, unless it has one, and installs the process-wide
// handler for SIGSEGV and SIGBUS at first use. Faults that are no overflow of a fiber's stack go to
// the handler that was installed before.
class OverflowGuard {
 public:
  explicit OverflowGuard(ThreadState& thread) noexcept;
  ~OverflowGuard();
  OverflowGuard(const OverflowGuard&) = delete;
  OverflowGuard& operator=(const OverflowGuard&) = delete;

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

// Code with a stack of its own that runs on behalf of a fiber. If its stack overflows, the report
// names this code, and not the fiber.
struct Part {
  const char* kind = nullptr;  // as the report says it; null if there is no such part
  const char* name = "";       // "" if it has none
};
// Returns the part that owns the stack. Set by a higher layer in threads that have parts. Called in
// a signal handler.
using PartFinder = Part (*)(const Stack* stack) noexcept;
extern constinit thread_local PartFinder tls_part_on FIBER_TLS_MODEL;

}  // namespace fiber::core
