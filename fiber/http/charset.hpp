// From the bytes of a body to text.
#pragma once

#include <fiber/http/headers.hpp>

#include <string>
#include <string_view>

namespace fiber::http {

// The charset named by Content-Type, in lower or upper case as it was sent; "" if none is named.
std::string charset_of(const Headers& headers);

// `bytes`, encoded in `charset`, as UTF-8. What is malformed becomes U+FFFD (Python's
// errors="replace"); a charset that Python does not know is taken for UTF-8, as in requests.
std::string decode(std::string_view bytes, const std::string& charset);

// Whether decode() takes it for UTF-8, as all that is not known.
bool is_utf8(const std::string& charset);

// The encoding of JSON by its mark or its zeros, as requests.utils.guess_json_utf; "" for none.
std::string guess_json_utf(std::string_view bytes);

// Why `bytes` are not UTF-8, in Python's words; "" if they are.
std::string utf8_error(std::string_view bytes);

}  // namespace fiber::http
