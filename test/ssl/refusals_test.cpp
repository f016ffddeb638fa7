// Untrusted peers are refused, and both sides see the reason.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::asking_context;
using support::certificates;
using support::client_context;
using support::connect_tls;
using support::Events;
using support::server_context;
using support::start_tls_server;
using support::thrown_by;

namespace {

std::string refused(const std::string& why) {
  const std::string quote = why.find('\'') == std::string::npos ? "'" : "\"";
  return "SSLCertVerificationError(" + quote +
         "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " + why + quote + ")";
}

// The reasons that client and server see, the server in debug mode.
struct Told {
  std::string client;
  std::string server;
};

Told talk(const ssl::SSLContext& server_side, const ssl::SSLContext& client_side,
          const std::string& name = "localhost") {
  Told told;
  asyncio::run(
      [&] {
        asyncio::get_running_loop().set_exception_handler(
            [&](asyncio::EventLoop, const asyncio::ExceptionContext& context) {
              told.server += fiber::repr(context.exception);
            });
        const auto server = start_tls_server(
            [&](StreamReader& reader, StreamWriter& writer) {
              const std::string error = thrown_by([&] { told.server += await(reader.readline()); });
              told.server += error;
              writer.write("welcome\n");
              writer.close();
            },
            server_side);
        const std::string error = thrown_by([&] {
          auto [reader, writer] =
              await(connect_tls(server, client_side, {.server_hostname = name}));
          // With TLS 1.3 a server checks the client's certificate after the client's handshake.
          writer.write("hello\n");
          told.client = await(reader.readline());
          writer.close();
          await(writer.wait_closed());
        });
        told.client = error + told.client;
        server.close();
        await(server.wait_closed());
      },
      {.debug = true});
  return told;
}

}  // namespace

TEST_CASE("a server that is trusted, and has that name, is accepted") {
  const Told told = talk(server_context(), client_context());
  CHECK(told.client == "welcome\n");
  CHECK(told.server == "hello\n");
  CHECK(talk(server_context(), client_context(), "127.0.0.1").client == "welcome\n");
  CHECK(talk(server_context("wildcard.pem"), client_context(), "a.wild.example").client ==
        "welcome\n");
  CHECK(talk(server_context("idna.pem"), client_context(), "B\u00fccher.example").client ==
        "welcome\n");
}

TEST_CASE("wrong host") {
  const Told told = talk(server_context("other.pem"), client_context());
  CHECK(told.client == refused("Hostname mismatch, certificate is not valid for 'localhost'."));
  CHECK(told.server.starts_with("SSLError('[SSL: SSLV3_ALERT_BAD_CERTIFICATE]"));
  CHECK(talk(server_context(), client_context(), "127.0.0.2").client ==
        refused("IP address mismatch, certificate is not valid for '127.0.0.2'."));
  // A wildcard stands for exactly one whole label.
  for (const char* name : {"wild.example", "a.b.wild.example", "localhost"})
    CHECK(talk(server_context("wildcard.pem"), client_context(), name).client ==
          refused(std::string("Hostname mismatch, certificate is not valid for '") + name + "'."));
}

TEST_CASE("expired, and not valid yet") {
  const Told told = talk(server_context("expired.pem"), client_context());
  CHECK(told.client == refused("certificate has expired"));
  CHECK(told.server ==
        "SSLError('[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired')");
  CHECK(talk(server_context("early.pem"), client_context()).client ==
        refused("certificate is not yet valid"));
}

TEST_CASE("an unknown authority, and none but itself") {
  const Told told = talk(server_context("stranger.pem"), client_context());
  CHECK(told.client == refused("unable to get local issuer certificate"));
  CHECK(told.server == "SSLError('[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca')");
  CHECK(talk(server_context("selfsigned.pem"), client_context()).client ==
        refused("self-signed certificate"));
  // A context without authorities.
  const ssl::SSLContext lonely(ssl::PROTOCOL_TLS_CLIENT);
  CHECK(talk(server_context(), lonely).client == refused("unable to get local issuer certificate"));
}

TEST_CASE("a certificate that a list of its authority revokes is refused") {
  const auto context = client_context();
  context.verify_flags(context.verify_flags() | ssl::VERIFY_CRL_CHECK_LEAF);
  CHECK(talk(server_context("revoked.pem"), context).client ==
        refused("unable to get certificate CRL"));
  context.load_verify_locations({.cafile = certificates()("crl.pem")});
  const Told told = talk(server_context("revoked.pem"), context);
  CHECK(told.client == refused("certificate revoked"));
  CHECK(told.server ==
        "SSLError('[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked')");
  CHECK(talk(server_context(), context).client == "welcome\n");
}

