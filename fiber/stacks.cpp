#include <fiber/stacks.hpp>

#include <fiber/core/thread_state.hpp>
#include <fiber/exceptions.hpp>

#include <bit>
#include <string>

namespace fiber::stacks {

std::size_t default_size() { return core::thread_state().pool.default_size(); }

std::size_t default_size(std::size_t bytes) {
  core::StackPool& pool = core::thread_state().pool;
  if (bytes == 0) bytes = core::kDefaultStackSize;
  if (bytes < core::kMinStackSize || bytes > core::kMaxStackSize)
    throw ValueError("a default stack size of " + std::to_string(bytes) +
                     " bytes: it must be 16 KiB at least and 1 TiB at most");
  const std::size_t previous = pool.default_size();
  pool.default_size(std::bit_ceil(bytes));
  return previous;
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
