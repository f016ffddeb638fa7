// The stacks on which greenlets, generators and tasks run: how large they are, how many there
// are, and how many a thread keeps for the next ones.
//
//   fiber::stacks::default_size(1 << 20);            // for deep calls: 1 MiB of address space each
//   fiber::stacks::max_idle(1000);                   // from now on, in this thread
//   fiber::stacks::trim();                           // after a peak
//
// A stack is taken when a fiber starts and is idle once it has ended. Idle ones keep their memory,
// so that the next fiber finds it warm: a page (4 KiB) of each at least; what deep calls left
// beyond 16 KiB is given back after some hundred uses. So a thread that once had a million fibers
// keeps some 4 GiB, unless it is told otherwise.
//
// Each thread has its own stacks, which go with it; all of this is about the calling thread's, and
// throws RuntimeError in a thread that has already ended its fibers.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>

namespace fiber::stacks {

// The size of those that are made from now on without a size of their own (the option stack_size):
// bytes, rounded up to a power of two; 256 KiB at first, and again for 0. All of it is address
// space; memory is only what a fiber touches. Returns the one before. Throws ValueError (less than
// 16 KiB, more than 1 TiB). Python: threading.stack_size.
FIBER_API std::size_t default_size();
FIBER_API std::size_t default_size(std::size_t bytes);

// How many stacks the thread has.
struct Census {
  std::size_t in_use = 0;          // of fibers that have started and not ended
  std::size_t idle = 0;            // kept with their memory
  std::size_t reserved_bytes = 0;  // of address space, for these and for those to come
};
FIBER_API Census census();

// How many idle stacks keep their memory; without limit at first. Those that become idle beyond it
// give all of it back at once, which costs a system call and, when they are used again, a page
// fault for each page. Idle ones beyond a new limit give theirs back now. Returns the one before.
FIBER_API std::size_t max_idle();
FIBER_API std::size_t max_idle(std::size_t count);

// Gives the memory of all idle stacks back now, and the address space of those that lie together.
FIBER_API void trim();

}  // namespace fiber::stacks
