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
// Whether a charset, in lower case, is ISO-8859-1; and its bytes as UTF-8.
bool is_latin1(std::string_view charset) noexcept;
std::string from_latin1(std::string_view bytes);

// Returns name=value&name=value, quoted.
std::string quote_form(const Params& fields);
// Appends the fields to the query of a URL, or of a part of one.
void append_query(std::string& url, const Params& fields);

// Parses and unquotes name=value&name=value; a name alone has the value "". Throws ValueError for
// more than `limit` pairs. `latin1`: escapes stand for bytes of ISO-8859-1; otherwise for those of
// UTF-8.
Params parse_form(std::string_view text, bool latin1 = false, std::size_t limit = 10'000);
// Parses name=value; name="value". Leaves out parts that are not pairs. In quotes a value may have
// semicolons, and escapes as http.cookies writes them: "a\073b".
Params parse_cookies(std::string_view header);

// Convert seconds since 1970 to "Sun, 06 Nov 1994 08:49:37 GMT", and any of RFC 9110's three forms
// of dates back to seconds.
std::string format_date(std::int64_t seconds);
std::optional<std::int64_t> parse_date(std::string_view text) noexcept;

// Returns the parts between commas, without the space around them and without empty parts.
std::vector<std::string_view> split_list(std::string_view text);

// Returns the weight, in thousandths, of a content coding in lists of Accept-Encoding (RFC 9110,
// 12.5.3): by its name, or else by "*", except that "*" says nothing of `identity`. 0: not listed
// or excluded; so is a coding whose weight is malformed.
int coding_weight(const std::vector<std::string_view>& accepted, std::string_view coding) noexcept;

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
