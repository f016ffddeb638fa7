// The keyword arguments that requests and aiohttp have in common.
#pragma once

#include <fiber/config.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::http {

// Durations of this layer, in seconds as in Python; any std::chrono duration converts to it.
using Seconds = std::chrono::duration<double>;

// Names and values in order, repeats allowed: {{"q", "a b"}, {"page", "2"}}.
using Params = std::vector<std::pair<std::string, std::string>>;

// name=value&name=value, quoted as urllib.parse.urlencode does it ("a b" becomes "a+b").
FIBER_API std::string urlencode(const Params& params);

// What is sent as the body (`data=`): bytes as they are, or Params, which become a form.
class FIBER_API Body {
 public:
  Body() = default;
  Body(std::string bytes) : bytes_(std::move(bytes)), given_(true) {}
  Body(std::string_view bytes) : Body(std::string(bytes)) {}
  Body(const char* text) : Body(std::string(text)) {}
  Body(const Params& form);
  Body(std::string bytes, std::string content_type)
      : bytes_(std::move(bytes)), content_type_(std::move(content_type)), given_(true) {}

  const std::string& bytes() const noexcept { return bytes_; }
  // The Content-Type to send unless the caller names one; "" for plain bytes.
  const std::string& content_type() const noexcept { return content_type_; }
  explicit operator bool() const noexcept { return given_; }

 private:
  std::string bytes_;
  std::string content_type_;
  bool given_ = false;
};

// Whether to check the server's certificate: true, false, or the path of a CA bundle (a file, or a
// directory prepared with c_rehash) to check it against.
class FIBER_API Verify {
 public:
  Verify(bool check = true) : check_(check) {}
  Verify(std::string bundle) : bundle_(std::move(bundle)) {}
  Verify(const char* bundle) : bundle_(bundle) {}

  bool check() const noexcept { return check_; }
  const std::string& bundle() const noexcept { return bundle_; }

 private:
  bool check_ = true;
  std::string bundle_;
};

// User name and password for HTTP basic authentication (requests' auth=, aiohttp.BasicAuth).
struct BasicAuth {
  std::string username = {};
  std::string password = {};
};

}  // namespace fiber::http
