// The stacks on which fibers run: their size, their number, and the number
// that a thread keeps for the next fibers.
//
//   fiber::stacks::default_size(1 << 20);            // for deep calls: 1 MiB of address space each
//   fiber::stacks::default_guard_size(1 << 20);      // for frames of up to 1 MiB
//   fiber::stacks::max_idle(1000);                   // from now on, in this thread
//   fiber::stacks::trim();                           // after a peak
//
// A stack is taken when a fiber starts and is idle once it has ended. Idle stacks keep their
// memory, so that the next fiber finds it warm: at least a page (4 KiB) of each; memory beyond 16
// KiB, which deep calls have touched, is given back after some hundred uses. So a thread that once
// had a million fibers keeps some 4 GiB, unless it is told otherwise.
//
// Below each stack lies a guard, which is address space besides the stack's size: touching it ends
// the process with a message that names the fiber. So the overflow of a stack is found, unless a
// single frame (the locals of one function: think of `char buffer[1 << 20]`) is wider than the
// guard and steps over it, into the memory below: most likely another fiber's stack. Code with
// wider frames needs a wider guard, or to be compiled with -fstack-clash-protection: then a
// function touches each page of its frame in order.
//
// Each thread has its own stacks, which go with it; all functions here are about the calling
// thread's, and throw RuntimeError in a thread that has already ended its fibers.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>

namespace fiber::stacks {

/// Returns, or sets, the size of stacks that are made from now on without a size of their own (the
/// option stack_size): bytes, rounded up to a power of two, and to whole pages; 256 KiB at first,
/// and again for 0; 1 MiB instead once fiber/monkey.hpp has patched anything. Frames have all of it
/// but some 1 KiB at its top. The size is address space; only the pages that a fiber touches take
/// memory. Setting returns the previous size. Throws ValueError (less than 16 KiB, more than 1
/// TiB). Python: threading.stack_size.
FIBER_API std::size_t default_size();
FIBER_API std::size_t default_size(std::size_t bytes);

/// Returns, or sets, the size of the guards of such stacks (the option guard_size): bytes, rounded
/// up to whole pages, one at least; 68 KiB at first, and again for 0: wide enough for frames with a
/// buffer of 64 KiB; 1 MiB instead once fiber/monkey.hpp has patched anything. Guards of any width
/// take no memory. Setting returns the previous size. Throws ValueError (more than 128 GiB). Python
/// has no counterpart.
FIBER_API std::size_t default_guard_size();
FIBER_API std::size_t default_guard_size(std::size_t bytes);

/// The numbers of the thread's stacks.
struct Census {
  std::size_t in_use = 0;          ///< of fibers that have started and not ended
  std::size_t idle = 0;            ///< kept with their memory
  std::size_t reserved_bytes = 0;  ///< address space, for these and future stacks
};
FIBER_API Census census();  ///< Returns the numbers of this thread.

/// Returns, or sets, the number of idle stacks that keep their memory; without limit at first.
/// Stacks that become idle beyond it give all of their memory back at once, which costs a system
/// call and, when they are used again, a page fault for each page. A new limit makes idle stacks
/// beyond it give their memory back now. Setting returns the previous limit.
FIBER_API std::size_t max_idle();
FIBER_API std::size_t max_idle(std::size_t count);

/// Gives back the memory of all idle stacks now. Address space is reserved for many stacks at once:
/// that of a group in which no stack is in use is given back, too.
FIBER_API void trim();

}  // namespace fiber::stacks
