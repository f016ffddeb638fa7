// Contexts that trust the tests' authority, and servers with its certificates.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <string>
#include <utility>

#include "ssl/certificates.hpp"
#include "support/streams.hpp"

namespace support {

inline fiber::ssl::SSLContext client_context(const std::string& certificate = {}) {
  auto context = fiber::ssl::create_default_context(fiber::ssl::Purpose::SERVER_AUTH,
                                                    {.cafile = certificates()("authority.pem")});
  if (!certificate.empty()) context.load_cert_chain(certificates()(certificate));
  return context;
}

inline fiber::ssl::SSLContext server_context(const std::string& certificate = "server.pem") {
  auto context = fiber::ssl::create_default_context(fiber::ssl::Purpose::CLIENT_AUTH);
  context.load_cert_chain(certificates()(certificate));
  return context;
}

// A server context that asks its clients for certificates of the tests' authority.
inline fiber::ssl::SSLContext asking_context(fiber::ssl::VerifyMode mode) {
  auto context = server_context();
  context.load_verify_locations({.cafile = certificates()("authority.pem")});
  context.verify_mode(mode);
  return context;
}

template <class F>
auto start_tls_server(F callback, const fiber::ssl::SSLContext& context,
                      fiber::asyncio::StartServerOptions options = {}) {
  options.ssl = context;
  return fiber::asyncio::await(
      fiber::asyncio::start_server(std::move(callback), "127.0.0.1", 0, std::move(options)));
}

inline auto connect_tls(const fiber::asyncio::Server& server, const fiber::ssl::SSLContext& context,
                        fiber::asyncio::OpenConnectionOptions options = {}) {
  options.ssl = context;
  return fiber::asyncio::open_connection("localhost", server.sockets().at(0).port(),
                                         std::move(options));
}

inline void hang_up(const fiber::asyncio::StreamWriter& writer) {
  writer.close();
  fiber::asyncio::await(writer.wait_closed());
}

}  // namespace support
