// Random numbers from the kernel, which are unpredictable and need no seed.
#pragma once

#include <fiber/exceptions/files.hpp>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <sys/random.h>

namespace fiber::http {

// Fills at most 256 bytes, which the kernel provides in one call. Throws OSError.
inline void fill_randomly(std::span<char> bytes) {
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<std::ptrdiff_t>(bytes.size()))
    if (errno != EINTR) raise_os_error(errno, "getrandom");
}

// Returns `count` random bytes as hexadecimal digits, two for each.
inline std::string random_hex(std::size_t count) {
  std::string bytes(count, '\0');
  fill_randomly(bytes);
  std::string text;
  for (const char byte : bytes)
    ((text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4]) +=
     "0123456789abcdef"[byte & 15]);
  return text;
}

// Returns a number from 0 to 1, but not 1.
inline double random_fraction() {
  char bytes[sizeof(std::uint64_t)];
  fill_randomly(bytes);
  std::uint64_t number = 0;
  std::memcpy(&number, bytes, sizeof number);
  constexpr int mantissa = 53;
  return std::ldexp(static_cast<double>(number >> (64 - mantissa)), -mantissa);
}

}  // namespace fiber::http
