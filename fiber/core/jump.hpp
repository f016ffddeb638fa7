// The jump from one stack to another, Boost.Context's: the part of a switch that depends on the
// processor.
//
//   Context* jump(Context& from, const Context& to)   leaves `from` and continues `to`, which must
//                                                     be the very object that was left; returns the
//                                                     origin, once something jumps back
//   Context fresh<entry>(Stack* stack)                calls entry(origin) on an unused stack; it
//                                                     must not return
//
// The jump keeps the modes of floating-point arithmetic for each stack: on x86-64 both control
// words, flags included. On arm64, POWER and RISC-V Boost.Context leaves the control register
// alone; jump() keeps it there. On POWER Boost.Context forgets the registers for numbers and
// vectors that a called function must keep, and the two words by which a profiler finds the frame
// above: jump() has the compiler keep nothing in those registers, and writes the words.
//
// Programs need Boost's library and none of its headers: its two functions are declared here under
// names of ours, with the symbols of the Boost for which this library was configured. jump.cpp
// compares the declarations with Boost's own header, and meson.build links the functions. They are
// called directly: a function of ours around the call would return right after a switch, see
// FIBER_INLINE.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/float_modes.hpp>
#include <fiber/core/stack.hpp>

#include <cstddef>

// The symbols are plain C up to Boost 1.86, and mangled names of functions in a namespace from then
// on.
#if !defined(FIBER_MANGLED_FCONTEXT)
#define FIBER_JUMP_FCONTEXT "jump_fcontext"
#define FIBER_MAKE_FCONTEXT "make_fcontext"
#elif __SIZEOF_SIZE_T__ == __SIZEOF_LONG__ && __SIZEOF_LONG__ != __SIZEOF_INT__
#define FIBER_JUMP_FCONTEXT "_ZN5boost7context6detail13jump_fcontextEPvS2_"
#define FIBER_MAKE_FCONTEXT "_ZN5boost7context6detail13make_fcontextEPvmPFvNS1_10transfer_tEE"
#else
#define FIBER_JUMP_FCONTEXT "_ZN5boost7context6detail13jump_fcontextEPvS2_"
#define FIBER_MAKE_FCONTEXT "_ZN5boost7context6detail13make_fcontextEPvjPFvNS1_10transfer_tEE"
#endif

namespace fiber::core {

// The counterpart of Boost's transfer_t.
struct BoostTransfer {
  void* context;
  void* data;
};

extern "C" BoostTransfer fiber_boost_jump(void* to, void* data) asm(FIBER_JUMP_FCONTEXT);
extern "C" void* fiber_boost_make(void* top, std::size_t size,
                                  void (*function)(BoostTransfer)) asm(FIBER_MAKE_FCONTEXT);

#undef FIBER_JUMP_FCONTEXT
#undef FIBER_MAKE_FCONTEXT

#if defined(__powerpc64__)
// Bytes by which Boost's jump lowers the stack pointer to save registers. A frame's first word is
// the address of the frame above, its third the return address of the function that it has called.
inline constexpr int kPowerFrame = 184;
#endif

// Always inlined: ThreadSanitizer counts the calls on each stack, and would miscount a function
// that is entered for one stack and left on another, if it is inlined on one side only.
FIBER_INLINE Context* jump(Context& from, const Context& to) noexcept {
#if defined(FIBER_JUMP_LEAVES_FLOAT_CONTROL)
  from.float_control = float_control();
#endif
#if defined(__powerpc64__)
  asm volatile("std 1, %0(1)\n\tstd %1, 16(1)" : : "n"(-kPowerFrame), "r"(0L) : "memory");
#endif
  const BoostTransfer arrived = fiber_boost_jump(to.sp, &from);
#if defined(__powerpc64__)
  asm volatile(""
               :
               :
               : "fr14", "fr15", "fr16", "fr17", "fr18", "fr19", "fr20", "fr21", "fr22", "fr23",
                 "fr24", "fr25", "fr26", "fr27", "fr28", "fr29", "fr30", "fr31", "v20", "v21",
                 "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
#endif
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.context;
#if defined(FIBER_JUMP_LEAVES_FLOAT_CONTROL)
  if (origin->float_control != from.float_control) [[unlikely]]
    set_float_control(from.float_control);
#endif
  return origin;
}

template <void (*entry)(Context* origin)>
void boost_entry(BoostTransfer arrived) {
  FIBER_FIRST_FRAME;
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.context;
  entry(origin);
}

template <void (*entry)(Context* origin)>
Context fresh(Stack* stack) noexcept {
  std::byte* top = stack->top();
  Context context;
  context.sp =
      fiber_boost_make(top, static_cast<std::size_t>(top - stack->base), &boost_entry<entry>);
#if defined(__powerpc64__)
  auto** frame = static_cast<void**>(context.sp);
  frame[0] = frame + kPowerFrame / sizeof(void*);
  frame[kPowerFrame / sizeof(void*) + 2] = nullptr;
#endif
  return context;
}

}  // namespace fiber::core
