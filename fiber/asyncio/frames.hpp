// Frames for reports: which of them are the program's own, and what they are called.
#pragma once

#include <fiber/traceback.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fiber::asyncio::detail {

class TaskBase;

/// By its demangled name: the library's, the standard library's or the C library's start-up.
bool is_library_frame(std::string_view function) noexcept;

/// The frames of the program's own among `frames`, both innermost first. Where the body of a task
/// has none, because it was inlined into the library's function that calls it, that function's
/// frame stands for it, under the body's name. Of a program without symbols all frames that may be
/// its own are kept.
std::vector<traceback::FrameSummary> user_frames(std::vector<traceback::FrameSummary> frames);

/// "function+0x12 (file)" of the innermost of the program's own frames, or "file+0x1234" if it has
/// no symbols; "" if there is none. Return addresses, innermost first. From any thread.
std::string user_place(const std::vector<const void*>& addresses);

/// The text of user_place() for one frame.
std::string place(const traceback::FrameSummary& frame);

}  // namespace fiber::asyncio::detail
