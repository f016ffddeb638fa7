// Two copies of the library in one process: a static one inside each of two shared objects, say.
// Each has its own idea of which fiber runs, so fibers of the one must not switch by the other's
// handles.
//
// Copies find each other through the one thing of a thread that they share and that anybody can ask
// for: its alternate signal stack. The copy that came first made it and begins it with a record;
// the others enter themselves there. So copies stay unknown to each other where the thread has such
// a stack from elsewhere.
#pragma once

#include <fiber/core/thread_state.hpp>

#include <cstddef>

namespace fiber::core {

// Makes the record at the start of the alternate signal stack that this copy has made.
void begin_copies(void* signal_stack, ThreadState& thread) noexcept;
// Enters this copy into another's record, if the thread has one; and takes it out.
void enter_copies(ThreadState& thread) noexcept;
void leave_copies() noexcept;

// To be called where fibers are to be had for the first time: a line on stderr, once, if the caller
// runs on a fiber of another copy.
void look_for_copies() noexcept;

// Bytes that the record takes.
inline constexpr std::size_t kCopiesSize = 256;

}  // namespace fiber::core
