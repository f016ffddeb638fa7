// The jump from one stack to another: the part of a switch that depends on the processor.
//
// The jump is Boost.Context's. With -Dcontext=native it is the library's own, for x86-64 alone:
// jump_x86_64.hpp says what that gains and what it costs.
//
// Both jumps have these two functions:
//   Context* jump(Context& from, const Context& to)   leaves `from` and continues `to`, which must
//                                                     be the very object that was left; returns the
//                                                     origin, once something jumps back
//   Context fresh<entry>(Stack* stack)                calls entry(origin) on an unused stack; it
//                                                     must not return
// Boost.Context's jump keeps the whole control register of the vector unit, which takes three
// quarters of its time. The native jump keeps the modes of <cfenv> (rounding, traps), which the x87
// has as well; the flags, and modes that <cfenv> does not know (flush-to-zero), are the thread's,
// unless keep_mxcsr() was called. On arm64, Boost.Context's jump does not keep the control
// register; jump_boost.hpp does.
#pragma once

#include <fiber/config.hpp>

#if defined(FIBER_NATIVE_JUMP)
#include <fiber/core/jump_x86_64.hpp>
#else
#include <fiber/core/jump_boost.hpp>
#endif
