// What the connections of a program have in common: certificates, whom they trust, what they
// accept. Python: ssl.SSLContext.
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

/// Called with the name that a client asks for, none if it names none, before a server shows its
/// certificate; may give the connection another context. Returns an alert to refuse it, or nothing.
/// Runs on the loop and may not wait. What it throws refuses the connection, and is thrown by
/// do_handshake().
using sni_callback_function = std::function<std::optional<AlertDescription>(
    SSLObject&, const std::optional<std::string>&, SSLContext&)>;

/// The password of a private key: a text, or what gives one when it is needed.
class FIBER_API password_argument {
 public:
  password_argument() = default;
  password_argument(const char* text)  // NOLINT(google-explicit-constructor)
      : ask_([text = std::string(text)] { return text; }) {}
  password_argument(std::string text)  // NOLINT(google-explicit-constructor)
      : ask_([text = std::move(text)] { return text; }) {}
  password_argument(std::function<std::string()> ask)  // NOLINT(google-explicit-constructor)
      : ask_(std::move(ask)) {}
  const std::function<std::string()>& ask() const noexcept { return ask_; }

 private:
  std::function<std::string()> ask_;
};

/// Keyword arguments of load_verify_locations; at least one is to be given. `cadata`: certificates
/// as PEM texts, or as DER bytes.
struct verify_locations {
  std::string cafile = {};
  std::string capath = {};
  std::string cadata = {};
};

/// How many certificates a context knows. Python: cert_store_stats().
struct CertStoreStats {
  int x509 = 0;
  int crl = 0;
  int x509_ca = 0;
};

/// A counted reference. Secure by default: TLS 1.2 or later, no renegotiation, no compression, and
/// of a client that the certificate is trusted and for the name of the server. Set it up, then use
/// it: for connections of several threads too, but not while it is changed.
class FIBER_API SSLContext {
 public:
  /// Trusts nobody yet: see load_default_certs, load_verify_locations, create_default_context.
  explicit SSLContext(Protocol protocol);

  // --- who we are ---
  // The certificate and those that lead from it to an authority, and its private key, as PEM files;
  // the key may be in the same file. Throws FileNotFoundError and other OSErrors, SSLError for what
  // is not PEM, for a wrong password, and for a key of another certificate.
  void load_cert_chain(const std::string& certfile, const std::string& keyfile = {},
                       const password_argument& password = {}) const;

  // --- whom we trust ---
  // Throws TypeError if there are none, FileNotFoundError and other OSErrors, SSLError.
  void load_verify_locations(const verify_locations& locations) const;
  /// What this machine trusts; the environment's SSL_CERT_FILE and SSL_CERT_DIR in its place.
  void load_default_certs(Purpose purpose = Purpose::SERVER_AUTH) const;
  void set_default_verify_paths() const;
  CertStoreStats cert_store_stats() const;
  /// The authorities that were loaded; those of a directory when they are needed first.
  std::vector<Certificate> get_ca_certs() const;

  /// Setters have the name of the getter, with an argument. Throws ValueError for CERT_NONE while
  /// host names are checked.
  VerifyMode verify_mode() const;
  void verify_mode(VerifyMode mode) const;
  /// Whether a client checks that the certificate is for the server_hostname. Setting it sets
  /// CERT_REQUIRED in place of CERT_NONE.
  bool check_hostname() const;
  void check_hostname(bool check) const;
  /// VERIFY_ bits.
  unsigned long verify_flags() const;
  void verify_flags(unsigned long flags) const;
  /// If names of hosts may be in the subject, when a certificate has no alternative names.
  bool hostname_checks_common_name() const;
  void hostname_checks_common_name(bool check) const;

  // --- what is spoken ---
  Protocol protocol() const;
  /// Throw ValueError for what this OpenSSL does not have.
  TLSVersion minimum_version() const;
  void minimum_version(TLSVersion version) const;
  TLSVersion maximum_version() const;
  void maximum_version(TLSVersion version) const;
  /// OP_ bits.
  std::uint64_t options() const;
  void options(std::uint64_t options) const;
  /// Of TLS 1.2 and older, in OpenSSL's notation. Throws SSLError("No cipher can be selected.").
  void set_ciphers(const std::string& ciphers) const;
  /// The names of all that may be used.
  std::vector<std::string> get_ciphers() const;
  /// What the connection may be used for, best first, such as {"h2", "http/1.1"}. Throws ValueError
  /// for names that are empty or longer than 255 bytes.
  void set_alpn_protocols(const std::vector<std::string>& protocols) const;
  /// The group of ECDHE, such as "prime256v1". Throws ValueError for an unknown one.
  void set_ecdh_curve(const std::string& name) const;
  void sni_callback(sni_callback_function callback) const;
  /// How many tickets a server sends after a handshake of TLS 1.3, at most 65535.
  int num_tickets() const;
  void num_tickets(int count) const;
  /// False: a stream whose connection ends without the other side's good-bye throws SSLEOFError in
  /// its reader; otherwise, as in Python, it just ends. Ours; Python: an argument of wrap_socket.
  bool suppress_ragged_eofs() const;
  void suppress_ragged_eofs(bool suppress) const;

  /// For Wireshark: the keys of all connections are appended to the file. "" for none. Throws
  /// OSError.
  std::string keylog_filename() const;
  void keylog_filename(const std::string& filename) const;

  /// A connection without a socket: what the other side sends is to be written to `incoming`, what
  /// it is to get is read from `outgoing`. Throws ValueError, SSLError. Python:
  /// SSLContext.wrap_bio.
  SSLObject wrap_bio(const MemoryBIO& incoming, const MemoryBIO& outgoing, bool server_side = false,
                     const std::string& server_hostname = {}) const;
  /// As the argument `.ssl` of a connection that is to resume a session. Ours.
  asyncio::ssl_argument resuming(const SSLSession& session) const;
  operator asyncio::ssl_argument() const;  ///< NOLINT(google-explicit-constructor)

  /// For what is not here. Belongs to the context.
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

/// Settings for general use, with what this machine trusts unless `locations` says otherwise.
/// SERVER_AUTH: for connections to servers, which are checked. CLIENT_AUTH: for servers, whose
/// clients need no certificate. Writes keys to the file that SSLKEYLOGFILE names. Python:
/// ssl.create_default_context, of 3.13.
FIBER_API SSLContext create_default_context(Purpose purpose = Purpose::SERVER_AUTH,
                                            const verify_locations& locations = {});

/// Where OpenSSL looks for authorities. Python: ssl.get_default_verify_paths.
struct DefaultVerifyPaths {
  std::string cafile;  ///< "" if there is no such file
  std::string capath;
  std::string openssl_cafile_env;
  std::string openssl_cafile;
  std::string openssl_capath_env;
  std::string openssl_capath;
};
FIBER_API DefaultVerifyPaths get_default_verify_paths();

}  // namespace fiber::ssl
