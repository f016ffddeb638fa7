// mbedTLS, unmodified, against nginx.
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#include <doctest/doctest.h>

#include "unmodified_libraries/secure_nginx.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

struct Connection {
  Connection() {
    mbedtls_net_init(&net);
    mbedtls_ssl_init(&ssl);
    mbedtls_ssl_config_init(&config);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0);
    mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_setup(&ssl, &config);
    mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, nullptr);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    mbedtls_ssl_free(&ssl);
    mbedtls_ssl_config_free(&config);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
    mbedtls_net_free(&net);
  }
  static int must(int status) {
    if (status >= 0) return status;
    char text[200];
    mbedtls_strerror(status, text, sizeof text);
    throw Failure(text);
  }
  mbedtls_net_context net;
  mbedtls_ssl_context ssl;
  mbedtls_ssl_config config;
  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;
};

// The length of the page.
std::string get(int port) {
  Connection its;
  its.must(mbedtls_net_connect(&its.net, "127.0.0.1", std::to_string(port).c_str(),
                               MBEDTLS_NET_PROTO_TCP));
  its.must(mbedtls_ssl_handshake(&its.ssl));
  const std::string request = "GET /page HTTP/1.0\r\n\r\n";
  its.must(mbedtls_ssl_write(&its.ssl, reinterpret_cast<const unsigned char*>(request.data()),
                             request.size()));
  std::string text;
  unsigned char part[4096];
  for (;;) {
    const int size = mbedtls_ssl_read(&its.ssl, part, sizeof part);
    if (size == 0 || size == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) break;
    text.append(reinterpret_cast<const char*>(part), static_cast<std::size_t>(its.must(size)));
  }
  const auto body = text.find("\r\n\r\n");
  return body != std::string::npos ? text.substr(body + 4) : text;
}

}  // namespace

TEST_CASE("mbedTLS: downloads over TLS") {
  const SecureNginx server;
  try_out({.library = "mbedTLS",
           .version = MBEDTLS_VERSION_STRING,
           .function = "mbedtls_net_connect",
           .server = "nginx, TLS",
           .port = server.port(),
           .call = get,
           .answer = std::string(Nginx::kPageSize, 'p'),
           .at_once = 20});
}
