// The calls that tell Valgrind of stacks, if its headers were there when the library was compiled;
// outside of Valgrind they cost some instructions per new stack.
#pragma once

#include <fiber/core/stack.hpp>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif

namespace fiber::core::valgrind {

inline bool running() noexcept {
#if defined(VALGRIND_STACK_REGISTER)
  return RUNNING_ON_VALGRIND != 0;
#else
  return false;
#endif
}

inline void stack_created([[maybe_unused]] Stack* stack) noexcept {
#if defined(VALGRIND_STACK_REGISTER)
  stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->base, stack->base + stack->size);
  // The data that an earlier fiber left behind is no longer below a stack pointer.
  VALGRIND_MAKE_MEM_UNDEFINED(stack->base, stack->top() - stack->base);
#endif
}

inline void stack_destroyed([[maybe_unused]] Stack* stack) noexcept {
#if defined(VALGRIND_STACK_DEREGISTER)
  VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
#endif
}

}  // namespace fiber::core::valgrind
