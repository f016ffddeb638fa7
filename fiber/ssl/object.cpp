#include <fiber/ssl/object.hpp>

#include <fiber/asyncio/idna.hpp>
#include <fiber/ssl/errors.hpp>
#include <fiber/ssl/objects.hpp>

#include <algorithm>
#include <climits>
#include <new>

#include <openssl/err.h>
#include <openssl/x509v3.h>

namespace fiber::ssl {
namespace detail {

// --- one connection -----------------------------------------------------------------------------

SslObject::SslObject(std::shared_ptr<ContextObject> its_context,
                     std::shared_ptr<Bytes> its_incoming, std::shared_ptr<Bytes> its_outgoing,
                     bool server, const std::string& hostname)
    : context(std::move(its_context)),
      incoming(std::move(its_incoming)),
      outgoing(std::move(its_outgoing)),
      server_side(server) {
  if (server != (context->protocol == PROTOCOL_TLS_SERVER))
    throw SSLError(server ? "Cannot create a server socket with a PROTOCOL_TLS_CLIENT context"
                          : "Cannot create a client socket with a PROTOCOL_TLS_SERVER context");
  if (server && !hostname.empty())
    throw ValueError("server_hostname can only be specified in client mode");
  if (hostname.starts_with('.'))
    throw ValueError("server_hostname cannot be an empty string or start with a leading dot.");
  server_hostname = asyncio::detail::to_ascii(hostname);
  if (server_hostname.find('\0') != std::string::npos)
    throw ValueError("server_hostname has a null character in it");
  if (!server && context->check_hostname && server_hostname.empty())
    throw ValueError("check_hostname requires server_hostname");
  const CleanErrors clean;
  ssl.reset(::SSL_new(context->ctx.get()));
  BIO* from = ssl != nullptr ? make_bio(*incoming) : nullptr;
  BIO* to = from != nullptr ? make_bio(*outgoing) : nullptr;
  if (to == nullptr) {
    ::BIO_free(from);
    throw std::bad_alloc();
  }
  ::SSL_set_bio(ssl.get(), from, to);
  SSL_set_app_data(ssl.get(), this);
  if (server) {
    ::SSL_set_accept_state(ssl.get());
  } else {
    if (!server_hostname.empty()) set_server_name();
    ::SSL_set_connect_state(ssl.get());
  }
}

void SslObject::set_server_name() {
  ASN1_OCTET_STRING* address = ::a2i_IPADDRESS(server_hostname.c_str());
  const bool is_name = address == nullptr;
  ::ASN1_OCTET_STRING_free(address);
  ::ERR_clear_error();
  // A fully qualified name is sent and checked without the dot at its end.
  std::string name = server_hostname;
  if (is_name && name.size() > 1 && name.ends_with('.')) name.pop_back();
  if (is_name && SSL_set_tlsext_host_name(ssl.get(), name.c_str()) == 0)
    throw_error("server_hostname '" + server_hostname + "'");
  if (!context->check_hostname) return;
  X509_VERIFY_PARAM* parameters = ::SSL_get0_param(ssl.get());
  const int done = is_name ? ::X509_VERIFY_PARAM_set1_host(parameters, name.data(), name.size())
                           : ::X509_VERIFY_PARAM_set1_ip_asc(parameters, server_hostname.c_str());
  if (done == 0) throw_error("server_hostname '" + server_hostname + "'");
}

void SslObject::refuse_certificate() {
  const unsigned long code = ::ERR_peek_last_error();
  const auto verify_code = static_cast<int>(::SSL_get_verify_result(ssl.get()));
  std::string message;
  if (verify_code == X509_V_ERR_HOSTNAME_MISMATCH)
    message = "Hostname mismatch, certificate is not valid for '" + server_hostname + "'.";
  else if (verify_code == X509_V_ERR_IP_ADDRESS_MISMATCH)
    message = "IP address mismatch, certificate is not valid for '" + server_hostname + "'.";
  else
    message = ::X509_verify_cert_error_string(verify_code);
  throw SSLCertVerificationError(error_text(code) + ": " + message, library_name(code),
                                 reason_name(code), verify_code, message);
}

Outcome SslObject::outcome_of(int result) {
  if (callback_error) std::rethrow_exception(std::exchange(callback_error, nullptr));
  if (incoming->no_memory || outgoing->no_memory) throw std::bad_alloc();
  switch (::SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_NONE: return Outcome::done;
    case SSL_ERROR_ZERO_RETURN: return Outcome::closed;
    case SSL_ERROR_WANT_READ: return Outcome::want_read;
    case SSL_ERROR_WANT_WRITE: return Outcome::want_write;
    case SSL_ERROR_SYSCALL:
      if (::ERR_peek_last_error() == 0) throw SSLEOFError("EOF occurred in violation of protocol");
      throw_error("");
    default: break;
  }
  const unsigned long code = ::ERR_peek_last_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) refuse_certificate();
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
      throw SSLEOFError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol",
                        library_name(code), reason_name(code));
  }
  throw_error("");
}

