// The stacks of threads that have not used fibers yet, unless they say otherwise.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/stack.hpp>

namespace fiber::core {

// Of the process; any thread may ask and tell.
FIBER_API StackShape usual_stack_shape() noexcept;
FIBER_API void usual_stack_shape(StackShape shape) noexcept;

}  // namespace fiber::core