TEST_CASE("a client without a certificate, with a strange one, and with a good one") {
  for (const ssl::TLSVersion version : {ssl::TLSVersion::TLSv1_2, ssl::TLSVersion::TLSv1_3}) {
    CAPTURE(static_cast<int>(version));
    const auto required = asking_context(ssl::CERT_REQUIRED);
    const auto with = [&](const std::string& certificate) {
      const auto context = client_context(certificate);
      context.maximum_version(version);
      return context;
    };
    Told told = talk(required, with(""));
    const bool old = version == ssl::TLSVersion::TLSv1_2;
    CHECK(told.client == (old ? "SSLError('[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert "
                                "handshake failure')"
                              : "SSLError('[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert "
                                "certificate required')"));
    CHECK(told.server ==
          "SSLError('[SSL: PEER_DID_NOT_RETURN_A_CERTIFICATE] peer did not return a "
          "certificate')");
    told = talk(required, with("stranger.pem"));
    CHECK(told.client == "SSLError('[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca')");
    CHECK(told.server == refused("unable to get local issuer certificate"));
    CHECK(talk(required, with("client.pem")).client == "welcome\n");
    const auto optional = asking_context(ssl::CERT_OPTIONAL);
    CHECK(talk(optional, with("")).client == "welcome\n");
    CHECK(talk(optional, with("stranger.pem")).server ==
          refused("unable to get local issuer certificate"));
  }
}

TEST_CASE("a server knows its client by the certificate") {
  Events events;
  asyncio::run([&] {
    const auto server = start_tls_server(
        [&](StreamReader&, StreamWriter& writer) {
          const auto certificate = writer.get_extra_info(ssl::peercert);
          events(certificate
                     ? certificate->commonName() + " " + certificate->subjectAltName.at(0).second
                     : "nobody");
          writer.close();
        },
        asking_context(ssl::CERT_OPTIONAL));
    for (const char* certificate : {"client.pem", ""}) {
      auto [reader, writer] = await(connect_tls(server, client_context(certificate)));
      await(reader.read());
      writer.close();
      await(writer.wait_closed());
    }
    server.close();
    await(server.wait_closed());
  });
  CHECK(events.take() == "client client@example.org nobody");
}

TEST_CASE("versions and ciphers that nobody shares") {
  const auto old = client_context();
  old.maximum_version(ssl::TLSVersion::TLSv1_2);
  const auto modern = server_context();
  modern.minimum_version(ssl::TLSVersion::TLSv1_3);
  Told told = talk(modern, old);
  CHECK(told.client ==
        "SSLError('[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version')");
  CHECK(told.server == "SSLError('[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol')");
  const auto picky = server_context();
  picky.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384");
  old.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305");
  told = talk(picky, old);
  CHECK(told.client ==
        "SSLError('[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure')");
  CHECK(told.server == "SSLError('[SSL: NO_SHARED_CIPHER] no shared cipher')");
}

TEST_CASE("without verification every certificate is accepted") {
  const ssl::SSLContext context(ssl::PROTOCOL_TLS_CLIENT);
  CHECK(thrown_by([&] { context.verify_mode(ssl::CERT_NONE); }) ==
        "ValueError('Cannot set verify_mode to CERT_NONE when check_hostname is enabled.')");
  context.check_hostname(false);
  context.verify_mode(ssl::CERT_NONE);
  for (const char* certificate : {"other.pem", "expired.pem", "selfsigned.pem", "stranger.pem"})
    CHECK(talk(server_context(certificate), context).client == "welcome\n");
}

TEST_CASE("SNI: the callback chooses the context, refuses, or fails") {
  const auto main_context = server_context();
  const auto other_context = server_context("other.pem");
  std::string seen;
  main_context.sni_callback([&](ssl::SSLObject& object, const std::optional<std::string>& name,
                                ssl::SSLContext& context) -> std::optional<ssl::AlertDescription> {
    seen += name.value_or("-") + (context == main_context ? "+" : "?");
    if (name == "other.example") object.context(other_context);
    if (name == "refused.example") return ssl::ALERT_DESCRIPTION_UNRECOGNIZED_NAME;
    if (name == "revoked.example") return ssl::ALERT_DESCRIPTION_CERTIFICATE_REVOKED;
    if (name == "fails.example") throw fiber::ValueError("a bug");
    if (name == "waits.example") asyncio::await(asyncio::sleep(std::chrono::seconds(1)));
    return std::nullopt;
  });
  CHECK(talk(main_context, client_context()).client == "welcome\n");
  CHECK(talk(main_context, client_context(), "other.example").client == "welcome\n");
  CHECK(talk(main_context, client_context(), "127.0.0.1").client == "welcome\n");
  CHECK(seen == "localhost+other.example+-+");
  CHECK(talk(main_context, client_context(), "refused.example").client ==
        "SSLError('[SSL: TLSV1_UNRECOGNIZED_NAME] tlsv1 unrecognized name')");
  CHECK(talk(main_context, client_context(), "revoked.example").client ==
        "SSLError('[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked')");
  const Told told = talk(main_context, client_context(), "fails.example");
  CHECK(told.client ==
        "SSLError('[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure')");
  CHECK(told.server.find("ValueError('a bug')") != std::string::npos);
  CHECK(talk(main_context, client_context(), "waits.example").server.find("RuntimeError") !=
        std::string::npos);
}
