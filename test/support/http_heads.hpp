// Heads of requests, as bytes.
#pragma once

#include <string>

namespace support {

// Returns a GET with these fields, each ended by its CR LF.
inline std::string get(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
}

}  // namespace support
