#include <fiber/core/room.hpp>

#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>

#include <algorithm>

namespace fiber::core {
namespace {

struct Visit {
  void (*function)(void*) noexcept;
  void* argument;
  Context from;

  static void enter(void* visit) noexcept {
    Visit& self = *static_cast<Visit*>(visit);
    self.function(self.argument);
    exit_context(self.from);
  }
};

bool has_room(const ThreadState& thread, std::size_t bytes) noexcept {
  const Stack* stack = thread.stack;
  if (stack->base == nullptr) return true;  // the thread's own
  const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
  // A fake frame of AddressSanitizer's, or a signal handler's: not on the fiber's stack.
  if (here < stack->base || here >= stack->base + stack->size) return true;
  const auto left = static_cast<std::size_t>(here - stack->base);
  return left > bytes + page_size() && !stack->guards(here - bytes);
}

}  // namespace

void call_with_room(std::size_t bytes, void (*function)(void*) noexcept, void* argument) {
  ThreadState* thread = tls_thread_state;
  if (thread == nullptr || has_room(*thread, bytes)) {
    function(argument);
    return;
  }
  Visit visit{function, argument, {}};
  Stack* stack = thread->pool.allocate(std::max(kDefaultStackSize, bytes + kMinStackSize));
  start_context(*thread, visit.from, stack, &Visit::enter, &visit);
}

}  // namespace fiber::core
