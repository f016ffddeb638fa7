// Frames for reports: the program's own ones, and their names.
#pragma once

#include <fiber/traceback.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fiber::asyncio::detail {

class TaskBase;

/// Returns, by a demangled name, whether a function is the library's, the standard library's or the
/// C library's start-up.
bool is_library_frame(std::string_view function) noexcept;

/// Returns the frames of the program's own among `frames`, both innermost first. A task's body that
/// was inlined into the library's function has no frame: the frame of the library's function is
/// returned in its place, under the body's name. For a program without symbols, all frames that may
/// be the program's own are returned.
std::vector<traceback::FrameSummary> user_frames(std::vector<traceback::FrameSummary> frames);

/// Returns "function+0x12 (file)" of the innermost of the program's own frames, or "file+0x1234" if
/// it has no symbols; "" if there is none. Takes return addresses, innermost first. From any
/// thread.
std::string user_place(const std::vector<const void*>& addresses);

/// Returns the text of user_place() for one frame.
std::string place(const traceback::FrameSummary& frame);

}  // namespace fiber::asyncio::detail
