// Random numbers, of the kernel: nobody can guess them, and no seed is to be kept.
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

// Throws OSError. At most 256 bytes, which the kernel gives at once.
inline void fill_randomly(std::span<char> bytes) {
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<std::ptrdiff_t>(bytes.size()))
    if (errno != EINTR) raise_os_error(errno, "getrandom");
}

// Two hexadecimal digits for each of `count` bytes.
inline std::string random_hex(std::size_t count) {
  std::string bytes(count, '\0');
  fill_randomly(bytes);
  std::string text;
  for (const char byte : bytes)
    ((text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4]) +=
     "0123456789abcdef"[byte & 15]);
  return text;
}

// From 0 on, and less than 1.
inline double random_fraction() {
  char bytes[sizeof(std::uint64_t)];
  fill_randomly(bytes);
  std::uint64_t number = 0;
  std::memcpy(&number, bytes, sizeof number);
  constexpr int mantissa = 53;
  return std::ldexp(static_cast<double>(number >> (64 - mantissa)), -mantissa);
}

}  // namespace fiber::http
