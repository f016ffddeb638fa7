// The hash functions of Digest authentication and of the handshake of WebSockets.
#pragma once

#include <fiber/config.hpp>

#include <string>
#include <string_view>

namespace fiber::http {

enum class Hash { md5, sha1, sha256, sha512 };

// Return the hash of `bytes`, as bytes and as hexadecimal digits in lower case. Python: hashlib.
FIBER_API std::string digest(Hash hash, std::string_view bytes);
FIBER_API std::string hexdigest(Hash hash, std::string_view bytes);

}  // namespace fiber::http
