// The keyword arguments that requests and aiohttp have in common.
#pragma once

#include <fiber/config.hpp>
#include <fiber/http/body.hpp>

#include <chrono>
#include <string>
#include <utility>

namespace fiber::http {

/// Durations of this layer, in seconds as in Python; any std::chrono duration converts to it.
using Seconds = std::chrono::duration<double>;

/// Whether to check the server's certificate: true, false, or the path of a CA bundle (a file, or a
/// directory prepared with c_rehash) to check it against.
class FIBER_API Verify {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  Verify(bool check = true) : check_(check) {}
  Verify(std::string bundle) : bundle_(std::move(bundle)) {}
  Verify(const char* bundle) : bundle_(bundle) {}
  // NOLINTEND(google-explicit-constructor)

  bool check() const noexcept { return check_; }  ///< false: every certificate is accepted
  /// The path; "": the system's authorities.
  const std::string& bundle() const noexcept { return bundle_; }

 private:
  bool check_ = true;
  std::string bundle_;
};

/// User name and password for HTTP basic authentication (requests' auth=, aiohttp.BasicAuth).
struct BasicAuth {
  std::string username = {};  ///< without a colon
  std::string password = {};  ///< sent in clear text unless the connection is TLS
};

}  // namespace fiber::http
