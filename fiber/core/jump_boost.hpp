// The jump of Boost.Context. Included by jump.hpp.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/stack.hpp>

#if !defined(FIBER_OWN_JUMP)
#include <boost/context/detail/fcontext.hpp>

#include <cstddef>

namespace fiber::core {

inline Arrival jump(Context& from, const Context& to) noexcept {
  const boost::context::detail::transfer_t arrived =
      boost::context::detail::jump_fcontext(to.sp, &from);
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.fctx;
  return {origin, &from};
}

template <void (*entry)(Context* origin)>
void boost_entry(boost::context::detail::transfer_t arrived) {
  FIBER_FIRST_FRAME;
  auto* origin = static_cast<Context*>(arrived.data);
  origin->sp = arrived.fctx;
  entry(origin);
}

template <void (*entry)(Context* origin)>
Context fresh(Stack* stack) noexcept {
  std::byte* top = stack->top();
  Context context;
  context.sp = boost::context::detail::make_fcontext(
      top, static_cast<std::size_t>(top - stack->base), &boost_entry<entry>);
  return context;
}

}  // namespace fiber::core

#endif
