// Names of frames for reports; what they are read from is kept.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace fiber::asyncio::detail {

// By its demangled name: the library's, the standard library's or the C library's start-up.
bool is_library_frame(std::string_view function) noexcept;
// "function+0x12 (file)" of the innermost frame of the user's, given return addresses, innermost
// first. Where there is none, of the library's frame that took the user's function in; else "". From
// any thread.
std::string user_place(std::span<const void* const> addresses);

}  // namespace fiber::asyncio::detail
