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
  // yes: the room on such a stack is unknown.
  return here - base >= bytes;
}

}  // namespace

// The first frame of a fiber: never returns, and nothing unwinds through it.
FIBER_SWITCHES_STACK void first_frame(Context* origin) {
  FIBER_FIRST_FRAME;
  ThreadState& thread = *tls_thread_state;
  sanitizer::arrive(thread.stack, origin->stack);
  run_errands(thread);
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
// writes there. If the fiber that continues will lend itself a thread of its own at once, the
// pointer is not put back for the few instructions until then.
FIBER_SWITCHES_STACK void leave_with_record(ThreadState& thread, Context& from, const Context& to,
                                            Stack* stack) noexcept {
  const int error_number = *thread.error_number;
  OwnThread* const lent = thread.lent;
  CxxExceptionState record = {};
  if (lent != nullptr) {
    from.stack->awaits_thread = true;
    if (sanitizer::kFindsStackByThread || !stack->awaits_thread) lent->take_back();
  } else {
    record = std::exchange(*thread.exceptions, {});
  }
  leave(thread, from, to, stack);
  if (lent != nullptr) {
    from.stack->awaits_thread = false;
    lent->lend();
  } else {
    *thread.exceptions = record;
  }
  *thread.error_number = error_number;
}

void run_errand(ThreadState& thread) noexcept {
  thread.pool.release(std::exchange(thread.errand, nullptr));
}

}  // namespace fiber::core
