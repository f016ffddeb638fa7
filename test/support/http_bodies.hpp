// The parts of requests that tests of uploads check on the server.
#pragma once

#include <string>

namespace support {

// Returns the boundary of a request in parts, "" for another request.
inline std::string boundary_of(const std::string& request) {
  const auto at = request.find("boundary=");
  if (at == request.npos) return "";
  return request.substr(at + 9, request.find("\r\n", at) - at - 9);
}

// Returns a request's body, with "B" for the boundary.
inline std::string body_of(const std::string& request) {
  std::string body = request.substr(request.find("\r\n\r\n") + 4);
  const std::string boundary = boundary_of(request);
  if (boundary.empty()) return body;
  for (auto found = body.find(boundary); found != body.npos; found = body.find(boundary))
    body.replace(found, boundary.size(), 1, 'B');
  return body;
}

inline bool has(const std::string& request, const std::string& field) {
  return request.find("\r\n" + field + "\r\n") != request.npos;
}

}  // namespace support
