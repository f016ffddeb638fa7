#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <openssl/err.h>

#include "ssl/tls.hpp"
#include "support/events.hpp"
#include "support/locales.hpp"

#include <fiber/asyncio/idna.hpp>

namespace ssl = fiber::ssl;
using support::certificates;
using support::thrown_by;

TEST_CASE("a context is secure as it is made") {
  const ssl::SSLContext client(ssl::PROTOCOL_TLS_CLIENT);
  CHECK(client.protocol() == ssl::PROTOCOL_TLS_CLIENT);
  CHECK(client.check_hostname());
  CHECK(client.verify_mode() == ssl::CERT_REQUIRED);
  CHECK(client.minimum_version() == ssl::TLSVersion::TLSv1_2);
  CHECK(client.maximum_version() == ssl::TLSVersion::MAXIMUM_SUPPORTED);
  for (const std::uint64_t option :
       {ssl::OP_NO_RENEGOTIATION, ssl::OP_NO_COMPRESSION, ssl::OP_NO_SSLv3})
    CHECK((client.options() & option) == option);
  CHECK((client.verify_flags() & ssl::VERIFY_X509_TRUSTED_FIRST) != 0);

  const ssl::SSLContext server(ssl::PROTOCOL_TLS_SERVER);
  CHECK_FALSE(server.check_hostname());
  CHECK(server.verify_mode() == ssl::CERT_NONE);

  const auto usual = ssl::create_default_context();
  CHECK((usual.verify_flags() & ssl::VERIFY_X509_STRICT) != 0);
  CHECK((usual.verify_flags() & ssl::VERIFY_X509_PARTIAL_CHAIN) != 0);
  for (const std::string& name : usual.get_ciphers()) {
    CAPTURE(name);
    CHECK((name.starts_with("TLS_") || name.starts_with("ECDHE") || name.starts_with("DHE")));
  }
}

TEST_CASE("settings of a context can be read back") {
  const ssl::SSLContext context(ssl::PROTOCOL_TLS_CLIENT);
  context.check_hostname(false);
  for (const ssl::VerifyMode mode : {ssl::CERT_OPTIONAL, ssl::CERT_REQUIRED, ssl::CERT_NONE}) {
    context.verify_mode(mode);
    CHECK(context.verify_mode() == mode);
  }
  context.check_hostname(true);
  CHECK(context.verify_mode() == ssl::CERT_REQUIRED);

  const ssl::SSLContext server(ssl::PROTOCOL_TLS_SERVER);
  for (const ssl::VerifyMode mode : {ssl::CERT_OPTIONAL, ssl::CERT_REQUIRED, ssl::CERT_NONE}) {
    server.verify_mode(mode);
    CHECK(server.verify_mode() == mode);
  }
  context.options(context.options() | ssl::OP_NO_TICKET);
  CHECK((context.options() & ssl::OP_NO_TICKET) != 0);
  context.options(context.options() & ~ssl::OP_NO_TICKET);
  CHECK((context.options() & ssl::OP_NO_TICKET) == 0);
  context.verify_flags(ssl::VERIFY_CRL_CHECK_CHAIN);
  CHECK(context.verify_flags() == ssl::VERIFY_CRL_CHECK_CHAIN);
  context.minimum_version(ssl::TLSVersion::TLSv1_3);
  CHECK(context.minimum_version() == ssl::TLSVersion::TLSv1_3);
  context.minimum_version(ssl::TLSVersion::MINIMUM_SUPPORTED);
  CHECK(context.minimum_version() == ssl::TLSVersion::MINIMUM_SUPPORTED);
  context.hostname_checks_common_name(false);
  CHECK_FALSE(context.hostname_checks_common_name());
  context.hostname_checks_common_name(true);
  CHECK(context.hostname_checks_common_name());
  server.num_tickets(5);
  CHECK(server.num_tickets() == 5);
  const ssl::SSLContext copy = server;
  CHECK(copy == server);
  CHECK_FALSE(copy == context);
}

TEST_CASE("settings that cannot be are refused, and change nothing") {
  const ssl::SSLContext context(ssl::PROTOCOL_TLS_CLIENT);
  CHECK(thrown_by([&] { context.set_ciphers("^$:,;?*'dorothyx"); }) ==
        "SSLError('No cipher can be selected.')");
  CHECK(thrown_by([&] { context.set_alpn_protocols({"h2", ""}); }).starts_with("ValueError"));
  CHECK(thrown_by([&] {
          context.set_alpn_protocols({std::string(256, 'a')});
        }).starts_with("ValueError"));
  CHECK(thrown_by([&] { context.set_ecdh_curve("spiral"); }) ==
        "ValueError(\"unknown elliptic curve name 'spiral'\")");
  CHECK(thrown_by([&] { context.minimum_version(static_cast<ssl::TLSVersion>(0x999)); }) ==
        "ValueError('Unsupported protocol version 0x999')");
  CHECK(thrown_by([&] { context.num_tickets(1); }) ==
        "ValueError('SSLContext is not a server context.')");
  CHECK(thrown_by([&] { context.sni_callback({}); }) ==
        "ValueError('sni_callback cannot be set on TLS_CLIENT context')");
  CHECK(thrown_by([&] {
          context.keylog_filename("/no/such/folder/keys");
        }).starts_with("FileNotFoundError"));
  CHECK(context.keylog_filename().empty());
  CHECK(::ERR_peek_error() == 0);
}

