#include <fiber/exceptions/repr.hpp>

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

namespace fiber::detail {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// The code points from U+0080 on that str.isprintable() refuses, without those not assigned yet.
constexpr Range kNotPrintable[] = {
    {0x80, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},
    {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},
    {0x205f, 0x2064},   {0x2066, 0x206f},   {0x3000, 0x3000},   {0xd800, 0xf8ff},
    {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0xfffe, 0xffff},
    {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
    {0x1d173, 0x1d17a}, {0x1fffe, 0x1ffff}, {0x2fffe, 0x2ffff}, {0x323b0, 0xe00ff},
    {0xe01f0, 0x10ffff}};

bool printable(char32_t c) noexcept {
  if (c < 0x80) return c >= 0x20 && c != 0x7f;
  const Range* range =
      std::lower_bound(std::begin(kNotPrintable), std::end(kNotPrintable), c,
                       [](const Range& each, char32_t value) { return each.last < value; });
  return range == std::end(kNotPrintable) || c < range->first;
}

void append_escape(std::string& out, char32_t code) {
  const char kind = code < 0x100 ? 'x' : code < 0x10000 ? 'u' : 'U';
  out.append(1, '\\').append(1, kind);
  const int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out += "0123456789abcdef"[code >> static_cast<unsigned>(shift) & 15U];
}

// Long enough for each double with 17 decimals or fewer.
constexpr std::size_t kLongestNumber = 400;

template <class... Format>
std::string number_text(double number, Format... format) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char text[kLongestNumber];
  return std::string(text, std::to_chars(text, text + sizeof text, number, format...).ptr);
}

}  // namespace

Character first_character(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {lead, 0};
  char32_t code = lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {lead, 0};
    code = code << 6U | (byte(i) & 0x3fU);
  }
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (surrogate || code > 0x10ffff || (size == 3 && code < 0x800) || (size == 4 && code < 0x10000))
    return {lead, 0};
  return {code, size};
}

// Bytes that are not UTF-8 are shown as Python shows those of a file's name: "\udcff".
std::string quoted(std::string_view text) {
  const bool apostrophe = text.find('\'') != std::string_view::npos;
  const char quote = apostrophe && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string quoted(1, quote);
  while (!text.empty()) {
    const Character next = first_character(text);
    const char c = text.front();
    if (next.size == 0)
      append_escape(quoted, 0xdc00 + next.code);
    else if (c == quote || c == '\\')
      quoted.append(1, '\\').append(1, c);
    else if (c == '\n' || c == '\r' || c == '\t')
      quoted += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    else if (!printable(next.code))
      append_escape(quoted, next.code);
    else
      quoted += text.substr(0, next.size);
    text.remove_prefix(std::max<std::size_t>(next.size, 1));
  }
  return quoted + quote;
}

std::string float_repr(double number) {
  const double size = std::fabs(number);
  if (!std::isfinite(number)) return number_text(number);
  if (size != 0 && (size < 1e-4 || size >= 1e16))
    return number_text(number, std::chars_format::scientific);
  const std::string text = number_text(number, std::chars_format::fixed);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string fixed(double number, int decimals) {
  return number_text(number, std::chars_format::fixed, decimals);
}

std::string hex_repr(std::uintptr_t number) {
  char text[2 * sizeof number];
  return "0x" + std::string(text, std::to_chars(text, text + sizeof text, number, 16).ptr);
}

std::string address_repr(const void* address) {
  return hex_repr(reinterpret_cast<std::uintptr_t>(address));
}

}  // namespace fiber::detail
