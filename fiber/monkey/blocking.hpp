// The functions of libc that block and cannot wait on the loop: names and advice.
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

// Returns advice about a function that blocks, "" for any other function. `is_patchable`: about the
// uses in which its replacement blocks.
std::string_view advice_on(std::string_view function, bool is_patchable) noexcept;

// Returns why patch_all does not patch a file of that name, or null.
const char* why_untouchable(std::string_view file_name) noexcept;

}  // namespace fiber::monkey::detail
