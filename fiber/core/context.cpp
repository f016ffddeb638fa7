#include <fiber/core/context.hpp>

#include <fiber/core/sanitizer.hpp>
#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>

#include <boost/context/detail/fcontext.hpp>

namespace fiber::core {
namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;


// The first frame of every fiber. It never returns and nothing unwinds through it.
FIBER_SWITCHES_STACK void entry(transfer_t arrived) {
#if defined(__x86_64__)
  // Tells unwinders (debuggers, backtrace(), profilers) that there is no caller.
  asm volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
  asm volatile(".cfi_undefined x30");
#endif
  auto* from = static_cast<Context*>(arrived.data);
  from->sp = arrived.fctx;
  ThreadState& thread = *tls_thread_state;
  sanitizer::arrive(thread.stack, from->stack);
  thread.exceptions->caught = nullptr;
  thread.exceptions->uncaught = 0;
  bury(thread);
  thread.start_function(thread.start_argument);
  __builtin_unreachable();
}

inline fcontext_t fresh(Stack* stack) noexcept {
  auto* top = stack->top();
  return make_fcontext(top, static_cast<std::size_t>(top - stack->base), entry);
}

}  // namespace

FIBER_SWITCHES_STACK void start_context(Context& from, Stack* stack, StartFunction function,
                                        void* argument) noexcept {
  ThreadState& thread = *tls_thread_state;
  save(thread, from);
  Stack* own = thread.stack;
  thread.start_function = function;
  thread.start_argument = argument;
  thread.stack = stack;
  sanitizer::leave(own, stack, false);
  const transfer_t arrived = jump_fcontext(fresh(stack), &from);
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.fctx;
  sanitizer::arrive(own, origin->stack);
  restore(thread, from);
  bury(thread);
}

FIBER_SWITCHES_STACK void exit_context(const Context& to) noexcept {
  ThreadState& thread = *tls_thread_state;
  Stack* own = thread.stack;
  thread.departed.stack = own;
  thread.dead_stack = own;
  thread.stack = to.stack;
  sanitizer::leave(own, to.stack, true);
  jump_fcontext(to.sp, &thread.departed);
  __builtin_unreachable();
}

FIBER_SWITCHES_STACK void exit_to_start(Stack* stack, StartFunction function,
                                        void* argument) noexcept {
  ThreadState& thread = *tls_thread_state;
  Stack* own = thread.stack;
  thread.departed.stack = own;
  thread.dead_stack = own;
  thread.start_function = function;
  thread.start_argument = argument;
  thread.stack = stack;
  sanitizer::leave(own, stack, true);
  jump_fcontext(fresh(stack), &thread.departed);
  __builtin_unreachable();
}

}  // namespace fiber::core
