// The default shape of stacks for threads that have not used fibers yet.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/stack.hpp>

namespace fiber::core {

// Return and set the shape, for the whole process. From any thread.
FIBER_API StackShape usual_stack_shape() noexcept;
FIBER_API void usual_stack_shape(StackShape shape) noexcept;

}  // namespace fiber::core
