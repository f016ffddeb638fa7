// One TLS connection without a socket. Python: ssl.SSLObject.
#pragma once

#include <fiber/config.hpp>
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/session.hpp>

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
struct SslObject;
}  // namespace detail

/// A cipher. Python: ('TLS_AES_256_GCM_SHA384', 'TLSv1.3', 256).
struct Cipher {
  std::string name;      ///< "TLS_AES_256_GCM_SHA384"
  std::string protocol;  ///< the oldest version that has it
  int secret_bits = 0;   ///< the strength
};

/// A TLS connection. A counted reference; for one thread at a time. Made by SSLContext::wrap_bio,
/// or got from a stream: writer.get_extra_info(ssl::ssl_object). Each call may write bytes for the
/// peer to `outgoing`, also a call that throws.
class FIBER_API SSLObject {
 public:
  SSLObject(const SSLObject&) noexcept = default;  ///< moving is copying: never empty
  SSLObject& operator=(const SSLObject&) noexcept = default;
  ~SSLObject() = default;

  /// Makes the handshake. Throws SSLWantReadError until enough bytes of the peer have arrived,
  /// SSLCertVerificationError and other SSLErrors.
  void do_handshake() const;
  /// Returns at most n bytes; "" after the peer's close_notify. Throws SSLWantReadError,
  /// SSLEOFError.
  std::string read(std::size_t n = 1024) const;
  /// Writes `data`, and returns the number of bytes taken. Throws SSLZeroReturnError after
  /// unwrap().
  std::size_t write(std::string_view data) const;
  /// Sends a close_notify. Throws SSLWantReadError until the peer's close_notify has arrived.
  void unwrap() const;
  /// The number of received bytes that can be read at once.
  int pending() const;

  SSLContext context() const;  ///< its own, or the one of an sni_callback
  /// For an sni_callback.
  void context(const SSLContext& context) const;
  bool server_side() const;  ///< false for a client
  /// The name that was given, in ASCII.
  std::optional<std::string> server_hostname() const;

  /// Returns the contents of the peer's certificate; nothing without a certificate, and empty
  /// contents if the certificate was not checked.
  std::optional<Certificate> getpeercert() const;
  /// Returns the peer's certificate as DER, checked or not. Python: getpeercert(binary_form=True).
  std::optional<std::string> getpeercert_binary() const;
  /// Returns, as DER, the certificates that the peer sent.
  std::vector<std::string> get_unverified_chain() const;
  /// Returns, as DER, the chain from the peer's certificate to a trusted one. Throws as
  /// getpeercert().
  std::vector<std::string> get_verified_chain() const;
  std::optional<Cipher> cipher() const;            ///< nothing before the handshake
  std::optional<std::string> compression() const;  ///< nothing: compression is off
  /// "TLSv1.3"; nothing before the handshake.
  std::optional<std::string> version() const;
  std::optional<std::string> selected_alpn_protocol() const;  ///< nothing if none was agreed on
  /// Returns "tls-unique", of TLS 1.2 and older. Throws ValueError for another type.
  std::optional<std::string> get_channel_binding(const std::string& type = "tls-unique") const;

  /// Returns the session; nothing before the handshake. With TLS 1.3 the session arrives with the
  /// first bytes that are read after the handshake.
  std::optional<SSLSession> session() const;
  /// Sets the session to resume, in a client, before the handshake. Throws ValueError otherwise,
  /// and for a session of another context or for another server_hostname: a server that resumes
  /// sends no certificate whose name could be checked.
  void session(const SSLSession& session) const;
  bool session_reused() const;  ///< true for a short handshake
  /// Whether the peer's close_notify has arrived: then no data of the peer is missing. Not in
  /// Python.
  bool received_close_notify() const;

  /// OpenSSL's object, for functions that are missing here. Owned by this object.
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
