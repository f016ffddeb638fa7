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

}  // namespace fiber::http
