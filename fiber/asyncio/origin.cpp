#include <fiber/asyncio/origin.hpp>

#include <fiber/asyncio/frames.hpp>
#include <fiber/core/backtrace.hpp>
#include <fiber/traceback.hpp>

#include <algorithm>

namespace fiber::asyncio::detail {

core::Owner<const Origin> Origin::here() {
  auto origin = core::make_owner<Origin>();
  const std::vector<void*> frames = core::backtrace_from(__builtin_frame_address(0));
  origin->frames_.assign(frames.begin(), frames.end());
  return origin;
}

std::string Origin::traceback() const {
  std::vector<traceback::FrameSummary> frames = fiber::traceback::extract(frames_);
  std::reverse(frames.begin(), frames.end());
  const std::vector<traceback::FrameSummary> own = user_frames(frames);
  std::reverse(frames.begin(), frames.end());
  if (!own.empty())
    while (frames.back().address != own.front().address) frames.pop_back();
  std::string text;
  for (const std::string& line : fiber::traceback::format_list(frames)) text += line + "\n";
  return text;
}

const std::string& Origin::place() const {
  if (place_.empty()) place_ = user_place(frames_);
  if (place_.empty()) place_.push_back('?');
  return place_;
}

}  // namespace fiber::asyncio::detail
