#include <fiber/asyncio/detail/frames.hpp>

#include <fiber/core/symbols.hpp>

#include <cstddef>
#include <cstdio>
#include <mutex>

namespace fiber::asyncio::detail {

// A function template's name begins with its return type: the last word before the parameters
// counts.
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

namespace {

// The library's templates take in the functions that they call: when optimised, those have no frames
// of their own.
bool hosts_user_code(std::string_view function) noexcept {
  return function.starts_with("fiber::asyncio::") &&
         (function.ends_with(">::call()") || function.ends_with(">::run_body()"));
}

}  // namespace

std::string user_place(std::span<const void* const> addresses) {
  static std::mutex& mutex = *new std::mutex;
  static core::Symbols& symbols = *new core::Symbols;
  const std::lock_guard lock(mutex);
  const auto text_of = [](const core::Symbol& symbol) {
    char offset[32];
    std::snprintf(offset, sizeof offset, "+0x%zx", symbol.offset + 1);
    return symbol.name + offset + (symbol.object.empty() ? "" : " (" + symbol.object + ")");
  };
  std::string host;
  for (const void* address : addresses) {
    const core::Symbol symbol = symbols.find(static_cast<const std::byte*>(address) - 1);
    if (!is_library_frame(symbol.name)) return text_of(symbol);
    if (host.empty() && hosts_user_code(symbol.name)) host = text_of(symbol);
  }
  return host;
}

}  // namespace fiber::asyncio::detail
