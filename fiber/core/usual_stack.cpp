#include <fiber/core/usual_stack.hpp>

#include <atomic>

namespace fiber::core {
namespace {

constinit std::atomic<StackShape> usual{StackShape()};

}  // namespace

StackShape usual_stack_shape() noexcept { return usual.load(std::memory_order_relaxed); }

void usual_stack_shape(StackShape shape) noexcept { usual.store(shape, std::memory_order_relaxed); }

}  // namespace fiber::core
