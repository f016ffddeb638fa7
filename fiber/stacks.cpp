#include <fiber/stacks.hpp>

#include <fiber/core/thread_state.hpp>
#include <fiber/core/usual_stack.hpp>
#include <fiber/exceptions.hpp>

#include <string>

namespace fiber::stacks {

std::size_t default_size() { return core::thread_state().pool.default_shape().size(); }

std::size_t default_size(std::size_t bytes) {
  core::StackPool& pool = core::thread_state().pool;
  if (bytes == 0) bytes = core::usual_stack_shape().size();
  if (bytes < core::kMinStackSize || bytes > core::kMaxStackSize)
    throw ValueError("a default stack size of " + std::to_string(bytes) +
                     " bytes: it must be 16 KiB at least and 1 TiB at most");
  const core::StackShape previous = pool.default_shape();
  pool.default_shape(previous.with(bytes, 0));
  return previous.size();
}

std::size_t default_guard_size() { return core::thread_state().pool.default_shape().guard(); }

std::size_t default_guard_size(std::size_t bytes) {
  core::StackPool& pool = core::thread_state().pool;
  if (bytes == 0) bytes = core::usual_stack_shape().guard();
  if (bytes > core::kMaxGuardSize)
    throw ValueError("a default guard size of " + std::to_string(bytes) +
                     " bytes: it must be 128 GiB at most");
  const core::StackShape previous = pool.default_shape();
  pool.default_shape(previous.with(0, bytes));
  return previous.guard();
}

Census census() {
  const core::StackCensus found = core::thread_state().pool.census();
  return {found.in_use, found.idle, found.reserved_bytes};
}

std::size_t max_idle() { return core::thread_state().pool.max_idle(); }

std::size_t max_idle(std::size_t count) {
  core::StackPool& pool = core::thread_state().pool;
  const std::size_t previous = pool.max_idle();
  pool.max_idle(count);
  return previous;
}

void trim() { core::thread_state().pool.trim(); }

}  // namespace fiber::stacks
