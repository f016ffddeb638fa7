// The state that the requests of one session share: cookies, TLS contexts and TLS sessions.
#pragma once

#include <fiber/http/cookies.hpp>
#include <fiber/http/outgoing.hpp>
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/session.hpp>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

namespace fiber::http {

// May be used from any thread.
class Shared {
 public:
  // Without `keeps_cookies`, no cookies are kept.
  explicit Shared(bool keeps_cookies = true) : cookies_(keeps_cookies) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  CookieStore& cookies() noexcept { return cookies_; }

  // Returns the context for `verify`, `certificate` and `key` of the request; for equal ones the
  // same context. Throws Failure (tls).
  ssl::SSLContext context(const Outgoing& request);

  // Returns the TLS session that the last connection with this Route::key has negotiated.
  std::optional<ssl::SSLSession> tls_session(const std::string& key);
  void keep(const std::string& key, ssl::SSLSession session);

 private:
  CookieStore cookies_;
  std::mutex mutex_;  // for the members below
  std::map<std::tuple<bool, std::string, std::string, std::string>, ssl::SSLContext> contexts_;
  std::map<std::string, ssl::SSLSession> sessions_;
};

}  // namespace fiber::http
