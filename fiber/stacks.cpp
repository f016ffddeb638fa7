#include <fiber/stacks.hpp>

#include <fiber/core/thread_state.hpp>

namespace fiber::stacks {

Census census() {
  const core::StackCensus found = core::thread_state().pool.census();
  return {found.in_use, found.idle, found.reserved_bytes};
}

std::size_t max_idle() { return core::thread_state().pool.max_idle(); }

void max_idle(std::size_t count) { core::thread_state().pool.max_idle(count); }

void trim() { core::thread_state().pool.trim(); }

}  // namespace fiber::stacks
