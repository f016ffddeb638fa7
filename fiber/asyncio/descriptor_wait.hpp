// Waits of suspended tasks for a descriptor, on those tasks' stacks.
#pragma once

#include <fiber/asyncio/ready_queue.hpp>
#include <fiber/core/list.hpp>

#include <cstddef>
#include <cstdint>

namespace fiber::asyncio::detail {

class LoopObject;
class Waiter;

/// A wait for one wake-up. Any number of tasks may wait for one descriptor, in either direction.
struct DescriptorWait {
  int fd = -1;
  std::uint32_t events = 0;  ///< of platform::Events; errors and hang-ups count
  Waiter* waiter = nullptr;  ///< woken once

  std::uint32_t ready = 0;  ///< the events that woke it
  int error = 0;            ///< EBADF: another task has closed the descriptor

  /// Members of the selector.
  bool listed = false;  ///< waits to be woken
  bool woken = false;   ///< was woken, and has not left yet: closing() still finds it
  core::Links<DescriptorWait> links = {};
};

/// A step of the library's own that runs whenever the descriptor is ready, in a handle's place:
/// one for a descriptor and direction. It has a claim in the ready queue for as long as it lives,
/// and claims again when it runs; see leave().
struct DescriptorStep : Leaf {
  DescriptorStep(LoopObject& its_loop, int its_fd, bool its_writing) noexcept
      : loop(its_loop), fd(its_fd), writing(its_writing) {}

  LoopObject& loop;
  const int fd;
  const bool writing;
  int error = 0;  ///< EBADF: another task has closed the descriptor; the step has left its place
  bool listed = false;  ///< in its place
  bool queued = false;  ///< in the ready queue; the step resets it when it runs

  /// Members of the selector.
  bool asked = true;  ///< the kernel has been asked whether the registration is that of this file
  std::size_t position = 0;
  core::Links<DescriptorStep> links = {};
};

}  // namespace fiber::asyncio::detail
