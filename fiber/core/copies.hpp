// Two copies of the library in one process, for instance a static one inside each of two shared
// objects. Each copy has its own record of the fiber that runs, so fibers of one copy must not
// switch by handles of the other.
//
// Copies find each other through the alternate signal stack: the one thing of a thread that all
// copies share and can ask for. The copy that came first makes that stack and begins its memory
// with a record; the others enter themselves into the record. Where the thread has a signal stack
// from elsewhere, copies stay unknown to each other.
#pragma once

#include <fiber/core/thread_state.hpp>

#include <cstddef>

namespace fiber::core {

// Makes the record at the start of the alternate signal stack that this copy has made.
void begin_copies(void* signal_stack, ThreadState& thread) noexcept;
// Enter this copy into the record of another copy, if the thread has one, and remove it again.
void enter_copies(ThreadState& thread) noexcept;
void leave_copies() noexcept;

// Writes a line to stderr, once, if the caller runs on a fiber of another copy. To be called where
// fibers are used for the first time.
void look_for_copies() noexcept;

// Bytes that the record takes.
inline constexpr std::size_t kCopiesSize = 256;

}  // namespace fiber::core
