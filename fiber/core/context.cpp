#include <fiber/core/context.hpp>

#include <fiber/core/sanitizer.hpp>
#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>

namespace fiber::core {

// It never returns and nothing unwinds through it.
FIBER_SWITCHES_STACK void first_frame(Context* origin) {
  FIBER_FIRST_FRAME;
  ThreadState& thread = *tls_thread_state;
  sanitizer::arrive(thread.stack, origin->stack);
  Context unused;
  run_errands(thread, {origin, &unused});
  thread.start_function(thread.start_argument);
  __builtin_unreachable();
}

FIBER_SWITCHES_STACK void exit_context(const Context& to) noexcept {
  ThreadState& thread = *tls_thread_state;
  Stack* own = thread.stack;
  *thread.exceptions = {};
  thread.departed.stack = own;
  thread.errand = own;
  thread.stack = to.stack;
  sanitizer::leave(own, to.stack, true);
  jump(thread.departed, to);
  __builtin_unreachable();
}

FIBER_SWITCHES_STACK void exit_to_start(Stack* stack, StartFunction function,
                                        void* argument) noexcept {
  ThreadState& thread = *tls_thread_state;
  Stack* own = thread.stack;
  *thread.exceptions = {};
  thread.departed.stack = own;
  thread.errand = own;
  thread.start_function = function;
  thread.start_argument = argument;
  thread.stack = stack;
  sanitizer::leave(own, stack, true);
  jump(thread.departed, fresh<first_frame>(stack));
  __builtin_unreachable();
}

void run_errand(ThreadState& thread, [[maybe_unused]] Context* origin,
                [[maybe_unused]] const Context* self) noexcept {
  Stack* const errand = thread.errand;
  thread.errand = nullptr;
  if (errand != &thread.own_stack) thread.pool.release(errand);
#if defined(FIBER_NATIVE_JUMP)
  if (!thread.keeps_mxcsr) return;
  thread.errand = &thread.own_stack;
  asm volatile("stmxcsr %0" : "=m"(origin->mxcsr));
  if (self->mxcsr != 0) {
    asm volatile("ldmxcsr %0" : : "m"(self->mxcsr));
  }
#endif
}

#if defined(FIBER_NATIVE_JUMP)
// <cfenv> keeps the modes of both arithmetic units alike, so those of SSE, which are dear to read,
// need not be saved: where the x87's differ, they are to be what the x87's are.
void restore_modes(std::uint16_t others, std::uint16_t own) noexcept {
  constexpr unsigned kTraps = 0x3f;
  constexpr unsigned kRounding = 0xc00;
  const unsigned different = others ^ own;
  asm volatile("fldcw %0" : : "m"(own));
  std::uint32_t sse;
  asm volatile("stmxcsr %0" : "=m"(sse));
  const unsigned traps = different & kTraps;
  sse = (sse & ~(traps << 7)) | ((own & traps) << 7);
  if ((different & kRounding) != 0) sse = (sse & ~(kRounding << 3)) | ((own & kRounding) << 3);
  asm volatile("ldmxcsr %0" : : "m"(sse));
}
#endif

}  // namespace fiber::core
