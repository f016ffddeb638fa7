// The settings that connections share: certificates, trusted authorities, versions and ciphers.
// Python: ssl.SSLContext.
#pragma once

#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/config.hpp>
#include <fiber/ssl/bio.hpp>
#include <fiber/ssl/certificate.hpp>
#include <fiber/ssl/constants.hpp>
#include <fiber/ssl/exceptions.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct ssl_ctx_st;

namespace fiber::ssl {

class SSLContext;
class SSLObject;
class SSLSession;
namespace detail {
struct ContextObject;
}

/// Called before a server sends its certificate, with the name that the client asks for, if any.
/// May give the connection another context. Returns an alert to refuse the connection, or nothing.
/// Runs on the loop and may not wait. An exception refuses the connection, and is thrown by
/// do_handshake().
using sni_callback_function = std::function<std::optional<AlertDescription>(
    SSLObject&, const std::optional<std::string>&, SSLContext&)>;

/// The password of a private key: a text, or a function that returns the text when it is needed.
class FIBER_API password_argument {
 public:
  password_argument() = default;
  password_argument(const char* text)  // NOLINT(google-explicit-constructor)
      : ask_([text = std::string(text)] { return text; }) {}
  password_argument(std::string text)  // NOLINT(google-explicit-constructor)
      : ask_([text = std::move(text)] { return text; }) {}
  password_argument(std::function<std::string()> ask)  // NOLINT(google-explicit-constructor)
      : ask_(std::move(ask)) {}
  const std::function<std::string()>& ask() const noexcept { return ask_; }  ///< null for none

 private:
  std::function<std::string()> ask_;
};

/// Keyword arguments of load_verify_locations; at least one must be given. `cadata`: certificates
/// as PEM texts, or as DER bytes.
struct verify_locations {
  std::string cafile = {};  ///< a file of PEM
  std::string capath = {};  ///< a directory prepared by c_rehash
  std::string cadata = {};  ///< see above
};

/// The number of certificates that a context has loaded. Python: cert_store_stats().
struct CertStoreStats {
  int x509 = 0;     ///< certificates, authorities or not
  int crl = 0;      ///< revocation lists
  int x509_ca = 0;  ///< authorities
};

/// A counted reference. Secure by default: TLS 1.2 or later, no renegotiation, no compression; a
/// client checks that the certificate is trusted and valid for the server's name. A context may
/// serve connections of several threads, but must not be changed meanwhile.
class FIBER_API SSLContext {
 public:
  /// Makes a context that trusts no authority: see load_default_certs, load_verify_locations,
  /// create_default_context.
  explicit SSLContext(Protocol protocol);
  SSLContext(const SSLContext&) noexcept = default;  ///< moving is copying: never empty
  SSLContext& operator=(const SSLContext&) noexcept = default;
  ~SSLContext() = default;

  // --- our own certificate ---

  /// Loads our certificate, its chain up to an authority, and its private key from PEM files; all
  /// may be in one file. Throws FileNotFoundError and other OSErrors, SSLError for a file that is
  /// not PEM, for a wrong password, and for a key of another certificate.
  void load_cert_chain(const std::string& certfile, const std::string& keyfile = {},
                       const password_argument& password = {}) const;

  // --- trust ---

  /// Loads authorities. Throws TypeError without a location, FileNotFoundError and other OSErrors,
  /// SSLError.
  void load_verify_locations(const verify_locations& locations) const;
  /// Loads the authorities that this machine trusts, or those of SSL_CERT_FILE and SSL_CERT_DIR in
  /// the environment.
  void load_default_certs(Purpose purpose = Purpose::SERVER_AUTH) const;
  void set_default_verify_paths() const;    ///< OpenSSL's own places, with the environment
  CertStoreStats cert_store_stats() const;  ///< without those of directories
  /// Returns the loaded authorities; those of a directory are loaded at their first use.
  std::vector<Certificate> get_ca_certs() const;

  /// Whether the peer's certificate is asked for, and checked. Setters have the name of the getter,
  /// with an argument. The setter throws ValueError for CERT_NONE while check_hostname() is true.
  VerifyMode verify_mode() const;
  void verify_mode(VerifyMode mode) const;
  /// Whether a client checks that the certificate is for the server_hostname. Setting true turns
  /// CERT_NONE into CERT_REQUIRED.
  bool check_hostname() const;
  void check_hostname(bool check) const;
  /// VERIFY_ bits.
  unsigned long verify_flags() const;
  void verify_flags(unsigned long flags) const;
  /// Whether the host name may be in the subject if a certificate has no alternative names.
  bool hostname_checks_common_name() const;
  void hostname_checks_common_name(bool check) const;

