// The hash functions of HTTP's Digest authentication.
#pragma once

#include <string>
#include <string_view>

namespace fiber::http {

enum class Hash { md5, sha1, sha256, sha512 };

// The hash of `bytes` in hexadecimal digits, lower case, as hashlib's hexdigest() gives it.
std::string hexdigest(Hash hash, std::string_view bytes);

}  // namespace fiber::http
