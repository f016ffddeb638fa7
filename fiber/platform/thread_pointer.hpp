// The functions that a platform may give so that fibers can pass for threads: see
// core/own_thread.hpp.
#pragma once

#include <cstdint>

namespace fiber::platform {

// Returns null, or the reason why a program cannot set its thread pointer: the register by which
// code finds its thread_local variables. With `slow`, a system call may set the register where the
// processor has no instruction for that.
const char* why_no_thread_pointer(bool slow) noexcept;

// Return and set the thread pointer of the caller. To be called only if why_no_thread_pointer() has
// returned null for the same `slow`.
std::uintptr_t thread_pointer() noexcept;
void set_thread_pointer(std::uintptr_t pointer, bool slow) noexcept;

// Called by a thread whose pointer will be set on another thread: ends the kernel's use of memory
// that it finds by the pointer.
void prepare_to_lend() noexcept;

}  // namespace fiber::platform