TEST_CASE("load_cert_chain: files, keys, passwords, and what is wrong with them") {
  const ssl::SSLContext context(ssl::PROTOCOL_TLS_SERVER);
  const auto path = [](const char* name) { return certificates()(name); };
  context.load_cert_chain(path("server.pem"));
  context.load_cert_chain(path("server_certificate.pem"), path("server_key.pem"));
  context.load_cert_chain(path("locked.pem"), {}, "sesame");
  int asked = 0;
  context.load_cert_chain(path("locked.pem"), {}, std::function<std::string()>([&] {
                            ++asked;
                            return std::string("sesame");
                          }));
  CHECK(asked == 1);

  const auto load = [&](const std::string& certificate, const std::string& key = {},
                        const ssl::password_argument& password = {}) {
    const std::string error =
        thrown_by([&] { context.load_cert_chain(certificate, key, password); });
    CHECK(::ERR_peek_error() == 0);
    return error;
  };
  CHECK(load(path("none.pem")).starts_with("FileNotFoundError"));
  CHECK(load(path("server.pem"), path("none.pem")).starts_with("FileNotFoundError"));
  CHECK(load(path("")).starts_with("IsADirectoryError(\"[Errno 21] Is a directory"));
  CHECK(load(std::string("a\0b", 3)).starts_with("ValueError"));
  CHECK(load(path("locked.pem"), {}, "wrong").starts_with("SSLError("));
  CHECK(load(path("locked.pem")).starts_with("SSLError(\"[PEM: BAD_PASSWORD_READ]"));
  CHECK(load(path("locked.pem"), {}, std::string(2000, 'p'))
            .starts_with("ValueError('password cannot be longer than"));
  CHECK(load(path("locked.pem"), {}, std::function<std::string()>([]() -> std::string {
               throw fiber::RuntimeError("no password today");
             })) == "RuntimeError('no password today')");
  CHECK(load(path("server_certificate.pem"), path("other.pem"))
            .starts_with("SSLError(\"[X509: KEY_VALUES_MISMATCH] key values mismatch"));
  CHECK(load(path("server_certificate.pem")).starts_with("SSLError("));
  certificates().write("garbage.pem", "-----BEGIN CERTIFICATE-----\nnot at all\n");
  CHECK(load(path("garbage.pem")).starts_with("SSLError(\"["));
}

TEST_CASE("load_verify_locations: files, folders and data") {
  const ssl::SSLContext context(ssl::PROTOCOL_TLS_CLIENT);
  CHECK(thrown_by([&] { context.load_verify_locations({}); }) ==
        "TypeError('cafile, capath and cadata cannot be all omitted')");
  CHECK(context.cert_store_stats().x509 == 0);
  context.load_verify_locations({.cadata = certificates().read("authority.pem") +
                                           certificates().read("strange_authority.pem")});
  CHECK(context.cert_store_stats().x509_ca == 2);
  // The second time: the authority is known already.
  context.load_verify_locations({.cafile = certificates()("authority.pem")});
  context.load_verify_locations(
      {.cadata = ssl::PEM_cert_to_DER_cert(certificates().read("authority.pem"))});
  CHECK(context.cert_store_stats().x509 == 2);
  context.load_verify_locations({.cafile = certificates()("crl.pem")});
  CHECK(context.cert_store_stats().crl == 1);
  REQUIRE(context.get_ca_certs().size() == 2);
  std::vector<std::string> names;
  for (const ssl::Certificate& authority : context.get_ca_certs())
    names.push_back(authority.commonName());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"Fiber Test Authority", "Fiber Test Stranger"});

  const auto load = [&](const ssl::verify_locations& locations) {
    const std::string error = thrown_by([&] { context.load_verify_locations(locations); });
    CHECK(::ERR_peek_error() == 0);
    return error;
  };
  CHECK(load({.cafile = "/none.pem"}).starts_with("FileNotFoundError"));
  CHECK(load({.cadata = "broken"}) ==
        "SSLError('not enough data: cadata does not contain a certificate')");
  CHECK(load({.cadata = "-----BEGIN CERTIFICATE-----\n"}).starts_with("SSLError('no start line"));
  CHECK(load({.cadata = ssl::PEM_cert_to_DER_cert(certificates().read("authority.pem")) + "more"})
            .starts_with("SSLError("));
  CHECK(context.cert_store_stats().x509 == 2);
}

