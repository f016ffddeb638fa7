// The function of call_below.hpp, for each processor. Its rules for unwinders say, while it makes
// the call, that its own frame begins at the end of the registers that Boost.Context's jump has
// saved, and where each of these lies.
#include <fiber/core/call_below.hpp>

#define FIBER_BEGIN                     \
  ".pushsection .text\n"                \
  ".globl fiber_call_below\n"           \
  ".hidden fiber_call_below\n"          \
  ".type fiber_call_below, %function\n" \
  "fiber_call_below:\n"                 \
  ".cfi_startproc\n"
#define FIBER_END                                  \
  ".cfi_endproc\n"                                 \
  ".size fiber_call_below, . - fiber_call_below\n" \
  ".popsection\n"

#if defined(__x86_64__) && !defined(__ILP32__)
asm(FIBER_BEGIN R"(
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    movq %rdi, %rbx
    movq %rdx, %rdi
    .cfi_remember_state
    .cfi_def_cfa %rbx, 0
    .cfi_offset %rbp, -0x10
    .cfi_offset %rbx, -0x18
    .cfi_offset %r15, -0x20
    .cfi_offset %r14, -0x28
    .cfi_offset %r13, -0x30
    .cfi_offset %r12, -0x38
    callq *%rsi
    .cfi_restore_state
    popq %rbx
    .cfi_def_cfa_offset 8
    .cfi_restore %rbx
    retq
)" FIBER_END);
#elif defined(__aarch64__)
asm(FIBER_BEGIN R"(
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    str x19, [sp, #16]
    .cfi_offset x19, -16
    mov x19, x0
    mov x0, x2
    .cfi_remember_state
    .cfi_def_cfa x19, 0
    .cfi_offset x30, -0x18
    .cfi_offset x29, -0x20
    .cfi_offset x28, -0x28
    .cfi_offset x27, -0x30
    .cfi_offset x26, -0x38
    .cfi_offset x25, -0x40
    .cfi_offset x24, -0x48
    .cfi_offset x23, -0x50
    .cfi_offset x22, -0x58
    .cfi_offset x21, -0x60
    .cfi_offset x20, -0x68
    .cfi_offset x19, -0x70
    blr x1
    .cfi_restore_state
    ldr x19, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_restore x19
    .cfi_restore x29
    .cfi_restore x30
    .cfi_def_cfa_offset 0
    ret
)" FIBER_END);
#elif defined(__powerpc64__) && _CALL_ELF == 2
asm(FIBER_BEGIN R"(
    mflr 0
    std 0, 16(1)
    .cfi_offset 65, 16
    std 31, -8(1)
    .cfi_offset 31, -8
    stdu 1, -64(1)
    .cfi_def_cfa_offset 64
    std 2, 24(1)
    mr 31, 3
    mr 3, 5
    mr 12, 4
    mtctr 12
    .cfi_remember_state
    .cfi_def_cfa 31, 0
    .cfi_offset 65, -0x08
    .cfi_offset 31, -0x28
    .cfi_offset 30, -0x30
    .cfi_offset 29, -0x38
    .cfi_offset 28, -0x40
    .cfi_offset 27, -0x48
    .cfi_offset 26, -0x50
    .cfi_offset 25, -0x58
    .cfi_offset 24, -0x60
    .cfi_offset 23, -0x68
    .cfi_offset 22, -0x70
    .cfi_offset 21, -0x78
    .cfi_offset 20, -0x80
    .cfi_offset 19, -0x88
    .cfi_offset 18, -0x90
    .cfi_offset 17, -0x98
    .cfi_offset 16, -0xa0
    .cfi_offset 15, -0xa8
    .cfi_offset 14, -0xb0
    bctrl
    .cfi_restore_state
    ld 2, 24(1)
    addi 1, 1, 64
    .cfi_def_cfa_offset 0
    ld 31, -8(1)
    .cfi_restore 31
    ld 0, 16(1)
    mtlr 0
    .cfi_restore 65
    blr
)" FIBER_END);
#elif defined(__riscv) && __riscv_xlen == 64 && defined(__riscv_float_abi_double)
asm(FIBER_BEGIN R"(
    addi sp, sp, -32
    .cfi_def_cfa_offset 32
    sd ra, 24(sp)
    .cfi_offset ra, -8
    sd s1, 16(sp)
    .cfi_offset s1, -16
    mv s1, a0
    mv a0, a2
    .cfi_remember_state
    .cfi_def_cfa s1, 0
    .cfi_offset ra, -0x08
    .cfi_offset s11, -0x18
    .cfi_offset s10, -0x20
    .cfi_offset s9, -0x28
    .cfi_offset s8, -0x30
    .cfi_offset s7, -0x38
    .cfi_offset s6, -0x40
    .cfi_offset s5, -0x48
    .cfi_offset s4, -0x50
    .cfi_offset s3, -0x58
    .cfi_offset s2, -0x60
    .cfi_offset s1, -0x68
    .cfi_offset s0, -0x70
    jalr a1
    .cfi_restore_state
    ld s1, 16(sp)
    .cfi_restore s1
    ld ra, 24(sp)
    .cfi_restore ra
    addi sp, sp, 32
    .cfi_def_cfa_offset 0
    ret
)" FIBER_END);
#elif defined(__s390x__)
// The frame of a caller begins 160 bytes above its stack pointer; below lies where a called
// function keeps registers.
asm(FIBER_BEGIN R"(
    stmg %r11, %r15, 88(%r15)
    .cfi_offset 11, -72
    .cfi_offset 12, -64
    .cfi_offset 13, -56
    .cfi_offset 14, -48
    .cfi_offset 15, -40
    aghi %r15, -160
    .cfi_def_cfa_offset 320
    lgr %r11, %r2
    lgr %r2, %r4
    .cfi_remember_state
    .cfi_def_cfa 11, 160
    .cfi_val_offset 15, -160
    .cfi_offset 14, -168
    .cfi_offset 13, -256
    .cfi_offset 12, -264
    .cfi_offset 11, -272
    .cfi_offset 10, -280
    .cfi_offset 9, -288
    .cfi_offset 8, -296
    .cfi_offset 7, -304
    .cfi_offset 6, -312
    basr %r14, %r3
    .cfi_restore_state
    lmg %r11, %r15, 248(%r15)
    .cfi_restore 11
    .cfi_restore 12
    .cfi_restore 13
    .cfi_restore 14
    .cfi_restore 15
    .cfi_def_cfa_offset 160
    br %r14
)" FIBER_END);
#endif
