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

// Returns the name of the generator that owns the stack, "" if it has none, null if no generator
// does: a generator runs as a part of a greenlet or task, which is not to blame. Set by the layer
// of generators in threads that have some. Called in a signal handler.
using GeneratorNamer = const char* (*)(const Stack* stack) noexcept;
extern constinit thread_local GeneratorNamer tls_generator_on FIBER_TLS_MODEL;

}  // namespace fiber::core
