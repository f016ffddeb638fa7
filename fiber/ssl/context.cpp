#include <fiber/ssl/context.hpp>

#include <fiber/ssl/errors.hpp>
#include <fiber/ssl/objects.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/x509v3.h>
#include <unistd.h>

namespace fiber::ssl {

static_assert(OP_IGNORE_UNEXPECTED_EOF == SSL_OP_IGNORE_UNEXPECTED_EOF);
static_assert(OP_NO_TICKET == SSL_OP_NO_TICKET);
static_assert(OP_NO_COMPRESSION == SSL_OP_NO_COMPRESSION);
static_assert(OP_ENABLE_MIDDLEBOX_COMPAT == SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
static_assert(OP_CIPHER_SERVER_PREFERENCE == SSL_OP_CIPHER_SERVER_PREFERENCE);
static_assert(OP_ENABLE_KTLS == SSL_OP_ENABLE_KTLS);
static_assert(OP_NO_SSLv3 == SSL_OP_NO_SSLv3 && OP_NO_TLSv1 == SSL_OP_NO_TLSv1);
static_assert(OP_NO_TLSv1_1 == SSL_OP_NO_TLSv1_1 && OP_NO_TLSv1_2 == SSL_OP_NO_TLSv1_2);
static_assert(OP_NO_TLSv1_3 == SSL_OP_NO_TLSv1_3);
static_assert(OP_NO_RENEGOTIATION == SSL_OP_NO_RENEGOTIATION);
static_assert(OP_ALL == (SSL_OP_ALL & ~SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS));  // as Python's
static_assert(OP_LEGACY_SERVER_CONNECT == SSL_OP_LEGACY_SERVER_CONNECT);
static_assert(OP_NO_SSLv2 == SSL_OP_NO_SSLv2);
static_assert(OP_SINGLE_DH_USE == SSL_OP_SINGLE_DH_USE &&
              OP_SINGLE_ECDH_USE == SSL_OP_SINGLE_ECDH_USE);
static_assert(VERIFY_CRL_CHECK_LEAF == X509_V_FLAG_CRL_CHECK);
static_assert(VERIFY_CRL_CHECK_CHAIN == (X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL));
static_assert(VERIFY_X509_STRICT == X509_V_FLAG_X509_STRICT);
static_assert(VERIFY_ALLOW_PROXY_CERTS == X509_V_FLAG_ALLOW_PROXY_CERTS);
static_assert(VERIFY_X509_TRUSTED_FIRST == X509_V_FLAG_TRUSTED_FIRST);
static_assert(VERIFY_X509_PARTIAL_CHAIN == X509_V_FLAG_PARTIAL_CHAIN);
static_assert(static_cast<int>(TLSVersion::TLSv1_2) == TLS1_2_VERSION);

namespace detail {
namespace {

int answer_sni(SSL* ssl, int* alert, void* argument) noexcept {
  auto* context = static_cast<ContextObject*>(argument);
  auto* object = static_cast<SslObject*>(SSL_get_app_data(ssl));
  if (object == nullptr || !context->sni) return SSL_TLSEXT_ERR_OK;
  try {
    std::optional<std::string> name;
    if (const char* text = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) name = text;
    SSLObject its_object(object->shared_from_this());
    SSLContext its_context(context->shared_from_this());
    const sni_callback_function callback = context->sni;  // a copy: the callback may replace itself
    const std::optional<AlertDescription> refused = callback(its_object, name, its_context);
    if (!refused) return SSL_TLSEXT_ERR_OK;
    *alert = static_cast<int>(*refused);
  } catch (...) {
    object->callback_error = std::current_exception();
    *alert = SSL_AD_HANDSHAKE_FAILURE;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int choose_alpn(SSL*, const unsigned char** chosen, unsigned char* size,
                const unsigned char* theirs, unsigned int their_size, void* argument) noexcept {
  const auto* context = static_cast<const ContextObject*>(argument);
  unsigned char* found = nullptr;
  const int result = ::SSL_select_next_proto(
      &found, size, reinterpret_cast<const unsigned char*>(context->alpn.data()),
      static_cast<unsigned int>(context->alpn.size()), theirs, their_size);
  // No common protocol: the connection goes on without one, as in Python.
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void write_keys(const SSL* ssl, const char* line) noexcept {
  const auto* object = static_cast<const SslObject*>(SSL_get_app_data(ssl));
  if (object == nullptr || object->context->keylog < 0) return;
  try {
    // One call of write(), so that lines of several processes do not mix.
    const std::string text = std::string(line) + "\n";
    while (::write(object->context->keylog, text.data(), text.size()) < 0 && errno == EINTR) {
    }
  } catch (const std::bad_alloc&) {
    // Only a diagnostic is lost; the connection goes on.
  }
}

X509_VERIFY_PARAM* parameters(const ContextObject& context) noexcept {
  return ::SSL_CTX_get0_param(context.ctx.get());
}

void set_version(const ContextObject& context, TLSVersion version, bool minimum) {
  const CleanErrors clean;
  int number = static_cast<int>(version);
  if (version == TLSVersion::MINIMUM_SUPPORTED) number = minimum ? 0 : TLS1_VERSION;
  if (version == TLSVersion::MAXIMUM_SUPPORTED) number = minimum ? TLS1_3_VERSION : 0;
  SSL_CTX* ctx = context.ctx.get();
  const auto done = minimum ? SSL_CTX_set_min_proto_version(ctx, number)
                            : SSL_CTX_set_max_proto_version(ctx, number);
  if (done == 0)
    throw ValueError("Unsupported protocol version 0x" + [number] {
      char text[16];
      std::snprintf(text, sizeof text, "%x", static_cast<unsigned int>(number));
      return std::string(text);
    }());
}

}  // namespace

ContextObject::ContextObject(Protocol its_protocol)
    : protocol(its_protocol),
      check_hostname(its_protocol == PROTOCOL_TLS_CLIENT),
      host_flags(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS) {
  const CleanErrors clean;
  ctx.reset(::SSL_CTX_new(its_protocol == PROTOCOL_TLS_CLIENT ? ::TLS_client_method()
                                                              : ::TLS_server_method()));
  if (ctx == nullptr) throw_error("SSL_CTX_new");
  SSL_CTX* raw = ctx.get();
  ::SSL_CTX_set_verify(raw, check_hostname ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  ::SSL_CTX_set_options(raw, (SSL_OP_ALL & ~SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS) | SSL_OP_NO_SSLv3 |
                                 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE |
                                 SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  if (SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 0 ||
      // Python's choice: no cipher without forward secrecy.
      ::SSL_CTX_set_cipher_list(raw,
                                "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:"
                                "!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM") == 0)
    throw_error("SSL_CTX");
  constexpr unsigned char kSessions[] = "fiber";
  ::SSL_CTX_set_session_id_context(raw, kSessions, sizeof kSessions - 1);
  ::X509_VERIFY_PARAM_set_flags(parameters(*this), X509_V_FLAG_TRUSTED_FIRST);
  ::X509_VERIFY_PARAM_set_hostflags(parameters(*this), host_flags);
}

ContextObject::~ContextObject() {
  if (keylog >= 0) ::close(keylog);
}

}  // namespace detail

SSLContext::SSLContext(Protocol protocol)
    : object_(std::make_shared<detail::ContextObject>(protocol)) {}

Protocol SSLContext::protocol() const { return object_->protocol; }
ssl_ctx_st* SSLContext::native_handle() const noexcept { return object_->ctx.get(); }

// --- trust --------------------------------------------------------------------------------------

VerifyMode SSLContext::verify_mode() const {
  const int mode = ::SSL_CTX_get_verify_mode(native_handle());
  if ((mode & SSL_VERIFY_PEER) == 0) return CERT_NONE;
  // A client always refuses a server without a certificate.
  const bool required = object_->protocol == PROTOCOL_TLS_CLIENT
                            ? (mode & SSL_VERIFY_CLIENT_ONCE) == 0
                            : (mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
  return required ? CERT_REQUIRED : CERT_OPTIONAL;
}

void SSLContext::verify_mode(VerifyMode mode) const {
  if (mode == CERT_NONE && object_->check_hostname)
    throw ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.");
  int bits = SSL_VERIFY_NONE;
  if (mode == CERT_REQUIRED) bits = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  // OpenSSL ignores CLIENT_ONCE in a client: here the bit marks CERT_OPTIONAL.
  if (mode == CERT_OPTIONAL)
    bits =
        SSL_VERIFY_PEER | (object_->protocol == PROTOCOL_TLS_CLIENT ? SSL_VERIFY_CLIENT_ONCE : 0);
  ::SSL_CTX_set_verify(native_handle(), bits, nullptr);
}

bool SSLContext::check_hostname() const { return object_->check_hostname; }
void SSLContext::check_hostname(bool check) const {
  if (check && verify_mode() == CERT_NONE) verify_mode(CERT_REQUIRED);
  object_->check_hostname = check;
}

unsigned long SSLContext::verify_flags() const {
  return ::X509_VERIFY_PARAM_get_flags(detail::parameters(*object_));
}

void SSLContext::verify_flags(unsigned long flags) const {
  const unsigned long now = verify_flags();
  ::X509_VERIFY_PARAM_clear_flags(detail::parameters(*object_), now & ~flags);
  ::X509_VERIFY_PARAM_set_flags(detail::parameters(*object_), flags & ~now);
}

bool SSLContext::hostname_checks_common_name() const {
  return (object_->host_flags & X509_CHECK_FLAG_NEVER_CHECK_SUBJECT) == 0;
}

void SSLContext::hostname_checks_common_name(bool check) const {
  object_->host_flags &= ~static_cast<unsigned int>(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (!check) object_->host_flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  ::X509_VERIFY_PARAM_set_hostflags(detail::parameters(*object_), object_->host_flags);
}

// --- versions, ciphers and protocols ------------------------------------------------------------

TLSVersion SSLContext::minimum_version() const {
  const auto version = SSL_CTX_get_min_proto_version(native_handle());
  return version == 0 ? TLSVersion::MINIMUM_SUPPORTED : static_cast<TLSVersion>(version);
}
TLSVersion SSLContext::maximum_version() const {
  const auto version = SSL_CTX_get_max_proto_version(native_handle());
  return version == 0 ? TLSVersion::MAXIMUM_SUPPORTED : static_cast<TLSVersion>(version);
}
void SSLContext::minimum_version(TLSVersion version) const {
  detail::set_version(*object_, version, true);
}
void SSLContext::maximum_version(TLSVersion version) const {
  detail::set_version(*object_, version, false);
}

std::uint64_t SSLContext::options() const { return ::SSL_CTX_get_options(native_handle()); }
void SSLContext::options(std::uint64_t options) const {
  const std::uint64_t now = this->options();
  ::SSL_CTX_clear_options(native_handle(), now & ~options);
  ::SSL_CTX_set_options(native_handle(), options & ~now);
}

void SSLContext::set_ciphers(const std::string& ciphers) const {
  const detail::CleanErrors clean;
  if (ciphers.find('\0') != std::string::npos ||
      ::SSL_CTX_set_cipher_list(native_handle(), ciphers.c_str()) == 0)
    throw SSLError("No cipher can be selected.");
}

std::vector<std::string> SSLContext::get_ciphers() const {
  const detail::CleanErrors clean;
  const std::unique_ptr<SSL, detail::FreeSsl> ssl(::SSL_new(native_handle()));
  if (ssl == nullptr) detail::throw_error("SSL_new");
  std::vector<std::string> names;
  const STACK_OF(SSL_CIPHER)* all = ::SSL_get_ciphers(ssl.get());
  names.reserve(std::max(sk_SSL_CIPHER_num(all), 0));
  for (int at = 0; at < sk_SSL_CIPHER_num(all); ++at)
    names.emplace_back(::SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, at)));
  return names;
}

void SSLContext::set_alpn_protocols(const std::vector<std::string>& protocols) const {
  std::string wire;
  for (const std::string& name : protocols) {
    if (name.empty() || name.size() > 255)
      throw ValueError("ALPN protocols must be 1 to 255 bytes long, got " +
                       std::to_string(name.size()));
    wire += static_cast<char>(name.size());
    wire += name;
  }
  if (wire.size() > 65535) throw ValueError("ALPN protocols together are longer than 65535 bytes");
  const detail::CleanErrors clean;
  object_->alpn = wire;
  if (::SSL_CTX_set_alpn_protos(native_handle(),
                                reinterpret_cast<const unsigned char*>(wire.data()),
                                static_cast<unsigned int>(wire.size())) != 0)
    throw std::bad_alloc();
  ::SSL_CTX_set_alpn_select_cb(native_handle(), wire.empty() ? nullptr : detail::choose_alpn,
                               object_.get());
}

void SSLContext::set_ecdh_curve(const std::string& name) const {
  const detail::CleanErrors clean;
  if (name.find('\0') != std::string::npos ||
      SSL_CTX_set1_groups_list(native_handle(), name.c_str()) == 0)
    throw ValueError("unknown elliptic curve name '" + name + "'");
}

void SSLContext::sni_callback(sni_callback_function callback) const {
  if (object_->protocol == PROTOCOL_TLS_CLIENT)
    throw ValueError("sni_callback cannot be set on TLS_CLIENT context");
  object_->sni = std::move(callback);
  int (*const answer)(SSL*, int*, void*) = object_->sni ? detail::answer_sni : nullptr;
  SSL_CTX_set_tlsext_servername_callback(native_handle(), answer);
  SSL_CTX_set_tlsext_servername_arg(native_handle(), object_.get());
}

int SSLContext::num_tickets() const {
  return static_cast<int>(::SSL_CTX_get_num_tickets(native_handle()));
}
void SSLContext::num_tickets(int count) const {
  if (count < 0 || count > 65535) throw ValueError("num_tickets must be 0 to 65535");
  if (object_->protocol != PROTOCOL_TLS_SERVER)
    throw ValueError("SSLContext is not a server context.");
  ::SSL_CTX_set_num_tickets(native_handle(), static_cast<std::size_t>(count));
}

bool SSLContext::suppress_ragged_eofs() const { return object_->suppress_ragged_eofs; }
void SSLContext::suppress_ragged_eofs(bool suppress) const {
  object_->suppress_ragged_eofs = suppress;
}

std::string SSLContext::keylog_filename() const { return object_->keylog_name; }
void SSLContext::keylog_filename(const std::string& filename) const {
  if (filename.find('\0') != std::string::npos) throw ValueError("embedded null byte");
  int file = -1;
  if (!filename.empty()) {
    file = ::open(filename.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) raise_os_error(errno, "'" + filename + "'");
  }
  if (object_->keylog >= 0) ::close(object_->keylog);
  object_->keylog = file;
  object_->keylog_name = filename;
  ::SSL_CTX_set_keylog_callback(native_handle(), file < 0 ? nullptr : detail::write_keys);
}

}  // namespace fiber::ssl
