// Authentication. Python: requests.auth.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/requests/models.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::requests {

using HTTPBasicAuth = http::BasicAuth;

/// Basic authentication in the field Proxy-Authorization.
struct FIBER_API HTTPProxyAuth {
  std::string username = {};  ///< see HTTPBasicAuth
  std::string password = {};  ///< sent in clear text, like the name
  void operator()(PreparedRequest& request) const;
};

/// Digest authentication (RFC 7616: MD5, MD5-sess, SHA, SHA-256, SHA-512; qop `auth` or none). The
/// server answers the first request with a challenge, and the request is sent again; later requests
/// carry the answer. A challenge of another origin than the request's is not answered. Copies share
/// the last challenge; any thread may use them.
class FIBER_API HTTPDigestAuth {
 public:
  HTTPDigestAuth(std::string username, std::string password);
  HTTPDigestAuth(const HTTPDigestAuth&) noexcept = default;  ///< moving is copying: never empty
  HTTPDigestAuth& operator=(const HTTPDigestAuth&) noexcept = default;

  /// Puts the answer to the last challenge, if there was one, into the request.
  void operator()(PreparedRequest& request) const;
  /// Returns the value of Authorization for a challenge, a value of WWW-Authenticate; "" for an
  /// unsupported challenge.
  std::string answer(std::string_view challenge, std::string_view method,
                     std::string_view url) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// auth=: HTTPBasicAuth or {"user", "password"}, HTTPDigestAuth, HTTPProxyAuth, or any function
/// that is called with the PreparedRequest before it is sent and may change it.
class FIBER_API Auth {
 public:
  Auth() = default;
  // NOLINTBEGIN(google-explicit-constructor)
  Auth(std::nullopt_t) {}
  Auth(HTTPBasicAuth auth) : basic_(std::move(auth)) {}
  Auth(std::optional<HTTPBasicAuth> auth) : basic_(std::move(auth)) {}
  Auth(std::string username, std::string password)
      : basic_(HTTPBasicAuth{std::move(username), std::move(password)}) {}
  Auth(HTTPDigestAuth auth) : digest_(std::move(auth)) {}
  template <class Function>
    requires std::is_invocable_v<const Function&, PreparedRequest&>
  Auth(Function function) : function_(std::move(function)) {}
  // NOLINTEND(google-explicit-constructor)

  explicit operator bool() const noexcept { return basic_ || digest_ || function_; }
  /// Nothing, or HTTPBasicAuth.
  const std::optional<HTTPBasicAuth>& basic() const noexcept { return basic_; }
  /// Nothing, or HTTPDigestAuth.
  const std::optional<HTTPDigestAuth>& digest() const noexcept { return digest_; }
  /// Null, or any other function.
  const std::function<void(PreparedRequest&)>& function() const noexcept { return function_; }

 private:
  std::optional<HTTPBasicAuth> basic_;
  std::optional<HTTPDigestAuth> digest_;
  std::function<void(PreparedRequest&)> function_;
};

}  // namespace fiber::requests
