#include <fiber/monkey/stacks.hpp>

#include <fiber/core/thread_state.hpp>
#include <fiber/core/usual_stack.hpp>

namespace fiber::monkey::detail {
namespace {

constexpr core::StackShape kOrdinary;
constexpr core::StackShape kLarge{1U << 20U, 1U << 20U};

void change(core::StackShape from, core::StackShape to) noexcept {
  if (core::usual_stack_shape() == from) core::usual_stack_shape(to);
  core::ThreadState* thread = core::tls_thread_state;
  if (thread != nullptr && thread->pool.default_shape() == from) thread->pool.default_shape(to);
}

}  // namespace

void use_large_stacks() noexcept { change(kOrdinary, kLarge); }
void use_ordinary_stacks() noexcept { change(kLarge, kOrdinary); }

}  // namespace fiber::monkey::detail
