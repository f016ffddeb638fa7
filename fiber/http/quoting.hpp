// The small languages inside HTTP: percent signs, forms, cookies, dates, lists, parameters.
#pragma once

#include <fiber/config.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/http/text.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// %XX becomes its byte; what is no such escape stays. `plus`: '+' becomes a space, as in forms.
// What is not UTF-8 then is replaced by U+FFFD.
std::string unquote(std::string_view text, bool plus = false);
// Bytes other than letters, digits, "-._~" and those of `safe` become %XX.
std::string quote(std::string_view text, std::string_view safe = "/");
// Well-formed as it is; otherwise each malformed part becomes U+FFFD.
std::string valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes) noexcept;

// name=value&name=value, unquoted; a name alone has the value "". At most `limit` pairs: the rest
// is dropped.
Params parse_form(std::string_view text, std::size_t limit = 10000);
// name=value; name="value": what is no pair is left out.
Params parse_cookies(std::string_view header);

// "Sun, 06 Nov 1994 08:49:37 GMT" of seconds since 1970, and back; all three forms of RFC 9110.
std::string format_date(std::int64_t seconds);
std::optional<std::int64_t> parse_date(std::string_view text) noexcept;

// The parts between commas, without the space around them; empty ones are left out.
std::vector<std::string_view> split_list(std::string_view text);
bool list_has(std::string_view text, std::string_view token) noexcept;

// "text/html; charset=utf-8" and its like.
struct MediaType {
  std::string type;   // in lower case
  Params parameters;  // names in lower case, values unquoted
  std::string_view parameter(std::string_view name) const noexcept;
};
MediaType parse_media_type(std::string_view text);

// "Not Found"; "" for a status that has no name.
std::string_view reason_phrase(int status) noexcept;

// May stand in a head: values, reasons and such have no control characters.
bool is_field_value(std::string_view text) noexcept;

std::optional<std::string> base64_decode(std::string_view text);
std::string html_escape(std::string_view text);

}  // namespace fiber::http
