#include <fiber/asyncio/idna.hpp>

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <cstdint>

namespace fiber::asyncio::detail {
namespace {

[[noreturn]] void refuse(std::string_view host, const std::string& why) {
  throw ValueError("'" + std::string(host) + "' is not the name of a host: " + why);
}

constexpr std::string_view kPrefix = "xn--";

// Only the last label may be empty: behind the dot of a fully qualified name.
void check_label(std::size_t size, bool is_last, std::string_view host) {
  if (size == 0 && !is_last) refuse(host, "a label is empty");
  if (size > 63) refuse(host, "a label is longer than 63 bytes");
}

std::u32string decode_utf8(std::string_view host) {
  std::u32string text;
  for (std::size_t at = 0; at < host.size();) {
    const auto lead = static_cast<unsigned char>(host[at]);
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
    if (size == 0 || at + size > host.size()) refuse(host, "not UTF-8");
    char32_t c = size == 1 ? lead : lead & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) {
      const auto next = static_cast<unsigned char>(host[at + i]);
      if ((next & 0xC0U) != 0x80U) refuse(host, "not UTF-8");
      c = (c << 6U) | (next & 0x3FU);
    }
    if ((size == 3 && c < 0x800) || (size == 4 && (c < 0x10000 || c > 0x10FFFF)) ||
        (c >= 0xD800 && c < 0xE000))
      refuse(host, "not UTF-8");
    text += c;
    at += size;
  }
  return text;
}

// Appends `c` as mapped by IDNA 2003: lower case, and one form for compatible characters.
void append_folded(std::u32string& text, char32_t c) {
  if (c == 0xDF || c == 0x1E9E) {
    text += U"ss";
    return;
  }
  if (c == 0xAD) return;                        // a soft hyphen
  if (c >= 0xFF01 && c <= 0xFF5E) c -= 0xFEE0;  // full width
  if (c == 0x3002 || c == 0xFF61) c = U'.';     // ideographic full stops
  // NOLINTBEGIN(bugprone-branch-clone): in the order of code points
  if (c >= U'A' && c <= U'Z')
    c += 0x20;
  else if ((c >= 0xC0 && c <= 0xDE && c != 0xD7))
    c += 0x20;
  else if (c == 0x130) {
    text += U"i\u0307";
    return;
  } else if (c == 0x178)
    c = 0xFF;
  else if ((c >= 0x100 && c <= 0x137) || (c >= 0x14A && c <= 0x177))
    c |= 1U;
  else if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E))
    c += c & 1U;
  else if (c == 0x3C2)
    c = 0x3C3;  // the final sigma
  else if (c >= 0x391 && c <= 0x3AB && c != 0x3A2)
    c += 0x20;
  else if (c == 0x386)
    c = 0x3AC;
  else if (c >= 0x388 && c <= 0x38A)
    c += 0x25;
  else if (c == 0x38C)
    c = 0x3CC;
  else if (c == 0x38E || c == 0x38F)
    c += 0x3F;
  else if (c >= 0x410 && c <= 0x42F)
    c += 0x20;
  else if (c >= 0x400 && c <= 0x40F)
    c += 0x50;
  else if ((c >= 0x460 && c <= 0x481) || (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F))
    c |= 1U;
  else if (c >= 0x531 && c <= 0x556)
    c += 0x30;
  else if (c >= 0x1E00 && c <= 0x1EFF && !(c >= 0x1E96 && c <= 0x1E9F))
    c |= 1U;
  // NOLINTEND(bugprone-branch-clone)
  text += c;
}

// Encodes a label by RFC 3492.
std::string punycode(std::u32string_view label, std::string_view host) {
  constexpr std::uint32_t kBase = 36;
  constexpr std::uint32_t kLeast = 1;
  constexpr std::uint32_t kMost = 26;
  constexpr std::uint32_t kSkew = 38;
  constexpr std::uint32_t kDamp = 700;
  std::string out;
  for (const char32_t c : label)
    if (c < 0x80) out += static_cast<char>(c);
  const auto basic = static_cast<std::uint32_t>(out.size());
  std::uint32_t handled = basic;
  if (basic != 0) out += '-';
  std::uint32_t bias = 72;
  std::uint64_t delta = 0;
  char32_t from = 0x80;
  while (handled < label.size()) {
    char32_t next = 0x110000;
    for (const char32_t c : label)
      if (c >= from) next = std::min(next, c);
    delta += std::uint64_t{next - from} * (handled + 1);
    from = next;
    for (const char32_t c : label) {
      if (c < from) ++delta;
      if (c != from) continue;
      std::uint64_t rest = delta;
      for (std::uint32_t k = kBase;; k += kBase) {
        const std::uint32_t limit = k <= bias ? kLeast : std::min(k - bias, kMost);
        if (rest < limit) break;
        const auto digit = static_cast<std::uint32_t>(limit + (rest - limit) % (kBase - limit));
        out += static_cast<char>(digit < 26 ? 'a' + digit : '0' + (digit - 26));
        rest = (rest - limit) / (kBase - limit);
      }
      out += static_cast<char>(rest < 26 ? 'a' + rest : '0' + (rest - 26));
      std::uint64_t adapted = handled == basic ? delta / kDamp : delta / 2;
      adapted += adapted / (handled + 1);
      std::uint32_t k = 0;
      for (; adapted > (kBase - kLeast) * kMost / 2; k += kBase) adapted /= kBase - kLeast;
      bias = k + static_cast<std::uint32_t>((kBase - kLeast + 1) * adapted / (adapted + kSkew));
      delta = 0;
      ++handled;
    }
    ++delta;
    ++from;
  }
  check_label(out.size() + kPrefix.size(), true, host);
  return out;
}

}  // namespace

std::string to_ascii(std::string_view host) {
  if (std::all_of(host.begin(), host.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    for (std::size_t at = 0; at <= host.size();) {
      const std::size_t end = std::min(host.find('.', at), host.size());
      check_label(end - at, end == host.size(), host);
      at = end + 1;
    }
    return std::string(host);
  }
  std::u32string folded;
  for (const char32_t c : decode_utf8(host)) append_folded(folded, c);
  std::string ascii;
  for (std::size_t at = 0; at <= folded.size();) {
    const std::size_t end = std::min(folded.find(U'.', at), folded.size());
    const std::u32string_view label = std::u32string_view(folded).substr(at, end - at);
    if (at != 0) ascii += '.';
    if (std::any_of(label.begin(), label.end(), [](char32_t c) { return c >= 0x300 && c < 0x370; }))
      refuse(host, "it has combining marks: compose them with their letters (NFC)");
    if (std::all_of(label.begin(), label.end(), [](char32_t c) { return c < 0x80; })) {
      check_label(label.size(), end == folded.size(), host);
      for (const char32_t c : label) ascii += static_cast<char>(c);
    } else {
      ascii += kPrefix;
      ascii += punycode(label, host);
    }
    at = end + 1;
  }
  return ascii;
}

}  // namespace fiber::asyncio::detail