TEST_CASE("certificates between PEM and DER, and their times") {
  const std::string pem = certificates().read("authority.pem");
  const std::string der = ssl::PEM_cert_to_DER_cert(pem);
  CHECK(ssl::DER_cert_to_PEM_cert(der) == pem);
  CHECK(thrown_by([] { ssl::PEM_cert_to_DER_cert("nonsense"); }) ==
        "ValueError('Invalid PEM encoding; must start with -----BEGIN CERTIFICATE-----')");
  CHECK(thrown_by([&] { ssl::PEM_cert_to_DER_cert(pem.substr(0, 200)); }) ==
        "ValueError('Invalid PEM encoding; must end with -----END CERTIFICATE-----')");
  CHECK(ssl::cert_time_to_seconds("Jan  5 09:34:43 2018 GMT") == 1515144883);
  CHECK(ssl::cert_time_to_seconds("May  9 00:00:00 2007 GMT") == 1178668800);
  for (const char* wrong :
       {"yesterday", "", "Jan", "anF 5 09:34:43 2018 GMT", "January 5 09:34:43 2018 GMT"})
    CHECK(thrown_by([&] { ssl::cert_time_to_seconds(wrong); }) ==
          "ValueError(\"time data '" + std::string(wrong) +
              "' does not match format '%b %d %H:%M:%S %Y GMT'\")");
  CHECK(thrown_by([] {
          ssl::cert_time_to_seconds(std::string("May  9 00:00:00 2007 GMT\0zz", 27));
        }).starts_with("ValueError("));
  const support::ForeignLocale locale;
  CHECK(ssl::cert_time_to_seconds("MAY  9 00:00:00 2007 GMT") == 1178668800);
  CHECK(ssl::cert_time_to_seconds("Dec 31 23:59:59 2007 GMT") == 1199145599);
  const auto paths = ssl::get_default_verify_paths();
  CHECK(paths.openssl_cafile_env == "SSL_CERT_FILE");
  CHECK(ssl::openssl_version().starts_with("OpenSSL 3"));
}

TEST_CASE("names of hosts in other scripts") {
  using fiber::asyncio::detail::to_ascii;
  CHECK(to_ascii("Example.ORG") == "Example.ORG");
  CHECK(to_ascii("") == "");
  CHECK(to_ascii("b\u00fccher.example") == "xn--bcher-kva.example");
  CHECK(to_ascii("B\u00dcCHER.Example") == "xn--bcher-kva.example");
  CHECK(to_ascii("stra\u00dfe.de") == "strasse.de");
  CHECK(to_ascii("\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444") == "xn--e1afmkfd.xn--p1ai");
  CHECK(to_ascii("\u041f\u0420\u0418\u041c\u0415\u0420.\u0440\u0444") == "xn--e1afmkfd.xn--p1ai");
  CHECK(to_ascii("\u4f8b\u3048\u3002\u30c6\u30b9\u30c8") == "xn--r8jz45g.xn--zckzah");
  CHECK(to_ascii("\u03b5\u03bb\u03bb\u03ac\u03b4\u03b1.") == "xn--hxakic4aa.");
  const std::string longest(63, 'a');
  CHECK(to_ascii(longest + "." + longest + ".") == longest + "." + longest + ".");
  CHECK(to_ascii("::1") == "::1");
  for (const std::string& name : {longest + "a", "x." + longest + "a", longest + "a.de"})
    CHECK(thrown_by([&] { to_ascii(name); }).ends_with("a label is longer than 63 bytes\")"));
  for (const std::string name : {"a..de", ".de", ".", "a.."})
    CHECK(thrown_by([&] { to_ascii(name); }).ends_with("a label is empty\")"));
  CHECK(thrown_by([] { to_ascii("\u00fc..de"); }).starts_with("ValueError"));
  CHECK(thrown_by([] { to_ascii("u\u0308.de"); }).starts_with("ValueError"));
  CHECK(thrown_by([] { to_ascii("\xfc.de"); }).starts_with("ValueError"));
  CHECK(thrown_by([] { to_ascii(std::string(70, 'a') + "\u00fc.de"); }).starts_with("ValueError"));
}

TEST_CASE("a certificate in PEM whose first and last line share their dashes is empty") {
  CHECK(ssl::PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE-----END CERTIFICATE-----").empty());
  CHECK(ssl::PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE----------END CERTIFICATE-----").empty());
}
