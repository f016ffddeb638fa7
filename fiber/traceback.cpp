#include <fiber/traceback.hpp>

#include <fiber/core/backtrace.hpp>
#include <fiber/core/symbols.hpp>
#include <fiber/exceptions/repr.hpp>

#include <algorithm>
#include <iostream>

namespace fiber::traceback {
namespace {

std::vector<const void*> walk(const greenlet& g, const void* frame_address) {
  const detail::GreenletObject* object = g.object();
  if (object == nullptr)
    throw ValueError("this greenlet handle is null: it was made from nullptr, or moved from");
  const detail::GreenletState state = object->state;
  if (state == detail::GreenletState::pending || state == detail::GreenletState::dead) return {};
  if (object->owner.load(std::memory_order_relaxed) != &detail::greenlet_thread())
    throw ValueError("the stack of a greenlet of another thread cannot be walked: " + repr(g));
  const std::vector<void*> frames = state == detail::GreenletState::current
                                        ? core::backtrace_from(frame_address)
                                        : core::backtrace_of(object->context);
  return {frames.begin(), frames.end()};
}

std::vector<FrameSummary> summaries(const std::vector<const void*>& addresses) {
  std::vector<FrameSummary> frames;
  frames.reserve(addresses.size());
  for (const void* address : addresses) {
    // The address of the call: the return address may already belong to another function.
    const auto* call = static_cast<const std::byte*>(address) - 1;
    core::Symbol symbol = core::find_symbol(call);
    frames.push_back({.address = address,
                      .name = std::move(symbol.name),
                      .offset = symbol.offset + 1,
                      .filename = std::move(symbol.object)});
  }
  std::reverse(frames.begin(), frames.end());
  return frames;
}

void print(const greenlet& g, const std::vector<const void*>& addresses, std::ostream& out) {
  std::string text;
  core::with_room([&] {
    if (addresses.empty()) {
      text = "No stack of " + repr(g) + "\n";
    } else {
      text = "Stack of " + repr(g) + " (most recent call last):\n";
      for (const std::string& line : format_list(summaries(addresses))) text += line + "\n";
    }
  });
  out << text << std::flush;
}

}  // namespace

// Each function takes its own frame's address: frames below it do not interest its caller.

std::vector<const void*> walk_stack(const greenlet& g) {
  return walk(g, __builtin_frame_address(0));
}

std::vector<FrameSummary> extract_stack(const greenlet& g) {
  return summaries(walk(g, __builtin_frame_address(0)));
}

std::vector<FrameSummary> extract(const std::vector<const void*>& addresses) {
  return summaries(addresses);
}

std::vector<std::string> format_list(const std::vector<FrameSummary>& frames) {
  std::vector<std::string> lines;
  lines.reserve(frames.size());
  for (const FrameSummary& frame : frames)
    lines.push_back("  File \"" + (frame.filename.empty() ? "?" : frame.filename) + "\", in " +
                    (frame.name.empty() ? "?" : frame.name) + "+" +
                    fiber::detail::hex_repr(frame.offset) + " [" +
                    fiber::detail::address_repr(frame.address) + "]");
  return lines;
}

std::vector<std::string> format_stack(const greenlet& g) {
  return format_list(summaries(walk(g, __builtin_frame_address(0))));
}

void print_stack(const greenlet& g) { print(g, walk(g, __builtin_frame_address(0)), std::cerr); }

void print_stack(const greenlet& g, std::ostream& out) {
  print(g, walk(g, __builtin_frame_address(0)), out);
}

}  // namespace fiber::traceback
