// Names of frames for reports; what they are read from is kept.
#pragma once

#include <string>
#include <string_view>

namespace fiber::asyncio::detail {

// By its demangled name: the library's, the standard library's or the C library's start-up.
bool is_library_frame(std::string_view function) noexcept;
// "function (file+0x12)" of a return address; "" for a library's frame. From any thread.
std::string user_place(const void* address);

}  // namespace fiber::asyncio::detail
