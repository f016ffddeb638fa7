// The inline half of context.hpp: leaving one suspended context for another.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/thread_state.hpp>

#include <boost/context/detail/fcontext.hpp>

namespace fiber::core {

inline void save(ThreadState& thread, Context& from) noexcept {
  from.caught = thread.exceptions->caught;
  from.uncaught = thread.exceptions->uncaught;
  from.error_number = *thread.error_number;
  from.stack = thread.stack;
}

inline void restore(ThreadState& thread, const Context& own) noexcept {
  thread.exceptions->caught = own.caught;
  thread.exceptions->uncaught = own.uncaught;
  *thread.error_number = own.error_number;
}

// Gives back the stack of a fiber that ended by switching here.
FIBER_INLINE void bury(ThreadState& thread) noexcept {
  if (thread.dead_stack != nullptr) [[unlikely]] {
    Stack* dead = thread.dead_stack;
    thread.dead_stack = nullptr;
    thread.pool.release(dead);
  }
}

// Leaves `from` and continues `to`; returns when something switches back to `from`.
FIBER_INLINE void switch_context(ThreadState& thread, Context& from, const Context& to) noexcept {
  save(thread, from);
  Stack* own = thread.stack;
  thread.stack = to.stack;
  sanitizer::leave(own, to.stack, false);
  const boost::context::detail::transfer_t arrived =
      boost::context::detail::jump_fcontext(to.sp, &from);
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.fctx;
  sanitizer::arrive(own, origin->stack);
  restore(thread, from);
  bury(thread);
}

}  // namespace fiber::core
