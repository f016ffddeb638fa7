// What waits in libc and cannot be made to wait on the loop: by name, with what to do about it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace fiber::monkey::detail {

struct Blocking {
  std::string_view function;
  std::string_view advice;
};

std::span<const Blocking> blocking_functions() noexcept;

// Empty, or what to do about a function that blocks.
std::string_view advice_on(std::string_view function) noexcept;

// Null, or why patch_all leaves a file of that name alone.
const char* why_untouchable(std::string_view file_name) noexcept;

}  // namespace fiber::monkey::detail
