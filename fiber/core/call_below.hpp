// A call that looks as if a suspended context had made it.
//
// FIBER_READS_SUSPENDED: the processors for which it exists.
#pragma once

#include <fiber/config.hpp>

#if (defined(__x86_64__) && !defined(__ILP32__)) || defined(__aarch64__) || \
    (defined(__powerpc64__) && _CALL_ELF == 2) || defined(__s390x__) ||     \
    (defined(__riscv) && __riscv_xlen == 64 && defined(__riscv_float_abi_double))
#define FIBER_READS_SUSPENDED 1

// Calls function(argument). To an unwinder, this is a function that the suspended context has
// called. `registers` is the end of the registers that the jump has saved, where the context's own
// frame begins.
extern "C" void fiber_call_below(const void* registers, void (*function)(void*), void* argument);
#endif