Outcome SslObject::handshake() {
  const CleanErrors clean;
  const int result = ::SSL_do_handshake(ssl.get());
  if (result == 1 && !callback_error) return Outcome::done;
  const Outcome outcome = outcome_of(result);
  return outcome;
}

Outcome SslObject::read(char* to, std::size_t size, std::size_t& count) {
  const CleanErrors clean;
  count = 0;
  const int result = ::SSL_read_ex(ssl.get(), to, size, &count);
  return result == 1 ? Outcome::done : outcome_of(result);
}

Outcome SslObject::write(std::string_view data, std::size_t& count) {
  const CleanErrors clean;
  count = 0;
  if (data.empty()) return Outcome::done;
  const int result = ::SSL_write_ex(ssl.get(), data.data(), data.size(), &count);
  return result == 1 ? Outcome::done : outcome_of(result);
}

Outcome SslObject::shutdown() {
  const CleanErrors clean;
  int result = ::SSL_shutdown(ssl.get());
  // Our close_notify is sent. The second call reads the peer's.
  if (result == 0) {
    SSL_set_read_ahead(ssl.get(), 0);
    result = ::SSL_shutdown(ssl.get());
  }
  if (result == 1) return Outcome::done;
  return result == 0 ? Outcome::want_read : outcome_of(result);
}

Outcome SslObject::shutdown_unheard() {
  const CleanErrors clean;
  if ((::SSL_get_shutdown(ssl.get()) & SSL_SENT_SHUTDOWN) == 0) {
    const int result = ::SSL_shutdown(ssl.get());
    if (result != 0) return result == 1 ? Outcome::done : outcome_of(result);
  }
  char unheard[4096];
  std::size_t count = 0;
  for (;;) {
    const int result = ::SSL_read_ex(ssl.get(), unheard, sizeof unheard, &count);
    if (result == 1) continue;
    const Outcome outcome = outcome_of(result);
    return outcome == Outcome::closed ? Outcome::done : outcome;
  }
}

// --- sessions -----------------------------------------------------------------------------------

namespace {

// Returns the name in the form in which names are compared: in lower case, without a dot at its
// end.
std::string comparable(std::string name) {
  if (name.size() > 1 && name.ends_with('.')) name.pop_back();
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return name;
}

std::string for_name(const std::string& name) {
  return name.empty() ? "without a server_hostname" : "for server_hostname '" + name + "'";
}

}  // namespace

void set_session(SslObject& object, const SessionObject& session) {
  const CleanErrors clean;
  if (session.context != object.context)
    throw ValueError("Session refers to a different SSLContext.");
  if (object.server_side) throw ValueError("Cannot set session for server-side SSLSocket.");
  if (::SSL_is_init_finished(object.ssl.get()) != 0)
    throw ValueError("Cannot set session after handshake.");
  // OpenSSL looks at no certificate when it resumes: the name was checked when the session began.
  if (comparable(session.server_hostname) != comparable(object.server_hostname))
    throw ValueError("Session was made " + for_name(session.server_hostname) + ", not " +
                     for_name(object.server_hostname) + ".");
  // A copy: a session of TLS 1.3 can be used only once.
  const std::unique_ptr<SSL_SESSION, FreeSsl> copy(::SSL_SESSION_dup(session.session.get()));
  if (copy == nullptr) throw std::bad_alloc();
  if (::SSL_set_session(object.ssl.get(), copy.get()) != 1) throw_error("session");
}

std::shared_ptr<SessionObject> get_session(const SslObject& object) {
  const CleanErrors clean;
  // Not SSL_is_init_finished(), which is false again while a ticket of TLS 1.3 is half read.
  char none[1];
  const bool handshake_done = ::SSL_get_finished(object.ssl.get(), none, 0) != 0 &&
                              ::SSL_get_peer_finished(object.ssl.get(), none, 0) != 0;
  const SSL_SESSION* session = ::SSL_get0_session(object.ssl.get());
  if (!handshake_done || session == nullptr) return nullptr;
  auto result = std::make_shared<SessionObject>();
  // A copy: OpenSSL invalidates the connection's session if the connection ends without
  // close_notify.
  result->session.reset(::SSL_SESSION_dup(session));
  if (result->session == nullptr) throw std::bad_alloc();
  result->context = object.context;
  result->server_hostname = object.server_hostname;
  return result;
}

namespace {

void check(Outcome outcome) {
  switch (outcome) {
    case Outcome::done: return;
    case Outcome::closed: throw SSLZeroReturnError("TLS/SSL connection has been closed (EOF)");
    case Outcome::want_read: throw SSLWantReadError("The operation did not complete (read)");
    case Outcome::want_write: throw SSLWantWriteError("The operation did not complete (write)");
  }
}

std::vector<std::string> to_ders(const STACK_OF(X509) * chain) {
  std::vector<std::string> ders;
  ders.reserve(std::max(sk_X509_num(chain), 0));
  for (int at = 0; at < sk_X509_num(chain); ++at) ders.push_back(to_der(sk_X509_value(chain, at)));
  return ders;
}

}  // namespace
}  // namespace detail

// --- the handles --------------------------------------------------------------------------------

