// The calls that tell AddressSanitizer and ThreadSanitizer of stacks and switches. Every function is
// empty, and costs nothing, in a build without them.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/stack.hpp>

#if defined(FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if defined(FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

// Functions that change stacks must not be instrumented: they leave on one and return on another.
#if defined(FIBER_TSAN)
#define FIBER_SWITCHES_STACK __attribute__((no_sanitize("thread"), noinline))
#elif defined(FIBER_ASAN)
#define FIBER_SWITCHES_STACK __attribute__((no_sanitize("address"), noinline))
#else
#define FIBER_SWITCHES_STACK
#endif

namespace fiber::core::sanitizer {

// AddressSanitizer finds the bounds of the running stack by the thread pointer.
#if defined(FIBER_ASAN)
inline constexpr bool kFindsStackByThread = true;
#else
inline constexpr bool kFindsStackByThread = false;
#endif

inline void stack_forgotten([[maybe_unused]] Stack* stack) noexcept {
#if defined(FIBER_TSAN)
  if (stack->tsan_fiber != nullptr) __tsan_destroy_fiber(stack->tsan_fiber);
  stack->tsan_fiber = nullptr;
#endif
}

// Objects that frames on a stack refer to are no leaks; LeakSanitizer knows of threads' stacks
// alone.
inline void stack_taken([[maybe_unused]] Stack* stack) noexcept {
#if defined(FIBER_ASAN)
  __lsan_register_root_region(stack->base, stack->size);
#endif
}

// The thread's own stack is left for good: one of its fibers calls exit().
#if defined(FIBER_ASAN)
__attribute__((no_sanitize("address"), noinline)) inline void own_stack_abandoned(
    Stack* own) noexcept {
  if (own->base == nullptr) return;
  __lsan_register_root_region(own->base, own->size);
  if (own->fake_stack == nullptr) return;
  // Locals whose address is taken lie in fake frames on the heap; the stack has pointers to them.
  const auto* end = reinterpret_cast<void* const*>(own->base + own->size);
  for (auto* word = static_cast<void* const*>(own->left_at); word < end; ++word) {
    void *begin, *after;
    if (__asan_addr_is_in_fake_stack(own->fake_stack, *word, &begin, &after) != nullptr)
      __lsan_register_root_region(begin, static_cast<std::size_t>(static_cast<std::byte*>(after) -
                                                                  static_cast<std::byte*>(begin)));
  }
}
#else
inline void own_stack_abandoned(Stack*) noexcept {}
#endif

inline void stack_released([[maybe_unused]] Stack* stack) noexcept {
#if defined(FIBER_ASAN)
  __asan_unpoison_memory_region(stack->base, stack->size);
  __lsan_unregister_root_region(stack->base, stack->size);
#endif
  // ThreadSanitizer's own record of a fiber is expensive to make, so it is kept for some uses,
  // though not for ever: each use leaves the frames of a fiber's end on its shadow stack.
  constexpr std::uint32_t kUses = 64;
  if (stack->uses % kUses == 0) stack_forgotten(stack);
}

// Notes the stack that the system gave to the thread.
inline void thread_started([[maybe_unused]] Stack* own) noexcept {
#if defined(FIBER_TSAN)
  own->tsan_fiber = __tsan_get_current_fiber();
#endif
}

// Called right before a jump from `from` to `to`; `last` if nothing ever returns to `from`.
inline __attribute__((always_inline)) void leave([[maybe_unused]] Stack* from,
                                                 [[maybe_unused]] Stack* to,
                                                 [[maybe_unused]] bool last) noexcept {
#if defined(FIBER_ASAN)
  from->left_at = __builtin_frame_address(0);
  __sanitizer_start_switch_fiber(last ? nullptr : &from->fake_stack, to->base, to->size);
#endif
#if defined(FIBER_TSAN)
  if (to->tsan_fiber == nullptr) to->tsan_fiber = __tsan_create_fiber(0);
  __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
}

// Called right after an arrival on `on` from `from`.
inline __attribute__((always_inline)) void arrive([[maybe_unused]] Stack* on,
                                                  [[maybe_unused]] Stack* from) noexcept {
#if defined(FIBER_ASAN)
  // The bounds of the thread's own stack are known once it was left. No local has its address
  // taken: inlined into a function that is not instrumented, its scope would leave poison behind.
  const bool first = from->base == nullptr;
  void* base = first ? static_cast<void*>(&from->base) : nullptr;
  __sanitizer_finish_switch_fiber(on->fake_stack, static_cast<const void**>(base),
                                  first ? &from->size : nullptr);
  on->fake_stack = nullptr;
#endif
}

// Called right after a fiber on `on` got the thread pointer of a parked thread for the first time,
// and right before that thread has it back for good. `parked` keeps the bounds of its stack.
inline __attribute__((always_inline)) void thread_lent([[maybe_unused]] Stack* parked,
                                                       [[maybe_unused]] Stack* on) noexcept {
#if defined(FIBER_ASAN)
  __sanitizer_start_switch_fiber(&parked->fake_stack, on->base, on->size);
  __sanitizer_finish_switch_fiber(
      nullptr, static_cast<const void**>(static_cast<void*>(&parked->base)), &parked->size);
#endif
}

inline __attribute__((always_inline)) void thread_taken_back(
    [[maybe_unused]] Stack* parked) noexcept {
#if defined(FIBER_ASAN)
  __sanitizer_start_switch_fiber(nullptr, parked->base, parked->size);
  __sanitizer_finish_switch_fiber(parked->fake_stack, nullptr, nullptr);
#endif
}

}  // namespace fiber::core::sanitizer
