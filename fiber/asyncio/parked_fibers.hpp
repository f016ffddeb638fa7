// Fibers whose task has ended, kept for tasks that are to start: their stacks are warm.
//
// Invariant: a parked fiber waits in task_main, on the stack that its ParkedFiber describes and
// lies on. The code that takes it out switches to it, which ends the ParkedFiber.
#pragma once

#include <fiber/core/context.hpp>
#include <fiber/core/stack.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

struct ParkedFiber {
  core::Context context;
  core::Stack* stack;
  ParkedFiber* next = nullptr;  ///< singly linked: a stack, and hot
};

class ParkedFibers {
 public:
  /// Returns the fiber that was parked last, if its stack has this shape; else null.
  ParkedFiber* fitting(const core::StackShape& wanted) const noexcept {
    return first_ != nullptr && first_->stack->shape.fits(wanted) ? first_ : nullptr;
  }
  /// Returns whether a stack may be parked: a stack of the thread's `usual` shape may, unless many
  /// are parked. Every so often a stack is refused, so that it goes back to the pool, which looks
  /// at how deeply it was used.
  bool wants(core::Stack& stack, core::StackShape usual) const noexcept {
    return count_ != kMost && stack.shape == usual && ++stack.uses < core::kTrimInterval;
  }
  void park(ParkedFiber& fiber) noexcept {
    fiber.next = first_;
    first_ = &fiber;
    ++count_;
  }
  /// Takes out the fiber that was parked last; null if there is none.
  ParkedFiber* take() noexcept {
    ParkedFiber* taken = first_;
    if (taken == nullptr) return nullptr;
    first_ = taken->next;
    --count_;
    return taken;
  }

 private:
  static constexpr std::uint32_t kMost = 16;

  ParkedFiber* first_ = nullptr;
  std::uint32_t count_ = 0;
};

}  // namespace fiber::asyncio::detail