  // --- versions, ciphers and protocols ---
  Protocol protocol() const;  ///< as it was made
  /// The oldest version to use. Throws ValueError for one that this OpenSSL does not support.
  TLSVersion minimum_version() const;
  void minimum_version(TLSVersion version) const;
  /// The newest version to use. Throws ValueError for one that this OpenSSL does not support.
  TLSVersion maximum_version() const;
  void maximum_version(TLSVersion version) const;
  /// OP_ bits.
  std::uint64_t options() const;
  void options(std::uint64_t options) const;
  /// Sets the ciphers of TLS 1.2 and older, in OpenSSL's notation. Throws SSLError("No cipher can
  /// be selected.").
  void set_ciphers(const std::string& ciphers) const;
  /// Returns the names of all enabled ciphers.
  std::vector<std::string> get_ciphers() const;
  /// Sets the application protocols, best first, such as {"h2", "http/1.1"}. Throws ValueError for
  /// names that are empty or longer than 255 bytes.
  void set_alpn_protocols(const std::vector<std::string>& protocols) const;
  /// Sets the group of ECDHE, such as "prime256v1". Throws ValueError for an unknown group.
  void set_ecdh_curve(const std::string& name) const;
  /// Sets the function that is called with the name that a client asks for.
  void sni_callback(sni_callback_function callback) const;
  /// The number of tickets that a server sends after a handshake of TLS 1.3, at most 65535.
  int num_tickets() const;
  void num_tickets(int count) const;
  /// Whether a connection that ends without the peer's close_notify is an ordinary end of the
  /// stream, as in Python; false: the reader throws SSLEOFError. Python: an argument of
  /// wrap_socket.
  bool suppress_ragged_eofs() const;
  void suppress_ragged_eofs(bool suppress) const;

  /// The file to which the keys of all connections are appended, for Wireshark; "" for none. Throws
  /// OSError, ValueError for a name with a NUL.
  std::string keylog_filename() const;
  void keylog_filename(const std::string& filename) const;

  /// Makes a connection without a socket: the caller writes received bytes to `incoming`, and sends
  /// the bytes that it reads from `outgoing`. Throws ValueError, SSLError.
  /// Python: SSLContext.wrap_bio.
  SSLObject wrap_bio(const MemoryBIO& incoming, const MemoryBIO& outgoing, bool server_side = false,
                     const std::string& server_hostname = {}) const;
  /// Returns the argument `.ssl` of a connection that resumes a session. The connection must have
  /// the server_hostname with which the session was made, otherwise it throws ValueError. Not in
  /// Python.
  asyncio::ssl_argument resuming(const SSLSession& session) const;
  operator asyncio::ssl_argument() const;  ///< NOLINT(google-explicit-constructor)

  /// OpenSSL's object, for functions that are missing here. Owned by the context.
  ssl_ctx_st* native_handle() const noexcept;

  friend bool operator==(const SSLContext& a, const SSLContext& b) noexcept {
    return a.object_ == b.object_;
  }
  explicit SSLContext(std::shared_ptr<detail::ContextObject> object) noexcept
      : object_(std::move(object)) {}
  const std::shared_ptr<detail::ContextObject>& object() const noexcept { return object_; }

 private:
  std::shared_ptr<detail::ContextObject> object_;
};

/// Returns a context for general use, which trusts the authorities of this machine, or those of
/// `locations`. SERVER_AUTH: for connections to servers, which are checked. CLIENT_AUTH: for
/// servers, whose clients need no certificate. Writes keys to the file that SSLKEYLOGFILE names.
/// Python: ssl.create_default_context, of 3.13.
FIBER_API SSLContext create_default_context(Purpose purpose = Purpose::SERVER_AUTH,
                                            const verify_locations& locations = {});

/// Where OpenSSL looks for authorities. Python: ssl.get_default_verify_paths.
struct DefaultVerifyPaths {
  std::string cafile;              ///< "" if there is no such file
  std::string capath;              ///< "" if there is no such directory
  std::string openssl_cafile_env;  ///< "SSL_CERT_FILE"
  std::string openssl_cafile;      ///< as OpenSSL was built
  std::string openssl_capath_env;  ///< "SSL_CERT_DIR"
  std::string openssl_capath;      ///< as OpenSSL was built
};
/// Returns the places, after the environment.
FIBER_API DefaultVerifyPaths get_default_verify_paths();

}  // namespace fiber::ssl
