// What the requests of one session have in common: cookies, and what TLS needs.
#pragma once

#include <fiber/http/cookies.hpp>
#include <fiber/http/outgoing.hpp>
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/object.hpp>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

namespace fiber::http {

// Any thread may use one.
class Shared {
 public:
  // Without `keeps_cookies` none are.
  explicit Shared(bool keeps_cookies = true) : cookies_(keeps_cookies) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  CookieStore& cookies() noexcept { return cookies_; }

  // For `verify`, `certificate` and `key` of the request; the same again for the same. Throws
  // Failure (tls).
  ssl::SSLContext context(const Outgoing& request);

  // What the last connection with this Route::key has agreed on.
  std::optional<ssl::SSLSession> tls_session(const std::string& key);
  void keep(const std::string& key, ssl::SSLSession session);

 private:
  CookieStore cookies_;
  std::mutex mutex_;  // for what follows
  std::map<std::tuple<bool, std::string, std::string, std::string>, ssl::SSLContext> contexts_;
  std::map<std::string, ssl::SSLSession> sessions_;
};

}  // namespace fiber::http
