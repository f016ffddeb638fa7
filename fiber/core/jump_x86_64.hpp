// Our own jump, for the x86-64 ABI of System V. Included by jump.hpp.
//
// To the compiler it is a call of a function like others: whatever registers a processor has, the
// caller keeps alive what a call may spoil, and the function keeps the six that it may not. Of the
// modes of arithmetic it reads the x87's control word alone, which is most of what it gains over
// Boost.Context's: that also saves and loads MXCSR, and both loads wait for all that is under way.
//
// Trusting it costs this. It is ours, not a library's that many use: jump_x86_64.cpp is thirty
// instructions that no compiler checks, with the unwinding rules written beside each. A fiber's
// flush-to-zero and denormals-are-zero are the thread's, unless keep_mxcsr() was called. It is for
// one processor and one ABI. And it knows nothing of shadow stacks: objects that would claim them
// are refused by config.hpp, and the library's own claims none, so that a program is linked
// without.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/stack.hpp>

#if defined(FIBER_NATIVE_JUMP)
#include <cstddef>
#include <cstdint>

namespace fiber::core {

struct NativeTransfer {
  void* context;  // the stack pointer of what was left
  void* data;
};

// Leaves the running stack, of which it returns the stack pointer there, for `to`.
FIBER_API NativeTransfer native_jump(void* to, void* data);

// Bytes that native_jump() saves: six registers, and the return address above.
inline constexpr std::size_t kNativeFrame = 7 * sizeof(void*);

// Gives a fiber its own modes back, when it continues after one that has others.
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
  // As if it had been called: the stack pointer is aligned but for a return address, which is null.
  auto top = reinterpret_cast<std::uintptr_t>(stack->top()) & ~std::uintptr_t{15};
  auto** end = reinterpret_cast<void**>(top);
  *--end = nullptr;
  *--end = reinterpret_cast<void*>(&native_entry<entry>);
  *--end = nullptr;  // rbp: where frame pointers are followed, they end here
  Context context;
  context.sp = end - 5;  // registers that nobody has set yet
  return context;
}

}  // namespace fiber::core

#endif
