#include <fiber/asyncio/frames.hpp>

#include <fiber/asyncio/detail/coroutine_name.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

namespace fiber::asyncio::detail {
namespace {

// Returns whether a file is a library's: for frames without a name, only the file tells.
bool is_library_file(std::string_view path) noexcept {
  const std::string_view file = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view ours : {"libfiber", "libstdc++.", "libc++.", "libc++abi.", "libc.",
                                      "libgcc_s.", "libunwind.", "ld-linux", "ld-musl"})
    if (file.starts_with(ours)) return true;
  return file.empty();
}

bool is_library_frame(const traceback::FrameSummary& frame) noexcept {
  return frame.name.empty() ? is_library_file(frame.filename)
                            : detail::is_library_frame(std::string_view(frame.name));
}

// Returns true for the code of `callable`: its operator(), or a clone of it.
bool is_of(const traceback::FrameSummary& frame, const std::string& callable) {
  return frame.name.starts_with(callable + "::operator()");
}

}  // namespace

// Returns whether the function is a library's. A function template's name begins with its return
// type: the last word before the parameters counts.
bool is_library_frame(std::string_view function) noexcept {
  if (function.empty()) return true;
  if (function.starts_with("_start") || function.starts_with("__libc_start") ||
      function.starts_with("__cxa_") || function.starts_with("_Unwind_"))
    return true;
  std::string_view head = function.substr(0, function.find_first_of("(<{"));
  const std::size_t space = head.find_last_of(" *&");
  if (space != std::string_view::npos) head.remove_prefix(space + 1);
  return head.starts_with("fiber::") || head.starts_with("std::") || head.starts_with("decltype");
}

std::vector<traceback::FrameSummary> user_frames(std::vector<traceback::FrameSummary> frames) {
  std::vector<traceback::FrameSummary> kept;
  std::size_t inside = 0;  // the frames of `kept` from here on lie inside the current body
  for (traceback::FrameSummary& frame : frames) {
    if (!is_library_frame(frame)) {
      kept.push_back(std::move(frame));
      continue;
    }
    std::string body = callable_in(frame.name);
    if (body.empty()) continue;
    const bool shown =
        std::any_of(kept.begin() + static_cast<std::ptrdiff_t>(inside), kept.end(),
                    [&](const traceback::FrameSummary& its) { return is_of(its, body); });
    // A body that is a function has a frame of its own, or is inlined as well.
    if (!shown && body.find("(*)") == std::string::npos && !is_library_frame(body)) {
      frame.name = std::move(body);
      kept.push_back(std::move(frame));
    }
    inside = kept.size();
  }
  return kept;
}

std::string place(const traceback::FrameSummary& frame) {
  char offset[32];
  std::snprintf(offset, sizeof offset, "+0x%zx", frame.offset);
  const std::string file = frame.filename.empty() ? "?" : frame.filename;
  return frame.name.empty() ? file + offset : frame.name + offset + " (" + file + ")";
}

std::string user_place(const std::vector<const void*>& addresses) {
  std::vector<traceback::FrameSummary> frames = traceback::extract(addresses);
  std::reverse(frames.begin(), frames.end());
  const std::vector<traceback::FrameSummary> kept = user_frames(std::move(frames));
  return kept.empty() ? "" : place(kept.front());
}

}  // namespace fiber::asyncio::detail
