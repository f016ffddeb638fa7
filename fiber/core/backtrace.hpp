// The return addresses on the stack of the running code, or of a suspended context.
//
// A suspended stack is read in place: nothing runs on it and nothing of it changes. The unwinder of
// the C++ runtime starts on a frame of ours whose unwinding rules say that the suspended context
// has called it. So no frame pointers are needed, only the tables that exceptions need as well.
#pragma once

#include <fiber/core/context.hpp>

#include <cstddef>
#include <vector>

namespace fiber::core {

// Returns the bytes between a suspended context's `sp` and its first frame, where the jump keeps
// the registers; 0 if the processor's layout is not known here. With Boost.Context the number
// depends on the version of Boost; the order of the registers right below the frame does not.
std::size_t saved_registers_size() noexcept;

// Returns the addresses of a suspended context, innermost first. `from` must stay suspended
// meanwhile. Empty on processors that call_below.hpp does not name.
std::vector<void*> backtrace_of(const Context& from);

// Returns the addresses of the calling code, innermost first. `frame_address` is the
// __builtin_frame_address(0) of the outermost function to leave out.
std::vector<void*> backtrace_from(const void* frame_address);

}  // namespace fiber::core
