#include <fiber/http/json.hpp>

#include <fiber/http/charset.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>
#include <system_error>

namespace fiber::http {
namespace {

// Values that are nested deeper are refused: nlohmann's dump() and copies are recursive, and a
// fiber's stack is small. Python has such a limit, too.
constexpr std::size_t kMostNested = 500;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The result of a scan: the beginning of Python's message, and the offset of the byte at fault.
struct Stop {
  const char* msg;
  std::size_t at;
};

// Whether the number is within the range of double.
bool fits_double(std::string_view number) {
  double value = 0;
#ifdef __cpp_lib_to_chars
  return std::from_chars(number.data(), number.data() + number.size(), value).ec !=
         std::errc::result_out_of_range;
#else
  std::istringstream in{std::string(number)};
  in.imbue(std::locale::classic());
  return static_cast<bool>(in >> value);
#endif
}

// Scans a text as Python's json.loads does, and stops at the fault that json.loads would report.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  [[noreturn]] void scan() {
    if (text_.starts_with("\xEF\xBB\xBF"))
      throw Stop{"Unexpected UTF-8 BOM (decode using utf-8-sig)", 0};
    space();
    value();
    while (!open_.empty()) more();
    space();
    throw Stop{"Extra data", at_};
  }

 private:
  bool is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  void space() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

  // Scans the opening bracket of an array or object. An empty one is scanned to its end: returns
  // false.
  bool open(char end) {
    ++at_;
    space();
    if (is(end)) {
      ++at_;
      return false;
    }
    open_.push_back(end);
    return true;
  }

  // Scans a scalar, or the beginning of an array or object with its first value.
  void value() {
    for (;;) {
      if (open_.size() == kMostNested && (is('{') || is('[')))
        throw Stop{"Arrays and objects are nested more than 500 deep", at_};
      if (is('{')) {
        if (!open('}')) return;
        name();
      } else if (is('[')) {
        if (!open(']')) return;
      } else {
        return scalar();
      }
    }
  }

  // Scans the text after a value within an array or object.
  void more() {
    space();
    if (is(open_.back())) {
      ++at_;
      open_.pop_back();
      return;
    }
    if (!is(',')) throw Stop{"Expecting ',' delimiter", at_};
    const std::size_t comma = at_++;
    space();
    const bool object = open_.back() == '}';
    if (is(open_.back()))
      throw Stop{object ? "Illegal trailing comma before end of object"
                        : "Illegal trailing comma before end of array",
                 comma};
    if (object) name();
    value();
  }

  void name() {
    if (!is('"')) throw Stop{"Expecting property name enclosed in double quotes", at_};
    string();
    space();
    if (!is(':')) throw Stop{"Expecting ':' delimiter", at_};
    ++at_;
    space();
  }

  void scalar() {
    if (is('"')) return string();
    for (const std::string_view word : {"null", "true", "false"})
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return;
      }
    number();
  }

  void string() {
    const std::size_t begin = at_++;
    for (; !is('"'); ++at_) {
      if (at_ >= text_.size()) throw Stop{"Unterminated string starting at", begin};
      if (static_cast<unsigned char>(text_[at_]) < 0x20)
        throw Stop{"Invalid control character at", at_};
      if (text_[at_] == '\\') escape(begin);
    }
    ++at_;
  }

  // Scans an escape sequence, up to its last character.
  void escape(std::size_t begin) {
    const std::size_t backslash = at_++;
    if (at_ >= text_.size()) throw Stop{"Unterminated string starting at", begin};
    if (is('u')) return surrogates();
    if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos)
      throw Stop{"Invalid \\escape", backslash};
  }

  void surrogates() {
    constexpr const char* msg = "Invalid \\uXXXX escape";
    const std::size_t u = at_;
    const unsigned first = four_digits();
    if (first >= 0xDC00 && first < 0xE000) throw Stop{msg, u};
    if (first < 0xD800 || first >= 0xE000) return;
    if (!text_.substr(at_ + 1).starts_with("\\u")) throw Stop{msg, u};
    at_ += 2;
    const unsigned second = four_digits();
    if (second < 0xDC00 || second >= 0xE000) throw Stop{msg, u};
  }

  unsigned four_digits() {
    const std::size_t u = at_;
    unsigned code = 0;
    const char* const begin = text_.data() + u + 1;
    // Python asks for one character behind the four digits; in a complete string it is the quote.
    if (u + 5 >= text_.size() || !std::all_of(begin, begin + 4, [](char c) {
          return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        }))
      throw Stop{"Invalid \\uXXXX escape", u};
    std::from_chars(begin, begin + 4, code, 16);
    at_ += 4;
    return code;
  }

  void digits() {
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  }

  void number() {
    const std::size_t begin = at_;
    const auto digit_at = [this](std::size_t i) { return i < text_.size() && is_digit(text_[i]); };
    if (is('-')) ++at_;
    if (!digit_at(at_)) throw Stop{"Expecting value", begin};
    if (is('0'))
      ++at_;
    else
      digits();
    if (is('.') && digit_at(at_ + 1)) {
      ++at_;
      digits();
    }
    if (is('e') || is('E')) {
      const bool sign = at_ + 1 < text_.size() && (text_[at_ + 1] == '+' || text_[at_ + 1] == '-');
      if (digit_at(at_ + 1 + (sign ? 1 : 0))) {
        at_ += 2;
        digits();
      }
    }
    if (is_too_large(text_.substr(begin, at_ - begin)))
      throw Stop{"Out of range float values are not JSON compliant", begin};
  }

  static bool is_too_large(std::string_view number) {
    if (fits_double(number)) return false;
    // Too large or too small: decided by the power of ten of the first digit.
    if (number.starts_with('-')) number.remove_prefix(1);
    const auto e = number.find_first_of("eE");
    long long exponent = 0;
    if (e != number.npos) {
      const bool plus = number[e + 1] == '+';
      const auto* const from = number.data() + e + (plus ? 2 : 1);
      if (std::from_chars(from, number.data() + number.size(), exponent).ec != std::errc())
        return number[e + 1] != '-';
    }
    const std::string_view mantissa = number.substr(0, e);
    const auto point = static_cast<long long>(std::min(mantissa.find('.'), mantissa.size()));
    const auto first = static_cast<long long>(mantissa.find_first_of("123456789"));
    return exponent + point - first > 0;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string open_;  // the closing brackets of the arrays and objects around at_
};

}  // namespace

