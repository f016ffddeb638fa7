// The switch: one place where a thread leaves one stack for another. jump.hpp has the jump itself.
//
// Invariants
//  1. What a switch saves and restores: the registers that a called function must keep, the modes
//     of floating-point arithmetic, the C++ runtime's record of caught and uncaught exceptions,
//     errno.
//  2. Nothing is thrown on top of the target: exceptions travel as data and are rethrown by code
//     that has arrived.
//  3. Exceptions are rarely caught or in flight where a switch is made. The record is put away on
//     the stack that is left then, and nothing of it is written otherwise: while a switch is made,
//     and where a fiber begins, the thread's record is empty.
//  4. A stack is given back by whoever the dying fiber switches to, after arrival.
//
// The switch itself is inline up to the jump: a processor predicts returns by the calls it saw, and
// after a jump to another stack every return it has not seen the call of costs a misprediction.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <cstdint>

namespace fiber::core {

struct Stack;

// Mirrors the C++ ABI's __cxa_eh_globals.
struct CxxExceptionState {
  void* caught;
  unsigned int uncaught;
};

// A place to come back to: filled by the switch that leaves it.
struct Context {
  void* sp = nullptr;  // where the jump has saved the registers: Boost.Context's handle
  Stack* stack = nullptr;
  std::uint16_t modes = 0;  // the x87 control word, where the jump is ours
  // MXCSR where it is kept (ThreadState::keeps_mxcsr), 0 if it was not; on arm64 FPCR.
  std::uint32_t float_control = 0;
};

using StartFunction = void (*)(void* argument);

// Leaves the running fiber for good: its stack returns to the pool once `to` runs.
[[noreturn]] FIBER_API void exit_context(const Context& to) noexcept;

// The same, continuing in a fresh stack.
[[noreturn]] FIBER_API void exit_to_start(Stack* stack, StartFunction function,
                                          void* argument) noexcept;

// The stack that the library's own functions need: to read symbols, to write a call graph. To
// demangle a usual name may take 64 KiB of it, and some levels of recursion.
inline constexpr std::size_t kRoom = std::size_t{160} * 1024;

// Calls function(argument): in place where `bytes` are left on the running stack, else on a roomy
// stack of its own. The function must not switch. What it throws comes out here.
FIBER_API void call_with_room(void (*function)(void* argument), void* argument, std::size_t bytes);

template <class F>
void with_room(F function, std::size_t bytes = kRoom) {
  call_with_room([](void* argument) { (*static_cast<F*>(argument))(); }, &function, bytes);
}

}  // namespace fiber::core
