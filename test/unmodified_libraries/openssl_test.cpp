// OpenSSL, unmodified, over sockets that block: both ends in one thread, and against nginx.
#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/trial.hpp"

#include <fiber/asyncio/sock.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

using namespace legacy_test;

namespace {

template <class T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX, SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Free<SSL, SSL_free>>;

// A self-signed certificate, valid for a day.
struct Identity {
  Key key{EVP_EC_gen("P-256")};
  Certificate certificate{X509_new()};
  Identity() {
    X509* x = certificate.get();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 24 * 60 * 60);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("fiber"), -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key.get());
    REQUIRE(X509_sign(x, key.get(), EVP_sha256()) > 0);
  }
};

struct Contexts {
  Identity identity;
  Context server{SSL_CTX_new(TLS_server_method())};
  Context client{SSL_CTX_new(TLS_client_method())};
  explicit Contexts(bool trusted = true) {
    SSL_CTX_use_certificate(server.get(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(server.get(), identity.key.get());
    SSL_CTX_set_verify(client.get(), SSL_VERIFY_PEER, nullptr);
    if (trusted)
      X509_STORE_add_cert(SSL_CTX_get_cert_store(client.get()), identity.certificate.get());
  }
};

// Both ends of a connection over 127.0.0.1; neither is made non-blocking.
class Loopback {
 public:
  Loopback() {
    const asyncio::SocketAddress any("127.0.0.1", 0);
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(listener, any.data(), any.size()) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    const auto address = asyncio::SocketAddress::of_socket(listener);
    client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(client, address.data(), address.size()) == 0);
    server = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    ::close(listener);
  }
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;
  ~Loopback() {
    ::close(client);
    close_server();
  }
  void close_server() {
    if (server >= 0) ::close(std::exchange(server, -1));
  }
  int client = -1, server = -1;
};

// An nginx whose certificate is that of `identity`.
class SecureNginx : public Nginx {
 public:
  explicit SecureNginx(const Identity& identity)
      : Nginx(pem([&](BIO* to) { PEM_write_bio_X509(to, identity.certificate.get()); }),
              pem([&](BIO* to) {
                PEM_write_bio_PrivateKey(to, identity.key.get(), nullptr, nullptr, 0, nullptr,
                                         nullptr);
              })) {}

 private:
  template <class F>
  static std::string pem(F write) {
    BIO* memory = BIO_new(BIO_s_mem());
    write(memory);
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory, &text);
    std::string copy(text, static_cast<std::size_t>(size));
    BIO_free(memory);
    return copy;
  }
};

using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;

// Returns a connection that OpenSSL itself has made.
Bio connected(const Context& context, int port) {
  Bio bio(BIO_new_ssl_connect(context.get()));
  BIO_set_conn_hostname(bio.get(), ("127.0.0.1:" + std::to_string(port)).c_str());
  return bio;
}

// Returns the answer to a request for `path`, or its part before the connection broke. `ending`
// gets the result of SSL_get_error.
std::string get(const Context& context, int port, const std::string& path, int* ending = nullptr,
                int* parts = nullptr) {
  const Bio bio = connected(context, port);
  std::string answer;
  SSL* ssl = nullptr;
  BIO_get_ssl(bio.get(), &ssl);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  int result = static_cast<int>(BIO_do_handshake(bio.get()));
  if (result == 1) {
    BIO_write(bio.get(), request.data(), static_cast<int>(request.size()));
    char buffer[4096];
    while ((result = SSL_read(ssl, buffer, sizeof buffer)) > 0) {
      answer.append(buffer, static_cast<std::size_t>(result));
      if (parts != nullptr) ++*parts;
    }
  }
  if (ending != nullptr) *ending = SSL_get_error(ssl, result);
  ERR_clear_error();
  return answer;
}

Ssl on(const Context& context, int fd) {
  Ssl ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd);
  return ssl;
}

}  // namespace

TEST_CASE("OpenSSL: what is asked of every client") {
  const Contexts contexts;
  const SecureNginx server(contexts.identity);
  try_out({.library = "OpenSSL",
           .version = OpenSSL_version(OPENSSL_VERSION_STRING),
           .function = "BIO_new_ssl_connect",
           .server = "nginx, TLS",
           .port = server.port(),
           .call =
               [&](int port) {
                 int ending = 0;
                 const std::string answer = get(contexts.client, port, "/page", &ending);
                 if (ending != SSL_ERROR_ZERO_RETURN)
                   throw Failure("SSL_get_error: " + std::to_string(ending));
                 return std::to_string(answer.size() - answer.find("\r\n\r\n") - 4);
               },
           .answer = std::to_string(Nginx::kPageSize),
           .at_once = 20});
}

