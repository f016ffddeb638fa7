// Functions for texts of HTTP: ASCII only, in every locale.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fiber::http {

inline char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

inline std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = lower(c);
  return result;
}

inline char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
}

inline std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = upper(c);
  return result;
}

// Whether `c` is one of a few characters. Faster than std::string_view::find for so few.
constexpr bool is_one_of(char c, std::string_view characters) noexcept {
  for (const char one : characters)
    if (one == c) return true;
  return false;
}

// Returns the place of the first of a few characters, npos if the text has none of them. Faster
// than std::string_view::find_first_of, which calls memchr for each character of the text.
constexpr std::size_t find_any(std::string_view text, std::string_view characters) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i)
    if (is_one_of(text[i], characters)) return i;
  return std::string_view::npos;
}

// A set of characters that is asked for each character of a text: one look into a table.
class CharSet {
 public:
  constexpr explicit CharSet(std::string_view characters) noexcept {
    for (const char c : characters) has_[static_cast<unsigned char>(c)] = true;
  }
  constexpr bool has(char c) const noexcept { return has_[static_cast<unsigned char>(c)]; }
  // Returns the place of the first of these characters, npos if the text has none of them.
  constexpr std::size_t find_in(std::string_view text) const noexcept {
    for (std::size_t i = 0; i < text.size(); ++i)
      if (has(text[i])) return i;
    return std::string_view::npos;
  }

 private:
  std::array<bool, 256> has_{};
};

// Removes the `blanks` at both ends.
constexpr std::string_view strip(std::string_view text, std::string_view blanks = " \t") noexcept {
  while (!text.empty() && is_one_of(text.front(), blanks)) text.remove_prefix(1);
  while (!text.empty() && is_one_of(text.back(), blanks)) text.remove_suffix(1);
  return text;
}

// Removes the first item, with the separator after it, and returns it without the blanks around it.
inline std::string_view take_item(std::string_view& list, char separator = ',') noexcept {
  const std::string_view item = list.substr(0, list.find(separator));
  list.remove_prefix(std::min(item.size() + 1, list.size()));
  return strip(item);
}

// Whether a list between commas has the token, in letters of any case.
inline bool list_has(std::string_view list, std::string_view token) noexcept {
  while (!list.empty())
    if (equal_ignoring_case(take_item(list), token)) return true;
  return false;
}

// Returns the value of a hexadecimal digit, -1 for any other character.
inline int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Returns the byte of an escape such as "%41" at `at`, -1 if there is no escape.
inline int percent_byte(std::string_view text, std::size_t at) noexcept {
  if (at + 2 >= text.size() || text[at] != '%') return -1;
  const int high = hex_value(text[at + 1]), low = hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

inline void append_percent(std::string& out, unsigned char byte) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  ((out += '%') += digits[byte >> 4]) += digits[byte & 15];
}

// Replaces escapes by their bytes; a malformed escape stays.
inline std::string unquote_to_bytes(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int byte = percent_byte(text, i);
    out += byte < 0 ? text[i] : static_cast<char>(byte);
    if (byte >= 0) i += 2;
  }
  return out;
}

inline bool is_alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Whether RFC 3986, 2.3, calls the character unreserved: such characters need no quoting.
inline bool is_unreserved(char c) noexcept {
  static constexpr CharSet unreserved(
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~");
  return unreserved.has(c);
}

// Whether the text is a token of RFC 9110, 5.6.2: the names of fields and methods are.
inline bool is_token(std::string_view text) noexcept {
  static constexpr CharSet characters(
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-!#$%&'*+.^_`|~");
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return characters.has(c); });
}

// Puts a value of a cookie in quotes as http.cookies does: `stands(c)` says which characters need
// no escape.
template <class Stands>
std::string quoted_cookie(std::string_view value, Stands stands) {
  std::string text = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (text += '\\') += c;
    } else if (stands(c)) {
      text += c;
    } else {
      text += '\\';
      for (const int shift : {6, 3, 0}) text += static_cast<char>('0' + (byte >> shift & 7));
    }
  }
  return text += '"';
}

inline std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      word = word << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      text += k <= count ? kDigits[(word >> (18 - 6 * k)) & 63] : '=';
  }
  return text;
}

// A value of Authorization, by RFC 7617.
inline std::string basic_authorization(const BasicAuth& auth) {
  return "Basic " + base64(auth.username + ":" + auth.password);
}

}  // namespace fiber::http
