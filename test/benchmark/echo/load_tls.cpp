// Clients of the rows of TLS: see load.hpp. All servers get the same cipher.
//
//   echo_load_tls tls PORT CONNECTIONS BYTES SECONDS    prints messages per second
//   echo_load_tls idle PORT CONNECTIONS                 connections, until the standard input ends
#include "load.hpp"

#include <openssl/ssl.h>

#include <fcntl.h>

namespace {

SSL_CTX* context() {
  static SSL_CTX* const made = [] {
    SSL_CTX* fresh = ::SSL_CTX_new(::TLS_client_method());
    ::SSL_CTX_set_ciphersuites(fresh, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_mode(fresh, SSL_MODE_RELEASE_BUFFERS);
    ::SSL_CTX_set_read_ahead(fresh, 1);
    return fresh;
  }();
  return made;
}

struct Peer {
  Peer(int port, std::size_t which)
      : fd(echo::connect_to(port, SOCK_STREAM, which)), ssl(::SSL_new(context())) {
    ::SSL_set_fd(ssl, fd);
    echo::check(::SSL_connect(ssl) == 1, "SSL_connect");
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  void send(const char* data, std::size_t size) const {
    echo::check(::SSL_write(ssl, data, static_cast<int>(size)) == static_cast<int>(size),
                "SSL_write");
  }
  std::size_t receive(char* buffer, std::size_t size) const {
    std::size_t got = 0;
    std::size_t count = 0;
    while (::SSL_read_ex(ssl, buffer, size, &count) == 1) {
      got += count;
      if (::SSL_has_pending(ssl) == 0) return got;
    }
    echo::check(::SSL_get_error(ssl, 0) == SSL_ERROR_WANT_READ, "SSL_read");
    return got;
  }
  int fd;
  SSL* ssl;
};

}  // namespace

int main(int argc, char** argv) {
  const load::Arguments its = load::arguments(argc, argv);
  if (std::strcmp(argv[1], "tls") == 0) return load::echo<Peer>(its);
  if (std::strcmp(argv[1], "idle") == 0) return load::hold<Peer>(its);
  return 2;
}
