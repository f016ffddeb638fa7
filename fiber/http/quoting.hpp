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

// Replaces %XX by its byte; a malformed escape stays. `plus`: '+' becomes a space, as in forms.
// Parts of the result that are not UTF-8 become U+FFFD.
std::string unquote(std::string_view text, bool plus = false);
// Replaces bytes other than letters, digits, "-._~" and the bytes of `safe` by %XX.
std::string quote(std::string_view text, std::string_view safe = "/");
// Returns `bytes`, in which each malformed part has become U+FFFD.
std::string valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes) noexcept;

// Parses and unquotes name=value&name=value; a name alone has the value "". Drops all pairs beyond
// `limit`.
Params parse_form(std::string_view text, std::size_t limit = 10000);
// Parses name=value; name="value". Leaves out parts that are not pairs.
Params parse_cookies(std::string_view header);

// Convert seconds since 1970 to "Sun, 06 Nov 1994 08:49:37 GMT", and any of RFC 9110's three forms
// of dates back to seconds.
std::string format_date(std::int64_t seconds);
std::optional<std::int64_t> parse_date(std::string_view text) noexcept;

// Returns the parts between commas, without the space around them and without empty parts.
std::vector<std::string_view> split_list(std::string_view text);
bool list_has(std::string_view text, std::string_view token) noexcept;

// A media type such as "text/html; charset=utf-8".
struct MediaType {
  std::string type;   // in lower case
  Params parameters;  // names in lower case, values unquoted
  std::string_view parameter(std::string_view name) const noexcept;
};
MediaType parse_media_type(std::string_view text);

// Returns the reason of a status, such as "Not Found"; "" for a status without a name.
std::string_view reason_phrase(int status) noexcept;

// Whether the text may stand in a head: values, reasons and the like have no control characters.
bool is_field_value(std::string_view text) noexcept;

std::optional<std::string> base64_decode(std::string_view text);
std::string html_escape(std::string_view text);

}  // namespace fiber::http
