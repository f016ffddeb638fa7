// A wait of a suspended task for a descriptor, on that task's stack. Any number of tasks may wait
// for one descriptor, in either direction.
#pragma once

#include <fiber/core/list.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

class Waiter;

struct DescriptorWait {
  int fd = -1;
  std::uint32_t events = 0;  ///< of platform::Events; errors and hang-ups count
  Waiter* waiter = nullptr;  ///< woken once

  std::uint32_t ready = 0;  ///< the events that woke it
  int error = 0;            ///< EBADF: another task has closed the descriptor

  /// Members of the selector.
  bool listed = false;
  core::Links<DescriptorWait> links = {};
};

}  // namespace fiber::asyncio::detail
