// The switch: one place where a thread leaves one stack for another. jump.hpp has the jump itself.
//
// Invariants
//  1. A switch saves and restores: the registers that a called function must keep, the modes of
//     floating-point arithmetic, the C++ runtime's record of caught and uncaught exceptions, errno.
//  2. Nothing is thrown on top of the target: exceptions travel as data and are rethrown by code
//     that has arrived.
//  3. Exceptions are rarely caught or in flight where a switch is made. If they are, the record
//     is put away on the stack that is left; otherwise nothing of the record is written. So
//     during a switch, and where a fiber begins, the thread's record is empty.
//  4. The stack of a dying fiber is given back by the code that the fiber switches to, after
//     arrival.
//
// The switch is inline up to the jump. A processor predicts returns from the calls that it has
// seen: after a jump, each return from a function that was called before costs a misprediction.
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

// A suspended place in a program: filled by the switch that leaves it.
struct Context {
  void* sp = nullptr;  // where the jump has saved the registers: Boost.Context's handle
  Stack* stack = nullptr;
  std::uint32_t float_control = 0;  // the control register where the jump leaves it alone
};

using StartFunction = void (*)(void* argument);

// Leaves the running fiber for good: its stack returns to the pool once `to` runs.
[[noreturn]] FIBER_API void exit_context(const Context& to) noexcept;

// Leaves the running fiber for good, and calls function(argument) on the fresh stack `stack`.
[[noreturn]] FIBER_API void exit_to_start(Stack* stack, StartFunction function,
                                          void* argument) noexcept;

// The stack that the library's own functions need, to read symbols or to write a call graph.
// Demangling a usual name may take 64 KiB and some levels of recursion.
inline constexpr std::size_t kRoom = std::size_t{160} * 1024;

// Calls function(argument): in place where `bytes` are left on the running stack, else on a roomy
// stack of its own. The function must not switch. Throws what the function throws.
FIBER_API void call_with_room(void (*function)(void* argument), void* argument, std::size_t bytes);

template <class F>
void with_room(F function, std::size_t bytes = kRoom) {
  call_with_room([](void* argument) { (*static_cast<F*>(argument))(); }, &function, bytes);
}

}  // namespace fiber::core
