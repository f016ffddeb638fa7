// tls_echo: an echo server over TLS, with a certificate that it makes itself, and clients of it.
//
//   tls_echo                a demonstration: a server at a free port, and clients
//   tls_echo serve PORT     serves; writes the certificate to tls_echo.pem, for clients
//   tls_echo talk HOST PORT CAFILE
//                           sends the lines of its input to such a server, and prints the answers
#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include <stdlib.h>
#include <unistd.h>

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;

namespace {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <class T, auto Free>
std::unique_ptr<T, FreeWith<Free>> owned(T* object) {
  if (object == nullptr) throw RuntimeError("OpenSSL has no memory");
  return std::unique_ptr<T, FreeWith<Free>>(object);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

struct Identity {
  std::string certificate;  // PEM
  std::string key;
};

// Makes a self-signed certificate for this machine, valid for a day.
Identity make_identity() {
  const auto key = owned<EVP_PKEY, EVP_PKEY_free>(EVP_EC_gen("P-256"));
  const auto certificate = owned<X509, X509_free>(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24 * 60 * 60);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("tls_echo"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate.get(), certificate.get(), nullptr, nullptr, 0);
  const auto extend = [&](int kind, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    X509_add_ext(certificate.get(), extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, "critical,CA:TRUE");
  extend(NID_key_usage, "critical,digitalSignature,keyCertSign");
  extend(NID_subject_key_identifier, "hash");
  extend(NID_authority_key_identifier, "keyid:always");
  extend(NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const auto bio = owned<BIO, BIO_free>(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  const std::string pem = text_of(bio.get());
  const auto secret = owned<BIO, BIO_free>(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {pem, text_of(secret.get())};
}

// A context reads keys from files: the file is removed at once.
ssl::SSLContext server_context(const Identity& identity) {
  const auto context = ssl::create_default_context(ssl::Purpose::CLIENT_AUTH);
  std::string path = "/tmp/tls_echo-XXXXXX";
  const int fd = ::mkstemp(path.data());
  if (fd < 0) raise_os_error(errno, path);
  ::close(fd);
  std::ofstream(path) << identity.certificate << identity.key;
  try {
    context.load_cert_chain(path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  ::unlink(path.c_str());
  return context;
}

void echo(StreamReader& reader, StreamWriter& writer) {
  for (std::string data = await(reader.read(65536)); !data.empty();
       data = await(reader.read(65536))) {
    writer.write(data);
    await(writer.drain());
  }
  writer.close();
  await(writer.wait_closed());
}

void serve(int port) {
  const Identity identity = make_identity();
  std::ofstream("tls_echo.pem") << identity.certificate;
  const auto server =
      await(asyncio::start_server(echo, "", port, {.ssl = server_context(identity)}));
  for (const asyncio::Socket& socket : server.sockets())
    std::cout << "serving at " << socket.getsockname() << std::endl;
  await(server.serve_forever());
}

void talk(const std::string& host, int port, const std::string& cafile) {
  const auto context = ssl::create_default_context(ssl::Purpose::SERVER_AUTH, {.cafile = cafile});
  auto [reader, writer] = await(asyncio::open_connection(host, port, {.ssl = context}));
  std::cout << *writer.get_extra_info(ssl::ssl_object)->version() << ", "
            << writer.get_extra_info(ssl::peercert)->commonName() << std::endl;
  const std::string text = await(asyncio::to_thread([] {
    std::string all;
    for (std::string line; std::getline(std::cin, line);) all += line + "\n";
    return all;
  }));
  writer.write(text);
  await(writer.drain());
  std::cout << await(reader.readexactly(static_cast<std::ptrdiff_t>(text.size())));
  writer.close();
  await(writer.wait_closed());
}

void show() {
  const Identity identity = make_identity();
  const auto server =
      await(asyncio::start_server(echo, "127.0.0.1", 0, {.ssl = server_context(identity)}));
  const int port = server.sockets()[0].port();

  const auto trusting =
      ssl::create_default_context(ssl::Purpose::SERVER_AUTH, {.cadata = identity.certificate});
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port, {.ssl = trusting}));
  std::cout << "version " << *writer.get_extra_info(ssl::ssl_object)->version() << '\n';
  writer.write("over the wire, unreadable\n");
  std::cout << "echo: " << await(reader.readline());
  writer.close();
  await(writer.wait_closed());

  // A client that does not trust the certificate does not connect.
  try {
    await(asyncio::open_connection("127.0.0.1", port, {.ssl = true}));
  } catch (const ssl::SSLCertVerificationError& error) {
    std::cout << "stranger: " << error.verify_message() << '\n';
  }
  // Nor does a client that expects another server.
  try {
    await(asyncio::open_connection("127.0.0.1", port,
                                   {.ssl = trusting, .server_hostname = "example.org"}));
  } catch (const ssl::SSLCertVerificationError& error) {
    std::cout << "other host: " << error.verify_message() << '\n';
  }
  server.close();
  await(server.wait_closed());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "serve" && argc == 3)
    asyncio::run([&] { serve(std::atoi(argv[2])); });
  else if (command == "talk" && argc == 5)
    asyncio::run([&] { talk(argv[2], std::atoi(argv[3]), argv[4]); });
  else
    asyncio::run(show);
}