SSLObject SSLContext::wrap_bio(const MemoryBIO& incoming, const MemoryBIO& outgoing,
                               bool server_side, const std::string& server_hostname) const {
  return SSLObject(std::make_shared<detail::SslObject>(object_, incoming.bytes(), outgoing.bytes(),
                                                       server_side, server_hostname));
}

void SSLObject::do_handshake() const { detail::check(object_->handshake()); }

std::string SSLObject::read(std::size_t n) const {
  if (n == 0) return {};  // for OpenSSL that is a call that would block
  // One call reads no more than one record.
  std::string data(std::min<std::size_t>(n, SSL3_RT_MAX_PLAIN_LENGTH), '\0');
  std::size_t count = 0;
  const detail::Outcome outcome = object_->read(data.data(), data.size(), count);
  if (outcome != detail::Outcome::closed) detail::check(outcome);
  data.resize(count);
  return data;
}

std::size_t SSLObject::write(std::string_view data) const {
  std::size_t count = 0;
  detail::check(object_->write(data, count));
  return count;
}

void SSLObject::unwrap() const { detail::check(object_->shutdown()); }
int SSLObject::pending() const { return ::SSL_pending(native_handle()); }
ssl_st* SSLObject::native_handle() const noexcept { return object_->ssl.get(); }
bool SSLObject::server_side() const { return object_->server_side; }
bool SSLObject::received_close_notify() const { return object_->received_close_notify(); }
SSLContext SSLObject::context() const { return SSLContext(object_->context); }

void SSLObject::context(const SSLContext& context) const {
  const detail::CleanErrors clean;
  if (::SSL_set_SSL_CTX(native_handle(), context.native_handle()) == nullptr)
    detail::throw_error("context");
  object_->context = context.object();
}

std::optional<std::string> SSLObject::server_hostname() const {
  if (object_->server_hostname.empty()) return std::nullopt;
  return object_->server_hostname;
}

std::optional<Certificate> SSLObject::getpeercert() const {
  X509* certificate = ::SSL_get0_peer_certificate(native_handle());
  if (certificate == nullptr) return std::nullopt;
  if ((::SSL_get_verify_mode(native_handle()) & SSL_VERIFY_PEER) == 0) return Certificate{};
  return detail::decode(certificate);
}

std::optional<std::string> SSLObject::getpeercert_binary() const {
  const X509* certificate = ::SSL_get0_peer_certificate(native_handle());
  if (certificate == nullptr) return std::nullopt;
  return detail::to_der(certificate);
}

std::vector<std::string> SSLObject::get_unverified_chain() const {
  std::vector<std::string> ders = detail::to_ders(::SSL_get_peer_cert_chain(native_handle()));
  // In a server, the list does not contain the client's own certificate.
  if (object_->server_side)
    if (std::optional<std::string> own = getpeercert_binary()) ders.insert(ders.begin(), *own);
  return ders;
}

std::vector<std::string> SSLObject::get_verified_chain() const {
  return detail::to_ders(::SSL_get0_verified_chain(native_handle()));
}

std::optional<Cipher> SSLObject::cipher() const {
  const SSL_CIPHER* cipher = ::SSL_get_current_cipher(native_handle());
  if (cipher == nullptr) return std::nullopt;
  return Cipher{::SSL_CIPHER_get_name(cipher), ::SSL_CIPHER_get_version(cipher),
                ::SSL_CIPHER_get_bits(cipher, nullptr)};
}

std::optional<std::string> SSLObject::compression() const {
  const COMP_METHOD* method = ::SSL_get_current_compression(native_handle());
  if (method == nullptr) return std::nullopt;
  return ::SSL_COMP_get_name(method);
}

std::optional<std::string> SSLObject::version() const {
  if (::SSL_is_init_finished(native_handle()) == 0) return std::nullopt;
  return ::SSL_get_version(native_handle());
}

std::optional<std::string> SSLObject::selected_alpn_protocol() const {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  ::SSL_get0_alpn_selected(native_handle(), &name, &size);
  if (name == nullptr) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::optional<std::string> SSLObject::get_channel_binding(const std::string& type) const {
  if (type != "tls-unique") throw ValueError("'" + type + "' channel binding type not implemented");
  char text[EVP_MAX_MD_SIZE];
  // The first of the two Finished messages: the client's, or the server's if a session was resumed.
  const bool resumed = ::SSL_session_reused(native_handle()) != 0;
  const std::size_t size = resumed != object_->server_side
                               ? ::SSL_get_peer_finished(native_handle(), text, sizeof text)
                               : ::SSL_get_finished(native_handle(), text, sizeof text);
  if (size == 0) return std::nullopt;
  return std::string(text, size);
}

std::optional<SSLSession> SSLObject::session() const {
  std::shared_ptr<detail::SessionObject> session = detail::get_session(*object_);
  if (session == nullptr) return std::nullopt;
  return SSLSession(std::move(session));
}

void SSLObject::session(const SSLSession& session) const {
  detail::set_session(*object_, *session.object());
}

bool SSLObject::session_reused() const { return ::SSL_session_reused(native_handle()) != 0; }

}  // namespace fiber::ssl
