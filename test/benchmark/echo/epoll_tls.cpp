// The hand-written echo server over TLS: OpenSSL on non-blocking sockets. It prints its port.
//
//   echo_epoll_tls CERTIFICATE KEY
#include "socket.hpp"

#include <openssl/ssl.h>

#include <vector>

namespace {

std::vector<SSL*> connections;  // by descriptor

bool readable(int fd) {
  static char buffer[64 * 1024];
  SSL* ssl = connections[static_cast<std::size_t>(fd)];
  std::size_t got = 0;
  std::size_t sent = 0;
  int result = 0;
  while ((result = ::SSL_read_ex(ssl, buffer, sizeof buffer, &got)) == 1) {
    if ((result = ::SSL_write_ex(ssl, buffer, got, &sent)) != 1) break;
    if (::SSL_has_pending(ssl) == 0) return true;
  }
  if (::SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ) return true;
  ::SSL_free(ssl);
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  SSL_CTX* context = ::SSL_CTX_new(::TLS_server_method());
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_read_ahead(context, 1);
  echo::check(::SSL_CTX_use_certificate_chain_file(context, argv[1]) == 1, "certificate");
  echo::check(::SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) == 1, "key");
  echo::serve_connections(
      [context](int fd) {
        echo::no_delay(fd);
        SSL* ssl = ::SSL_new(context);
        ::SSL_set_fd(ssl, fd);
        ::SSL_set_accept_state(ssl);
        if (connections.size() <= static_cast<std::size_t>(fd))
          connections.resize(static_cast<std::size_t>(fd) * 2 + 1);
        connections[static_cast<std::size_t>(fd)] = ssl;
        return true;
      },
      readable);
}
