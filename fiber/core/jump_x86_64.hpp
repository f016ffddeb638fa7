// Our own jump, for the x86-64 ABI of System V. Included by jump.hpp.
//
// To the compiler it is a piece of code that spoils every register. The two that it would not let
// us name in all circumstances, rbp and rbx, are saved by hand. The stack itself is not written to:
// the function around may keep something below the stack pointer.
//
// Trusting it costs this. A call keeps what the ABI says a call keeps, whatever the compiler and the
// processor; the jump keeps what its list of spoilt registers says, in code of the user's that the
// user's compiler makes. So a register that a later processor has, and the list has not, is wrong
// data in programs compiled for that processor (the list is that of GCC 14's and Clang 19's targets:
// AVX-512 with all of its masks, APX). AMX's tiles and the bounds of MPX no compiler keeps across
// inline code. An unwinder that a signal starts in the middle of the jump must be told that the
// frame has no caller there, since the stack pointer is another stack's already: that is the
// .cfi_undefined, and code without unwind tables has none of it. Shadow stacks are refused.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/stack.hpp>

#if defined(FIBER_NATIVE_JUMP)
#include <cstddef>
#include <cstdint>

namespace fiber::core {

// Gives a fiber its own modes back, when it continues after one that has others.
FIBER_API void restore_modes(std::uint16_t others, std::uint16_t own) noexcept;

#if defined(__AVX512F__)
#define FIBER_SPOILT_AVX512                                                                        \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",      \
      "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5",    \
      "k6", "k7"
#else
#define FIBER_SPOILT_AVX512
#endif
#if defined(__APX_F__)
#define FIBER_SPOILT_APX                                                                           \
  , "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28",     \
      "r29", "r30", "r31"
#else
#define FIBER_SPOILT_APX
#endif
#if defined(__CET__)
#define FIBER_BRANCH_TARGET "endbr64\n\t"
#else
#define FIBER_BRANCH_TARGET
#endif

// From the moment the stack pointer is exchanged the function's unwinding rules are those of another
// stack. The frame has no caller meanwhile. Unwinders take a suspended one for a caller and look at
// the byte before its address, which must have the function's own rules again: the nop, which never
// runs.
#define FIBER_NO_CALLER ".cfi_remember_state\n\t.cfi_undefined rip\n\t"
#define FIBER_CALLER_AGAIN ".cfi_restore_state\n\tnop\n"

FIBER_INLINE Arrival jump(Context& from, const Context& to) noexcept {
  auto* origin = &from;
  auto* self = const_cast<Context*>(&to);
  asm volatile(
      "fnstcw %c[modes](%%rdi)\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rax, %c[ip](%%rdi)\n\t"
      "movq %%rsp, %c[sp](%%rdi)\n\t"
      "movq %%rbp, %c[bp](%%rdi)\n\t"
      "movq %%rbx, %c[bx](%%rdi)\n\t"
      FIBER_NO_CALLER
      "movq %c[sp](%%rsi), %%rsp\n\t"
      "movq %c[bp](%%rsi), %%rbp\n\t"
      "movq %c[bx](%%rsi), %%rbx\n\t"
      "jmpq *%c[ip](%%rsi)\n\t"
      FIBER_CALLER_AGAIN
      "1:\n\t" FIBER_BRANCH_TARGET
      : "+D"(origin), "+S"(self)
      : [sp] "i"(offsetof(Context, sp)), [ip] "i"(offsetof(Context, ip)),
        [bp] "i"(offsetof(Context, bp)), [bx] "i"(offsetof(Context, bx)),
        [modes] "i"(offsetof(Context, modes))
      : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
        "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
        "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
        "st(7)", "cc", "memory" FIBER_SPOILT_AVX512 FIBER_SPOILT_APX);
  if (origin->modes != self->modes) [[unlikely]]
    restore_modes(origin->modes, self->modes);
  return {origin, self};
}

#undef FIBER_SPOILT_AVX512
#undef FIBER_SPOILT_APX
#undef FIBER_BRANCH_TARGET
#undef FIBER_NO_CALLER
#undef FIBER_CALLER_AGAIN

template <void (*entry)(Context* origin)>
Context fresh(Stack* stack) noexcept {
  // As if it had been called: the stack pointer is aligned but for a return address.
  auto top = reinterpret_cast<std::uintptr_t>(stack->top()) & ~std::uintptr_t{15};
  auto* return_address = reinterpret_cast<void**>(top) - 1;
  *return_address = nullptr;
  Context context;
  context.sp = return_address;
  context.ip = reinterpret_cast<void*>(entry);
  return context;
}

}  // namespace fiber::core

#endif
