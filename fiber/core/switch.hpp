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

// Of a thread that is lent the record stays where it is: nobody else writes it.
FIBER_API void save_exceptions(ThreadState& thread, Context& from) noexcept;
FIBER_API void restore_exceptions(ThreadState& thread, Context& own) noexcept;

FIBER_INLINE void save(ThreadState& thread, Context& from) noexcept {
  const CxxExceptionState& exceptions = *thread.exceptions;
  from.error_number = *thread.error_number;
  from.stack = thread.stack;
  // One branch for both, and for a thread that is lent.
  if ((reinterpret_cast<std::uintptr_t>(exceptions.caught) | exceptions.uncaught) != 0) [[unlikely]]
    save_exceptions(thread, from);
}

FIBER_INLINE void restore(ThreadState& thread, Context& own) noexcept {
  if (own.in_exception) [[unlikely]]
    restore_exceptions(thread, own);
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
