// The inline half of context.hpp: leaving one suspended context for another.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/jump.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/thread_state.hpp>

namespace fiber::core {

// Gives back the stack of a fiber that ended by switching here, and exchanges the MXCSR that
// keep_mxcsr() keeps.
FIBER_API void run_errand(ThreadState& thread, Context* origin, const Context* self) noexcept;

// Returns whether exceptions are caught or in flight, or another thread's state is lent: one look
// tells both. That is rare; if so, the record must be put away while other fibers run.
FIBER_INLINE bool has_record(const ThreadState& thread) noexcept {
  const CxxExceptionState& exceptions = *thread.exceptions;
  return (reinterpret_cast<std::uintptr_t>(exceptions.caught) | exceptions.uncaught) != 0;
}

// Leaves for `to`, on `stack`, with no record to put away. Returns, after arrival, the context that
// switched here.
FIBER_INLINE Context* leave(ThreadState& thread, Context& from, const Context& to,
                            Stack* stack) noexcept {
  Stack* const own = thread.stack;
  const int error_number = *thread.error_number;
  from.stack = own;
  thread.stack = stack;
  sanitizer::leave(own, stack, false);
  Context* origin = jump(from, to);
  sanitizer::arrive(own, origin->stack);
  *thread.error_number = error_number;
  return origin;
}
// Puts the record of exceptions away, leaves, and puts the record back after arrival.
FIBER_API Context* leave_with_record(ThreadState& thread, Context& from, const Context& to,
                                     Stack* stack) noexcept;

// Runs the errand after an arrival, if there is one; mostly there is none.
FIBER_INLINE void run_errands(ThreadState& thread, Context* origin, const Context* self) noexcept {
  if (thread.errand != nullptr) [[unlikely]]
    run_errand(thread, origin, self);
}

// Leaves `from` and continues `to`; returns when something switches back to `from`.
FIBER_INLINE void switch_context(ThreadState& thread, Context& from, const Context& to) noexcept {
  Context* origin = nullptr;
  if (has_record(thread)) [[unlikely]]
    origin = leave_with_record(thread, from, to, to.stack);
  else
    origin = leave(thread, from, to, to.stack);
  run_errands(thread, origin, &from);
}

// Switches as switch_context() does. Code that arrives because a fiber has ended calls
// fiber_ended() next.
FIBER_INLINE void exchange_context(ThreadState& thread, Context& from, const Context& to) noexcept {
#if defined(FIBER_NATIVE_JUMP)
  switch_context(thread, from, to);  // every arrival has an errand with keep_mxcsr()
#else
  if (has_record(thread)) [[unlikely]]
    leave_with_record(thread, from, to, to.stack);
  else
    leave(thread, from, to, to.stack);
#endif
}
FIBER_INLINE void fiber_ended([[maybe_unused]] ThreadState& thread) noexcept {
#if !defined(FIBER_NATIVE_JUMP)
  run_errands(thread, nullptr, nullptr);
#endif
}

// The first frame of every fiber: calls the start function.
FIBER_API void first_frame(Context* origin);

// Leaves `from` and calls `function(argument)` at the top of a fresh stack. The function must end
// by exit_context; it starts with no exception caught or in flight.
FIBER_INLINE void start_context(ThreadState& thread, Context& from, Stack* stack,
                                StartFunction function, void* argument) noexcept {
  thread.start_function = function;
  thread.start_argument = argument;
  const Context start = fresh<first_frame>(stack);
  Context* origin = nullptr;
  if (has_record(thread)) [[unlikely]]
    origin = leave_with_record(thread, from, start, stack);
  else
    origin = leave(thread, from, start, stack);
  run_errands(thread, origin, &from);
}

}  // namespace fiber::core
