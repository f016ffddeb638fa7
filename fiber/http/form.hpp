// Writes bodies of several parts.
#pragma once

#include <fiber/http/body.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// Joins parts into one body. A part that is a source is still read while it is sent.
class MultipartWriter {
 public:
  MultipartWriter();
  explicit MultipartWriter(std::string boundary) : boundary_(std::move(boundary)) {}

  const std::string& boundary() const noexcept { return boundary_; }
  // Adds a part. `head`: the lines of the part's header, each with its end.
  void add(std::string_view head, Body content);
  // Returns the body; its Content-Type is `type` with the boundary. The last function to call.
  Body finish(const std::string& type);

 private:
  std::string boundary_;
  std::string text_;  // behind the last of parts_
  std::vector<Body> parts_;
};

// Returns `name="value"`, with quotes and line ends written as %22, %0D and %0A (WHATWG, as
// urllib3). Throws Failure (invalid_header) for a NUL.
std::string quoted_parameter(std::string_view name, std::string_view value);

}  // namespace fiber::http