std::string JsonFault::text() const {
  return msg + ": line " + std::to_string(lineno) + " column " + std::to_string(colno) + " (char " +
         std::to_string(pos) + ")";
}

JSONDecodeError::JSONDecodeError(JsonFault fault)
    : ValueError(fault.text()), JsonFaultMembers(std::move(fault)) {}
JSONDecodeError::~JSONDecodeError() = default;

JsonFault json_fault(std::string_view text) {
  Stop stop{};
  try {
    Scanner(text).scan();
  } catch (const Stop& found) {
    stop = found;
  }
  const std::string_view before = text.substr(0, stop.at);
  const auto characters = [](std::string_view part) {
    return static_cast<std::size_t>(std::count_if(part.begin(), part.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
  };
  const auto line = before.rfind('\n');
  return {stop.msg, std::string(text), characters(before),
          static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')) + 1,
          characters(before.substr(line == before.npos ? 0 : line + 1)) + 1};
}

namespace detail {

bool may_be_json(std::string_view text) noexcept {
  if (text.find('\0') != text.npos || text.starts_with("\xEF\xBB\xBF")) return false;
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': quoted = !quoted; break;
      case '\\': ++at; break;
      case '[':
      case '{':
        if (!quoted && ++depth > kMostNested) return false;
        break;
      case ']':
      case '}':
        if (!quoted && depth > 0) --depth;
        break;
      default: break;
    }
  }
  return true;
}

void JsonWriter::separate() {
  if (!first_) text += ", ";
  first_ = false;
}
void JsonWriter::open(bool object) {
  text += object ? '{' : '[';
  first_ = true;
}
void JsonWriter::close(bool object) {
  text += object ? '}' : ']';
  first_ = false;
}
void JsonWriter::item() { separate(); }
void JsonWriter::key(std::string_view name) {
  separate();
  string(name);
  text += ": ";
}
void JsonWriter::word(const char* word) { text += word; }
void JsonWriter::number(std::int64_t value) { text += std::to_string(value); }
void JsonWriter::number(std::uint64_t value) { text += std::to_string(value); }

// float.__repr__: the shortest digits that are read back as an equal number, with an exponent below
// 1e-4 and from 1e16 on.
void JsonWriter::number(double value) {
  if (!std::isfinite(value)) {
    finite = false;
    text += std::isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity";
    return;
  }
  char block[40];
  const char* const end =
      std::to_chars(block, block + sizeof block, value, std::chars_format::scientific).ptr;
  const std::string_view whole(block, static_cast<std::size_t>(end - block));
  const auto e = whole.find('e');
  int exponent = 0;
  const char* const sign = block + e + 1;
  std::from_chars(*sign == '+' ? sign + 1 : sign, end, exponent);
  if (exponent < -4 || exponent >= 16) {
    text += whole;
    return;
  }
  std::string digits;
  for (const char c : whole.substr(0, e)) {
    if (is_digit(c)) digits += c;
    if (c == '-') text += c;
  }
  if (exponent < 0) {
    text += "0." + std::string(static_cast<std::size_t>(-exponent) - 1, '0') + digits;
    return;
  }
  const std::size_t point = static_cast<std::size_t>(exponent) + 1;
  digits.resize(std::max(digits.size(), point + 1), '0');
  text += digits.insert(point, ".");
}

void JsonWriter::string(std::string_view value) {
  if (error.empty()) error = utf8_error(value);
  text += '"';
  if (!error.empty()) value = {};
  static constexpr char hex[] = "0123456789abcdef";
  const auto unit = [this](unsigned code) {
    text += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) text += hex[code >> shift & 15];
  };
  static constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
  for (std::size_t i = 0; i < value.size();) {
    const auto c = static_cast<unsigned char>(value[i++]);
    if (const auto at = plain.find(static_cast<char>(c)); at != plain.npos) {
      (text += '\\') += letters[at];
    } else if (c >= ' ' && c < 127) {
      text += static_cast<char>(c);
    } else {
      const int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
      unsigned code = more == 0 ? c : c & (0x3Fu >> more);
      for (int k = 0; k < more; ++k)
        code = code << 6 | (static_cast<unsigned char>(value[i++]) & 0x3F);
      if (code < 0x10000) {
        unit(code);
      } else {
        unit(0xD800 + ((code - 0x10000) >> 10));
        unit(0xDC00 + ((code - 0x10000) & 0x3FF));
      }
    }
  }
  text += '"';
}

}  // namespace detail
}  // namespace fiber::http
