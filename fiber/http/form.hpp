// Bodies of several parts, as they are sent.
#pragma once

#include <fiber/http/body.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// Puts parts together; what is read while it is sent stays so.
class MultipartWriter {
 public:
  MultipartWriter();
  explicit MultipartWriter(std::string boundary) : boundary_(std::move(boundary)) {}

  const std::string& boundary() const noexcept { return boundary_; }
  // `head`: the lines of its header, each with its end.
  void add(std::string_view head, Body content);
  // Content-Type is `type` with the boundary. Nothing can be added after it.
  Body finish(const std::string& type);

 private:
  std::string boundary_;
  std::string text_;  // behind the last of parts_
  std::vector<Body> parts_;
};

// `name="value"`, with what would end the quotes or the line as %22, %0D and %0A (WHATWG, as
// urllib3). Throws Failure (invalid_header) for a NUL.
std::string quoted_parameter(std::string_view name, std::string_view value);

}  // namespace fiber::http
