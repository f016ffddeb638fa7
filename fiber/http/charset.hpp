// Decodes the bytes of a body to text.
#pragma once

#include <fiber/http/headers.hpp>

#include <string>
#include <string_view>

namespace fiber::http {

// Returns the charset named by Content-Type, in the case that was sent; "" if none is named.
std::string charset_of(const Headers& headers);

// Converts `bytes` from `charset` to UTF-8. Malformed parts become U+FFFD (Python's
// errors="replace"); a charset that Python does not know is taken for UTF-8, as in requests.
std::string decode(std::string_view bytes, const std::string& charset);

// Throws LookupError, "unknown encoding: nonsense", for a charset that decode() does not know, and
// ValueError for a zero byte in the name.
void check_charset(const std::string& charset);

// Whether decode() takes the charset for UTF-8; true for unknown charsets, too.
bool is_utf8(const std::string& charset);

// Returns the encoding of JSON by its byte order mark or its zeros, "" for none.
// Python: requests.utils.guess_json_utf.
std::string guess_json_utf(std::string_view bytes);

// Returns Python's message about the first byte that is not UTF-8; "" if all are.
std::string utf8_error(std::string_view bytes);

}  // namespace fiber::http
