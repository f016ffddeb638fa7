// The jump from one stack to another: the part of a switch that depends on the processor.
//
// On x86-64 it is ours, a handful of instructions in the middle of the function that switches: the
// compiler knows which registers hold something, and saves these alone. Elsewhere, and where
// FIBER_BOOST_CONTEXT is defined (meson setup -Dcontext=boost), it is that of Boost.Context.
//
// Both have the same two functions:
//   Arrival jump(Context& from, const Context& to)   leaves `from` and continues `to`, which must
//                                                    be the very object that was left
//   Context fresh<entry>(Stack* stack)               what calls entry(origin) on an unused stack;
//                                                    it must not return
// Boost.Context's keeps the whole control register of the vector unit, for three quarters of the time
// it takes. Ours keeps the modes of <cfenv> (rounding, traps), which the x87 has as well; the flags,
// and what <cfenv> does not know (flush-to-zero), are the thread's, unless keep_mxcsr() was called.
#pragma once

#include <fiber/core/config.hpp>

#if defined(FIBER_OWN_JUMP)
#include <fiber/core/jump_x86_64.hpp>
#else
#include <fiber/core/jump_boost.hpp>
#endif
