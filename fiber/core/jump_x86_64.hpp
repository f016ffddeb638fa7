// Our own jump, for the x86-64 ABI of System V. Included by jump.hpp.
//
// To the compiler this jump is a call of a function like others: the caller keeps alive whatever
// registers a call may spoil, and the function keeps the six that it may not. Of the modes of
// arithmetic it reads the x87's control word alone. That is most of what it gains over
// Boost.Context's jump, which also saves and loads MXCSR: both loads wait for all instructions
// under way.
//
// The price: this jump is ours, not a library's with many users. jump_x86_64.cpp is thirty
// instructions that no compiler checks, with the unwinding rules written beside each. Flush-to-zero
// and denormals-are-zero are the thread's, not the fiber's, unless keep_mxcsr() was called. There
// is one processor and one ABI. Shadow stacks are not supported: config.hpp refuses objects that
// would claim them, and the library's own claims none, so that a program is linked without.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/stack.hpp>

#if defined(FIBER_NATIVE_JUMP)
#include <cstddef>
#include <cstdint>

namespace fiber::core {

struct NativeTransfer {
  void* context;  // the stack pointer of the context that was left
  void* data;
};

// Leaves the running stack for `to`. The result, on the stack `to`, has the left one's pointer.
FIBER_API NativeTransfer native_jump(void* to, void* data);

// Bytes that native_jump() saves: six registers, and the return address above them.
inline constexpr std::size_t kNativeFrame = 7 * sizeof(void*);

// Gives a fiber that continues its `own` modes back after `others` were set.
FIBER_API void restore_modes(std::uint16_t others, std::uint16_t own) noexcept;

FIBER_INLINE Context* jump(Context& from, const Context& to) noexcept {
  asm volatile("fnstcw %0" : "=m"(from.modes));
  const NativeTransfer arrived = native_jump(to.sp, &from);
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.context;
  if (origin->modes != from.modes) [[unlikely]]
    restore_modes(origin->modes, from.modes);
  return origin;
}

template <void (*entry)(Context* origin)>
void native_entry(NativeTransfer arrived) {
  FIBER_FIRST_FRAME;
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.context;
  entry(origin);
}

template <void (*entry)(Context* origin)>
Context fresh(Stack* stack) noexcept {
  // Laid out as if called: the stack pointer is aligned but for a return address, which is null.
  auto top = reinterpret_cast<std::uintptr_t>(stack->top()) & ~std::uintptr_t{15};
  auto** end = reinterpret_cast<void**>(top);
  *--end = nullptr;
  *--end = reinterpret_cast<void*>(&native_entry<entry>);
  *--end = nullptr;  // rbp: chains of frame pointers end at this null
  Context context;
  context.sp = end - 5;  // registers without a value yet
  return context;
}

}  // namespace fiber::core

#endif
