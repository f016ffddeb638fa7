// What a platform may give so that fibers can pass for threads: see core/own_thread.hpp.
#pragma once

#include <cstdint>

namespace fiber::platform {

// Returns null, or the reason why a program cannot set its thread pointer: the register by which
// code finds its thread_local variables. With `slow`, a system call may set it where there are no
// instructions.
const char* why_no_thread_pointer(bool slow) noexcept;

// The thread pointer of the caller. These are for use where the question above has been answered
// with null, for the same `slow`.
std::uintptr_t thread_pointer() noexcept;
void set_thread_pointer(std::uintptr_t pointer, bool slow) noexcept;

// Called by a thread whose pointer will be set on another one: ends the kernel's use of memory
// that is found by the pointer.
void prepare_to_lend() noexcept;

}  // namespace fiber::platform
