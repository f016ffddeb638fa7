#include <fiber/monkey/holding.hpp>

#include <fiber/core/thread_state.hpp>

#include <functional>

namespace fiber::monkey::detail {
namespace {

constinit thread_local Holding* first = nullptr;

core::Stack* running_stack() noexcept {
  const core::ThreadState* thread = core::tls_thread_state;
  return thread != nullptr ? thread->stack : nullptr;
}

// Not so of calls in a handler that has a stack of its own (sigaltstack).
bool is_on(core::Stack* stack, const Call* call) noexcept {
  const std::less_equal<const void*> before;
  return stack != nullptr && stack->base != nullptr && before(stack->base, call) &&
         before(call, stack->top());
}

}  // namespace

Holding::Holding(const Call& call) noexcept : stack_(running_stack()), call_(&call) {
  if (call.begins_to_hold()) let_go_of_lost(call);
  next_ = std::exchange(first, this);
}

Holding::~Holding() {
  for (Holding** at = &first; *at != nullptr; at = &(*at)->next_) {
    if (*at != this) continue;
    *at = next_;
    return;
  }
}

// Stacks grow downwards, and no frame that lives is below the running one.
bool Holding::is_lost(const Call& call) const noexcept {
  core::Stack* stack = running_stack();
  return stack_ == stack && is_on(stack, call_) && is_on(stack, &call) &&
         std::less_equal<>()(call_, &call);
}

void Holding::let_go_of_lost(const Call& call) noexcept {
  for (Holding* at = first; at != nullptr;) {
    Holding* next = at->next_;
    if (at->is_lost(call)) delete at;
    at = next;
  }
}

}  // namespace fiber::monkey::detail