TEST_CASE("servers and clients that block shake hands and talk in one thread") {
  const PatchedLibrary patched("BIO_new");
  const Contexts contexts;
  asyncio::run([&] {
    at_once("OpenSSL", "handshake, 100 kB there and back", 50, [&](int i) {
      const Loopback ends;
      const auto serving = asyncio::create_task([&] {
        const Ssl ssl = on(contexts.server, ends.server);
        REQUIRE(SSL_accept(ssl.get()) == 1);
        std::vector<char> buffer(100'000);
        std::size_t got = 0;
        while (got < buffer.size()) {
          const int count =
              SSL_read(ssl.get(), buffer.data() + got, static_cast<int>(buffer.size() - got));
          REQUIRE(count > 0);
          got += static_cast<std::size_t>(count);
        }
        REQUIRE(SSL_write(ssl.get(), buffer.data(), 100'000) == 100'000);
        SSL_shutdown(ssl.get());
      });
      const Ssl ssl = on(contexts.client, ends.client);
      REQUIRE(SSL_connect(ssl.get()) == 1);
      const std::string text(100'000, static_cast<char>('a' + i % 26));
      REQUIRE(SSL_write(ssl.get(), text.data(), 100'000) == 100'000);
      std::string back(100'000, ' ');
      std::size_t got = 0;
      while (got < back.size()) {
        const int count =
            SSL_read(ssl.get(), back.data() + got, static_cast<int>(back.size() - got));
        REQUIRE(count > 0);
        got += static_cast<std::size_t>(count);
      }
      CHECK(back == text);
      char byte;
      CHECK(SSL_read(ssl.get(), &byte, 1) == 0);
      CHECK(SSL_get_error(ssl.get(), 0) == SSL_ERROR_ZERO_RETURN);
      await(serving);
    });
  });
}

TEST_CASE("a certificate that is not trusted fails the handshake on both sides") {
  const PatchedLibrary patched("BIO_new");
  const Contexts contexts(false);
  asyncio::run([&] {
    const Loopback ends;
    const auto serving = asyncio::create_task([&] {
      const Ssl ssl = on(contexts.server, ends.server);
      // With TLS 1.3 the server is done before the client has checked; only reading shows the
      // refusal.
      char byte;
      const bool failed = SSL_accept(ssl.get()) != 1 || SSL_read(ssl.get(), &byte, 1) <= 0;
      ERR_clear_error();
      return failed;
    });
    const Ssl ssl = on(contexts.client, ends.client);
    CHECK(SSL_connect(ssl.get()) != 1);
    CHECK(SSL_get_verify_result(ssl.get()) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
    ERR_clear_error();
    CHECK(await(serving));
  });
}

TEST_CASE("a time limit of the socket, a cancelled task, a server that is gone in the middle") {
  const PatchedLibrary patched("BIO_new");
  const Contexts contexts;
  asyncio::run([&] {
    Loopback ends;
    const auto serving = asyncio::create_task([&] {
      const Ssl ssl = on(contexts.server, ends.server);
      REQUIRE(SSL_accept(ssl.get()) == 1);
      await(asyncio::sleep(1000s));
    });
    const Ssl ssl = on(contexts.client, ends.client);
    REQUIRE(SSL_connect(ssl.get()) == 1);
    const timeval limit{.tv_sec = 0, .tv_usec = 20'000};
    REQUIRE(::setsockopt(ends.client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    char byte;
    int result = SSL_read(ssl.get(), &byte, 1);
    CHECK(SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ);  // EAGAIN, as without patching

    const timeval none{};
    REQUIRE(::setsockopt(ends.client, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none) == 0);
    int error = 0, cause = 0;
    int waiting = 0;
    const auto reading = asyncio::create_task([&] {
      ++waiting;
      const int count = SSL_read(ssl.get(), &byte, 1);
      cause = errno;
      error = SSL_get_error(ssl.get(), count);
    });
    until(waiting);
    CHECK(cancel(reading));
    CHECK(error == SSL_ERROR_SYSCALL);
    CHECK(cause == ECANCELED);
    serving.cancel();
    await(asyncio::wait(std::vector{serving}));

    Loopback others;
    const auto dying = asyncio::create_task([&] {
      const Ssl its = on(contexts.server, others.server);
      REQUIRE(SSL_accept(its.get()) == 1);
      await(asyncio::sleep(20ms));
      others.close_server();
    });
    const Ssl other = on(contexts.client, others.client);
    REQUIRE(SSL_connect(other.get()) == 1);
    result = SSL_read(other.get(), &byte, 1);
    CHECK(result <= 0);
    CHECK(SSL_get_error(other.get(), result) == SSL_ERROR_SSL);  // an end without close_notify
    ERR_clear_error();
    await(dying);
  });
}

TEST_CASE("100 slow downloads from nginx take the time of one, in one thread") {
  const Contexts contexts;
  const SecureNginx server(contexts.identity);
  const PatchedLibrary patched("BIO_new");
  asyncio::run([&] {
    const double took = at_once("OpenSSL", "a second's download over TLS", 100, [&](int) {
      int ending = 0;
      const std::string answer = get(contexts.client, server.port(), "/slow/page", &ending);
      CHECK(answer.starts_with("HTTP/1.1 200 OK"));
      CHECK(answer.ends_with(std::string(Nginx::kPageSize, 'p')));
      CHECK(ending == SSL_ERROR_ZERO_RETURN);
    });
    CHECK(took < 50);  // one after another they take 100 s
  });
}

TEST_CASE("an nginx that is not trusted, a cancelled task, an nginx that is killed in the middle") {
  const Contexts contexts;
  SecureNginx server(contexts.identity);
  const PatchedLibrary patched("BIO_new");
  asyncio::run([&] {
    int ending = 0;
    const Contexts strangers(false);
    CHECK(get(strangers.client, server.port(), "/page", &ending) == "");
    CHECK(ending == SSL_ERROR_SSL);

    int parts = 0;
    const auto task = asyncio::create_task(
        [&] { get(contexts.client, server.port(), "/stuck/page", &ending, &parts); });
    until(parts);
    CHECK(cancel(task));
    CHECK(ending == SSL_ERROR_SYSCALL);

    parts = 0;
    const auto reading = asyncio::create_task(
        [&] { return get(contexts.client, server.port(), "/stuck/page", &ending, &parts); });
    until(parts);
    server.kill();
    const std::string part = await(reading);
    CHECK(part.starts_with("HTTP/1.1 200 OK"));
    CHECK(part.size() < Nginx::kPageSize);
    CHECK((ending == SSL_ERROR_SSL || ending == SSL_ERROR_SYSCALL));
    CHECK(get(contexts.client, server.port(), "/page", &ending) == "");  // refused
    CHECK(ending != SSL_ERROR_NONE);
  });
}
