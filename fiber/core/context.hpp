// The switch: one place where a thread leaves one stack for another, on Boost.Context.
//
// Invariants
//  1. What a switch saves and restores: callee-saved registers and the floating-point control
//     words (Boost.Context), the C++ runtime's record of caught and uncaught exceptions, errno.
//  2. Nothing is thrown on top of the target: exceptions travel as data and are rethrown by code
//     that has arrived.
//  3. A stack is given back by whoever the dying fiber switches to, after arrival.
//
// The switch itself is inline up to the jump: a processor predicts returns by the calls it saw, and
// after a jump to another stack every return it has not seen the call of costs a misprediction.
#pragma once

#include <fiber/core/config.hpp>

namespace fiber::core {

struct Stack;

// Mirrors the C++ ABI's __cxa_eh_globals.
struct CxxExceptionState {
  void* caught;
  unsigned int uncaught;
};

// A place to come back to: filled by the switch that leaves it.
struct Context {
  void* sp = nullptr;
  void* caught = nullptr;
  unsigned int uncaught = 0;
  int error_number = 0;
  Stack* stack = nullptr;
};

using StartFunction = void (*)(void* argument);

// Leaves `from` and calls `function(argument)` at the top of a fresh stack. The function must end
// by exit_context; it starts with no exception caught or in flight.
FIBER_API void start_context(Context& from, Stack* stack, StartFunction function,
                             void* argument) noexcept;

// Leaves the running fiber for good: its stack returns to the pool once `to` runs.
[[noreturn]] FIBER_API void exit_context(const Context& to) noexcept;

// The same, continuing in a fresh stack.
[[noreturn]] FIBER_API void exit_to_start(Stack* stack, StartFunction function,
                                          void* argument) noexcept;

}  // namespace fiber::core
