// The native jump. Registers are saved in the order in which Boost.Context saves them, so
// backtrace.cpp and debuggers read both jumps alike.
#include <fiber/core/jump.hpp>

#if defined(FIBER_NATIVE_JUMP)

// NativeTransfer fiber::core::native_jump(void* to, void* data)
//
// Both stacks have the same layout where the stack pointer is exchanged, so the unwinding rules are
// right before and after: an unwinder that a signal starts anywhere in this function finds the
// caller on the stack of the current stack pointer. On a fresh stack the caller is the fiber's
// first function, above which there is a return address of 0.
//
// The result is in rax and rdx; a function that begins here finds it in rdi and rsi. The last
// instruction is a jump: a return would be predicted by the calls that the other stack has made.
asm(R"(
    .pushsection .text
    .globl _ZN5fiber4core11native_jumpEPvS1_
    .type _ZN5fiber4core11native_jumpEPvS1_, @function
    .p2align 4
_ZN5fiber4core11native_jumpEPvS1_:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    movq %rsp, %rax
    movq %rdi, %rsp
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    movq %rsi, %rdx
    movq %rax, %rdi
    popq %r8
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %r8
    notrack jmpq *%r8
    .cfi_endproc
    .size _ZN5fiber4core11native_jumpEPvS1_, . - _ZN5fiber4core11native_jumpEPvS1_
    .popsection
)");
#endif
