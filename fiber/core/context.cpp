#include <fiber/core/context.hpp>

#include <fiber/core/own_thread.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/exceptions.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace fiber::core {
namespace {

// Returns the shape of a stack for a function that needs `bytes`.
StackShape roomy_stack(std::size_t bytes) noexcept {
  return StackShape(std::max(std::size_t{512} * 1024, 2 * bytes), kDefaultGuardSize);
}

struct RoomyCall {
  void (*function)(void*);
  void* argument;
  Context caller = {};
  std::exception_ptr error = nullptr;

  static void run(void* self) {
    auto& call = *static_cast<RoomyCall*>(self);
    try {
      call.function(call.argument);
    } catch (...) {
      call.error = std::current_exception();
    }
    exit_context(call.caller);
  }
};

bool has_room(const ThreadState* thread, std::size_t bytes) noexcept {
  if (thread == nullptr || thread->stack == &thread->own_stack) return true;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const auto base = reinterpret_cast<std::uintptr_t>(thread->stack->base);
  // On a stack that is not the library's the difference is large (it may wrap), and the answer is
  // yes: nothing is known of the room there.
  return here - base >= bytes;
}

}  // namespace

// The first frame of a fiber: never returns, and nothing unwinds through it.
FIBER_SWITCHES_STACK void first_frame(Context* origin) {
  FIBER_FIRST_FRAME;
  ThreadState& thread = *tls_thread_state;
  sanitizer::arrive(thread.stack, origin->stack);
  Context unused;
  run_errands(thread, origin, &unused);
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

void call_with_room(void (*function)(void* argument), void* argument, std::size_t bytes) {
  ThreadState* thread = tls_thread_state;
  Stack* stack = nullptr;
  if (!has_room(thread, bytes)) {
    try {
      stack = thread->pool.allocate(roomy_stack(bytes));
    } catch (const MemoryError&) {
      // The room that is left may still be enough: call in place.
    }
  }
  if (stack == nullptr) {
    function(argument);
    return;
  }
  RoomyCall call{.function = function, .argument = argument};
  const Context* outer = std::exchange(thread->calls_with_room, &call.caller);
  start_context(*thread, call.caller, stack, &RoomyCall::run, &call);
  thread->calls_with_room = outer;
  if (call.error != nullptr) std::rethrow_exception(std::move(call.error));
}

// While a thread is lent (OwnThread), its record of exceptions stays where it is: no other fiber
// writes there.
FIBER_SWITCHES_STACK Context* leave_with_record(ThreadState& thread, Context& from,
                                                const Context& to, Stack* stack) noexcept {
  const int error_number = *thread.error_number;
  OwnThread* const lent = thread.lent;
  CxxExceptionState record = {};
  if (lent != nullptr)
    lent->take_back();
  else
    record = std::exchange(*thread.exceptions, {});
  Context* origin = leave(thread, from, to, stack);
  if (lent != nullptr)
    lent->lend();
  else
    *thread.exceptions = record;
  *thread.error_number = error_number;
  return origin;
}

void run_errand(ThreadState& thread, [[maybe_unused]] Context* origin,
                [[maybe_unused]] const Context* self) noexcept {
  Stack* const errand = thread.errand;
  thread.errand = nullptr;
  if (errand != &thread.own_stack) thread.pool.release(errand);
#if defined(FIBER_NATIVE_JUMP)
  if (!thread.keeps_mxcsr) return;
  thread.errand = &thread.own_stack;
  asm volatile("stmxcsr %0" : "=m"(origin->float_control));
  if (self->float_control != 0) {
    asm volatile("ldmxcsr %0" : : "m"(self->float_control));
  }
#endif
}

#if defined(FIBER_NATIVE_JUMP)
// Sets the modes of both arithmetic units. <cfenv> keeps those of the x87 and of SSE alike, and the
// latter are expensive to read. So only the x87's are saved: where they differ, SSE gets the same
// ones.
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
