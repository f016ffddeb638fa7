// The keys of a TLS connection, for its next handshake. Python: ssl.SSLSession.
#pragma once

#include <fiber/config.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace fiber::ssl {

namespace detail {
struct SessionObject;
}  // namespace detail

/// The keys that a client and a server have negotiated; they make the next handshake a short one. A
/// counted reference.
class FIBER_API SSLSession {
 public:
  std::string id() const;                      ///< bytes
  std::int64_t time() const;                   ///< when the session began, in seconds since 1970
  std::int64_t timeout() const;                ///< lifetime in seconds
  bool has_ticket() const;                     ///< true if the server has sent a ticket
  unsigned long ticket_lifetime_hint() const;  ///< in seconds

  friend bool operator==(const SSLSession& a, const SSLSession& b) { return a.id() == b.id(); }
  explicit SSLSession(std::shared_ptr<detail::SessionObject> object) noexcept
      : object_(std::move(object)) {}
  SSLSession(const SSLSession&) noexcept = default;  ///< moving is copying: never empty
  SSLSession& operator=(const SSLSession&) noexcept = default;
  ~SSLSession() = default;
  const std::shared_ptr<detail::SessionObject>& object() const noexcept { return object_; }

 private:
  std::shared_ptr<detail::SessionObject> object_;
};

}  // namespace fiber::ssl
