// The inline half of context.hpp: leaving one suspended context for another.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/jump.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/thread_state.hpp>

namespace fiber::core {

// Gives back the stack of a fiber that ended by switching here.
FIBER_API void run_errand(ThreadState& thread) noexcept;

// Returns whether exceptions are caught or in flight, or another thread's state is lent: one test
// finds both. Either is rare; if so, the record must be put away while other fibers run.
FIBER_INLINE bool has_record(const ThreadState& thread) noexcept {
  const CxxExceptionState& exceptions = *thread.exceptions;
  return (reinterpret_cast<std::uintptr_t>(exceptions.caught) | exceptions.uncaught) != 0;
}

// Leaves for `to`, on `stack`, with no record to put away. `from.stack` names the running stack.
FIBER_INLINE void leave(ThreadState& thread, Context& from, const Context& to,
                        Stack* stack) noexcept {
  const int error_number = *thread.error_number;
  thread.stack = stack;
  sanitizer::leave(from.stack, stack, false);
  [[maybe_unused]] const Context* origin = jump(from, to);
  sanitizer::arrive(from.stack, origin->stack);
  *thread.error_number = error_number;
}

// Puts the record of exceptions away, leaves, and puts the record back after arrival.
FIBER_API void leave_with_record(ThreadState& thread, Context& from, const Context& to,
                                 Stack* stack) noexcept;

// Runs the errand after an arrival, if there is one; mostly there is none.
FIBER_INLINE void run_errands(ThreadState& thread) noexcept {
  if (thread.errand != nullptr) [[unlikely]]
    run_errand(thread);
}

// Leaves `from`, in which `from.stack` names the running stack already, and continues `to`; returns
// when something switches back to `from`. Code that may arrive because a fiber has ended calls
// run_errands() next.
FIBER_INLINE void exchange_context(ThreadState& thread, Context& from, const Context& to) noexcept {
  if (has_record(thread)) [[unlikely]]
    leave_with_record(thread, from, to, to.stack);
  else
    leave(thread, from, to, to.stack);
}

// Leaves `from` and continues `to`, and runs the errand after the return.
FIBER_INLINE void switch_context(ThreadState& thread, Context& from, const Context& to) noexcept {
  from.stack = thread.stack;
  exchange_context(thread, from, to);
  run_errands(thread);
}

// The first frame of every fiber: calls the start function.
FIBER_API void first_frame(Context* origin);

// Leaves `from` and calls `function(argument)` at the top of a fresh stack. The function must end
// by exit_context; it starts with no exception caught or in flight.
FIBER_INLINE void start_context(ThreadState& thread, Context& from, Stack* stack,
                                StartFunction function, void* argument) noexcept {
  thread.start_function = function;
  thread.start_argument = argument;
  from.stack = thread.stack;
  const Context start = fresh<first_frame>(stack);
  if (has_record(thread)) [[unlikely]]
    leave_with_record(thread, from, start, stack);
  else
    leave(thread, from, start, stack);
  run_errands(thread);
}

}  // namespace fiber::core
