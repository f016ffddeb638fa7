// Python's texts of numbers, for the reports and reprs of the library; quoted(), in exceptions.hpp,
// returns the repr of a text. None of these functions depends on a locale, neither on C's
// (setlocale) nor on the global one of C++.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fiber::detail {

/// Returns Python's repr() of a float: the fewest digits that give the same number again ("0.1",
/// "2.0", "1e-05", "1e+16", "inf", "nan").
FIBER_API std::string float_repr(double number);
/// Returns a number as Python's f"{number:.3f}" does, with up to 17 decimals.
FIBER_API std::string fixed(double number, int decimals);
/// Returns "0x1f" for 31.
FIBER_API std::string hex_repr(std::uintptr_t number);
/// Returns a place in memory: "0x7f…".
FIBER_API std::string address_repr(const void* address);

struct Character {
  char32_t code;
  std::size_t size;  ///< in bytes; 0 if the bytes are no character: then `code` is the first one
};
/// Reads the UTF-8 character with which a text begins, which is not empty. Long forms and
/// surrogates are none.
FIBER_API Character first_character(std::string_view text) noexcept;

}  // namespace fiber::detail
