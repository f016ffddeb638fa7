// The jump from one stack to another: the part of a switch that depends on the processor.
//
// It is that of Boost.Context. Where the library was configured with -Dcontext=native it is ours,
// for x86-64 alone: see jump_x86_64.hpp for what that gains and what it costs.
//
// Both have the same two functions:
//   Context* jump(Context& from, const Context& to)   leaves `from` and continues `to`, which must
//                                                     be the very object that was left; returns the
//                                                     origin, once something jumps back
//   Context fresh<entry>(Stack* stack)                calls entry(origin) on an unused stack; it
//                                                     must not return
// Boost.Context's keeps the whole control register of the vector unit, for three quarters of the
// time it takes. Ours keeps the modes of <cfenv> (rounding, traps), which the x87 has as well; the
// flags, and what <cfenv> does not know (flush-to-zero), are the thread's, unless keep_mxcsr() was
// called. Where Boost.Context's leaves the control register alone, on arm64, jump_boost.hpp keeps it.
#pragma once

#include <fiber/config.hpp>

#if defined(FIBER_NATIVE_JUMP)
#include <fiber/core/jump_x86_64.hpp>
#else
#include <fiber/core/jump_boost.hpp>
#endif
