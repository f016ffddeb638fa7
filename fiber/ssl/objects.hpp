// The objects behind the handles SSLContext, SSLObject and SSLSession.
#pragma once

#include <fiber/core/owner.hpp>
#include <fiber/ssl/bio.hpp>
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/object.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include <openssl/ssl.h>

namespace fiber::ssl::detail {

struct FreeSsl {
  void operator()(SSL_CTX* context) const noexcept { ::SSL_CTX_free(context); }
  void operator()(SSL* ssl) const noexcept { ::SSL_free(ssl); }
  void operator()(SSL_SESSION* session) const noexcept { ::SSL_SESSION_free(session); }
  void operator()(X509* certificate) const noexcept { ::X509_free(certificate); }
  void operator()(BIO* bio) const noexcept { ::BIO_free(bio); }
};

struct ContextObject final : asyncio::detail::LayerMaker,
                             std::enable_shared_from_this<ContextObject> {
  explicit ContextObject(Protocol its_protocol);
  ~ContextObject() override;
  core::Owner<asyncio::detail::TransportLayer> make_layer(
      const asyncio::detail::LayerArguments& arguments) override;

  const Protocol protocol;
  std::unique_ptr<SSL_CTX, FreeSsl> ctx;
  bool check_hostname;
  bool suppress_ragged_eofs = true;
  unsigned int host_flags;  ///< X509_CHECK_FLAG_ bits
  std::string alpn;         ///< in the format of the protocol
  sni_callback_function sni;
  std::string keylog_name;
  int keylog = -1;  ///< descriptor
};

/// The result of a call of an SslObject without an error.
enum class Outcome { done, want_read, want_write, closed };

/// A connection of OpenSSL. Its calls leave OpenSSL's error queue empty, and throw SSLError and the
/// exceptions of callbacks.
struct SslObject : std::enable_shared_from_this<SslObject> {
  SslObject(std::shared_ptr<ContextObject> its_context, std::shared_ptr<Bytes> its_incoming,
            std::shared_ptr<Bytes> its_outgoing, bool server, const std::string& hostname);

  Outcome handshake();
  /// `count`: the number of bytes that were read or written.
  Outcome read(char* to, std::size_t size, std::size_t& count);
  Outcome write(std::string_view data, std::size_t& count);
  /// Returns whether received bytes are left that read() has not looked at.
  bool has_input() const noexcept {
    return incoming->pending() != 0 || ::SSL_has_pending(ssl.get()) != 0;
  }
  Outcome shutdown();
  /// Like shutdown(), but throws away the data that the peer sends before its close_notify.
  Outcome shutdown_unheard();
  /// Whether the peer's close_notify has arrived.
  bool received_close_notify() const noexcept {
    return (::SSL_get_shutdown(ssl.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }

  std::shared_ptr<ContextObject> context;
  /// OpenSSL calls its callbacks whatever context an sni_callback has set since.
  const std::shared_ptr<ContextObject> first_context = context;
  std::shared_ptr<Bytes> incoming;
  std::shared_ptr<Bytes> outgoing;
  const bool server_side;
  std::string server_hostname;  ///< ASCII; "" for none
  std::unique_ptr<SSL, FreeSsl> ssl;
  std::exception_ptr callback_error;

 private:
  void set_server_name();
  Outcome outcome_of(int result);
  [[noreturn]] void refuse_certificate();
};

struct SessionObject {
  std::unique_ptr<SSL_SESSION, FreeSsl> session;
  std::shared_ptr<ContextObject> context;
  std::string server_hostname = {};  ///< the name that was checked when the session began
};

void set_session(SslObject& object, const SessionObject& session);
std::shared_ptr<SessionObject> get_session(const SslObject& object);

}  // namespace fiber::ssl::detail
