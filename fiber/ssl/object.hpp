// One TLS connection without a socket. Python: ssl.SSLObject.
#pragma once

#include <fiber/config.hpp>
#include <fiber/ssl/context.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct ssl_st;

namespace fiber::ssl {

namespace detail {
struct SessionObject;
struct SslObject;
}  // namespace detail

/// What a client and a server agreed on, so that the next handshake is a short one: a counted
/// reference.
class FIBER_API SSLSession {
 public:
  std::string id() const;        ///< bytes
  std::int64_t time() const;     ///< of its beginning, in seconds since 1970
  std::int64_t timeout() const;  ///< how long it lasts, in seconds
  bool has_ticket() const;
  unsigned long ticket_lifetime_hint() const;  ///< in seconds

  friend bool operator==(const SSLSession& a, const SSLSession& b) { return a.id() == b.id(); }
  explicit SSLSession(std::shared_ptr<detail::SessionObject> object) noexcept
      : object_(std::move(object)) {}
  const std::shared_ptr<detail::SessionObject>& object() const noexcept { return object_; }

 private:
  std::shared_ptr<detail::SessionObject> object_;
};

/// Python's ('TLS_AES_256_GCM_SHA384', 'TLSv1.3', 256).
struct Cipher {
  std::string name;
  std::string protocol;
  int secret_bits = 0;
};

/// A counted reference, not for two threads at a time. Made by SSLContext::wrap_bio, or of a
/// stream: writer.get_extra_info(ssl::ssl_object). Each call may leave bytes for the other side in
/// `outgoing`, also one that throws.
class FIBER_API SSLObject {
 public:
  /// Throws SSLWantReadError until the other side has sent enough, SSLCertVerificationError and
  /// other SSLErrors.
  void do_handshake() const;
  /// At most n bytes; "" once the other side has said good-bye. Throws SSLWantReadError,
  /// SSLEOFError.
  std::string read(std::size_t n = 1024) const;
  /// Returns how many bytes were taken. Throws SSLZeroReturnError after unwrap().
  std::size_t write(std::string_view data) const;
  /// Says good-bye, and waits for the other side's: throws SSLWantReadError until that has come.
  void unwrap() const;
  /// Bytes that were received and can be read at once.
  int pending() const;

  SSLContext context() const;
  /// For an sni_callback.
  void context(const SSLContext& context) const;
  bool server_side() const;
  /// As it was given, in ASCII.
  std::optional<std::string> server_hostname() const;

  /// What the certificate says; nothing if there is none, and an empty one if it was not checked.
  std::optional<Certificate> getpeercert() const;
  /// The certificate as DER, checked or not. Python: getpeercert(binary_form=True).
  std::optional<std::string> getpeercert_binary() const;
  /// As DER: what the other side sent, and what leads from its certificate to one that is trusted.
  std::vector<std::string> get_unverified_chain() const;
  std::vector<std::string> get_verified_chain() const;
  std::optional<Cipher> cipher() const;
  std::optional<std::string> compression() const;
  /// "TLSv1.3"; nothing before the handshake.
  std::optional<std::string> version() const;
  std::optional<std::string> selected_alpn_protocol() const;
  /// "tls-unique" of TLS 1.2 and older. Throws ValueError for another type.
  std::optional<std::string> get_channel_binding(const std::string& type = "tls-unique") const;

  /// Nothing before the handshake. With TLS 1.3 it comes with what is read first after it.
  std::optional<SSLSession> session() const;
  /// Before the handshake, of a client; throws ValueError otherwise, and for another context's.
  void session(const SSLSession& session) const;
  bool session_reused() const;
  /// The other side has said good-bye: nothing of what it sent is missing. Ours.
  bool received_close_notify() const;

  /// For what is not here. Belongs to this object.
  ssl_st* native_handle() const noexcept;

  friend bool operator==(const SSLObject& a, const SSLObject& b) noexcept {
    return a.object_ == b.object_;
  }
  explicit SSLObject(std::shared_ptr<detail::SslObject> object) noexcept
      : object_(std::move(object)) {}

 private:
  std::shared_ptr<detail::SslObject> object_;
};

}  // namespace fiber::ssl
