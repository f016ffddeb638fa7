// The return addresses on a stack: of the code that runs, or of a context that is suspended.
//
// A suspended stack is read in place: nothing runs on it and nothing of it changes. The unwinder of
// the C++ runtime is started on a frame of ours whose unwinding rules say that it was called by the
// context that is suspended. So frame pointers are not needed, only what exceptions need as well.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/context.hpp>

#include <cstddef>
#include <vector>

namespace fiber::core {

// Bytes between a suspended context's `sp` and its first frame, where the jump keeps the registers.
// Of Boost.Context's they depend on the version, but not the order of the registers below the
// frame. 0: the processor's layout is not known here.
FIBER_API std::size_t saved_registers_size() noexcept;

// Innermost first. `from` must be suspended, and stay so meanwhile. Empty on processors other than
// x86-64 and arm64.
FIBER_API std::vector<void*> backtrace_of(const Context& from);

// Of the calling code, innermost first, without the frames below `frame_address`, which is
// __builtin_frame_address(0) of the function that shall be left out.
FIBER_API std::vector<void*> backtrace_from(const void* frame_address);

}  // namespace fiber::core
