// The inline half of context.hpp: leaving one suspended context for another.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/jump.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/thread_state.hpp>

namespace fiber::core {

// Gives back the stack of a fiber that ended by switching here, and exchanges what keep_mxcsr()
// keeps.
FIBER_API void run_errand(ThreadState& thread, Context* origin, const Context* self) noexcept;

FIBER_INLINE void save(ThreadState& thread, Context& from) noexcept {
  CxxExceptionState& exceptions = *thread.exceptions;
  // One branch for both.
  if ((reinterpret_cast<std::uintptr_t>(exceptions.caught) | exceptions.uncaught) != 0)
      [[unlikely]] {
    from.in_exception = true;
    from.caught = exceptions.caught;
    from.uncaught = exceptions.uncaught;
    exceptions = {};
  }
  from.error_number = *thread.error_number;
  from.stack = thread.stack;
}

FIBER_INLINE void restore(ThreadState& thread, Context& own) noexcept {
  if (own.in_exception) [[unlikely]] {
    own.in_exception = false;
    thread.exceptions->caught = own.caught;
    thread.exceptions->uncaught = own.uncaught;
  }
  *thread.error_number = own.error_number;
}

// What is rarely to be done after an arrival.
FIBER_INLINE void run_errands(ThreadState& thread, Arrival arrival) noexcept {
  if (thread.errand != nullptr) [[unlikely]]
    run_errand(thread, arrival.origin, arrival.self);
}

// Leaves `from` and continues `to`; returns when something switches back to `from`.
FIBER_INLINE void switch_context(ThreadState& thread, Context& from, const Context& to) noexcept {
  save(thread, from);
  Stack* own = thread.stack;
  thread.stack = to.stack;
  sanitizer::leave(own, to.stack, false);
  const Arrival arrival = jump(from, to);
  sanitizer::arrive(own, arrival.origin->stack);
  restore(thread, *arrival.self);
  run_errands(thread, arrival);
}

// The first frame of every fiber: calls the start function.
FIBER_API void first_frame(Context* origin);

// Leaves `from` and calls `function(argument)` at the top of a fresh stack. The function must end
// by exit_context; it starts with no exception caught or in flight.
FIBER_INLINE void start_context(ThreadState& thread, Context& from, Stack* stack,
                                StartFunction function, void* argument) noexcept {
  save(thread, from);
  Stack* own = thread.stack;
  thread.start_function = function;
  thread.start_argument = argument;
  thread.stack = stack;
  sanitizer::leave(own, stack, false);
  const Arrival arrival = jump(from, fresh<first_frame>(stack));
  sanitizer::arrive(own, arrival.origin->stack);
  restore(thread, *arrival.self);
  run_errands(thread, arrival);
}

}  // namespace fiber::core
