// SSLObject over two MemoryBIOs: TLS without sockets and without a loop.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <openssl/err.h>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace ssl = fiber::ssl;
using support::certificates;
using support::client_context;
using support::server_context;
using support::thrown_by;

namespace {

// Two ends, and the bytes between them.
struct Pair {
  Pair(const ssl::SSLContext& client_side, const ssl::SSLContext& server_side,
       const std::string& name = "localhost")
      : client(client_side.wrap_bio(to_client, to_server, false, name)),
        server(server_side.wrap_bio(to_server, to_client, true)) {}

  // Returns true if the handshake of `object` is done.
  static bool done(const ssl::SSLObject& object) {
    try {
      object.do_handshake();
      return true;
    } catch (const ssl::SSLWantReadError&) {
      return false;
    }
  }
  void handshake() {
    bool client_done = false;
    bool server_done = false;
    for (int round = 0; round < 10 && !(client_done && server_done); ++round) {
      client_done = client_done || done(client);
      server_done = server_done || done(server);
      CHECK(::ERR_peek_error() == 0);
    }
    REQUIRE(client_done);
    REQUIRE(server_done);
  }

  ssl::MemoryBIO to_client;
  ssl::MemoryBIO to_server;
  ssl::SSLObject client;
  ssl::SSLObject server;
};

}  // namespace

TEST_CASE("MemoryBIO: bytes in, bytes out, and an end") {
  const ssl::MemoryBIO bio;
  CHECK(bio.pending() == 0);
  CHECK_FALSE(bio.eof());
  CHECK(bio.write("foo") == 3);
  CHECK(bio.write("barbaz") == 6);
  CHECK(bio.pending() == 9);
  CHECK(bio.read(4) == "foob");
  CHECK(bio.read(0) == "");
  CHECK(bio.read() == "arbaz");
  CHECK(bio.read() == "");
  bio.write("end");
  bio.write_eof();
  CHECK_FALSE(bio.eof());
  CHECK(thrown_by([&] { bio.write("more"); }) == "SSLError('cannot write() after write_eof()')");
  CHECK(bio.read(100) == "end");
  CHECK(bio.eof());
}

TEST_CASE("a handshake, data both ways, and two good-byes") {
  Pair pair(client_context(), server_context());
  CHECK_FALSE(pair.client.version());
  CHECK_FALSE(pair.client.cipher());
  CHECK(thrown_by([&] { pair.client.do_handshake(); }) ==
        "SSLWantReadError('The operation did not complete (read)')");
  CHECK(pair.to_server.pending() > 100);
  pair.handshake();
  CHECK(pair.client.version() == "TLSv1.3");
  CHECK(pair.client.cipher()->secret_bits >= 128);
  CHECK(pair.server.server_side());
  CHECK_FALSE(pair.server.server_hostname());
  CHECK_FALSE(pair.server.getpeercert());
  CHECK(pair.client.get_unverified_chain().size() == 1);
  CHECK(pair.client.get_verified_chain().size() == 2);
  CHECK(pair.client.getpeercert_binary() == pair.client.get_unverified_chain().at(0));

  CHECK(pair.client.write("hello") == 5);
  CHECK(pair.server.read(2) == "he");
  CHECK(pair.server.pending() == 3);
  CHECK(pair.server.read() == "llo");
  CHECK(thrown_by([&] { pair.server.read(); }).starts_with("SSLWantReadError"));
  CHECK(pair.server.write(std::string(40'000, 'x')) > 0);
  CHECK_FALSE(pair.client.read(50'000).empty());

  CHECK(thrown_by([&] { pair.client.unwrap(); }).starts_with("SSLWantReadError"));
  CHECK(thrown_by([&] { pair.client.write("late"); }).starts_with("SSL"));
  CHECK(pair.server.read() == "");
  CHECK(pair.server.received_close_notify());
  pair.server.unwrap();
  pair.client.unwrap();
  CHECK(::ERR_peek_error() == 0);
}

TEST_CASE("handles that were moved from go on as copies") {
  ssl::SSLContext context = client_context();
  const ssl::SSLContext other_context = std::move(context);
  CHECK(context == other_context);
  Pair pair(context, server_context());
  pair.handshake();
  const ssl::SSLObject client = std::move(pair.client);
  CHECK(pair.client.version() == client.version());
  ssl::MemoryBIO bio;
  const ssl::MemoryBIO other_bio = std::move(bio);
  bio.write("text");
  CHECK(other_bio.read() == "text");
}

TEST_CASE("an end without a good-bye is an error") {
  Pair pair(client_context(), server_context());
  pair.handshake();
  pair.to_server.write_eof();
  pair.to_server.read();
  CHECK(thrown_by([&] { pair.server.read(); }) ==
        "SSLEOFError('[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol')");
  CHECK_FALSE(pair.server.received_close_notify());
  CHECK(::ERR_peek_error() == 0);
}

TEST_CASE("the errors of one connection are not those of the next") {
  // Errors that other code has left in OpenSSL's queue are ignored.
  ERR_raise(ERR_LIB_SSL, ERR_R_PASSED_NULL_PARAMETER);
  Pair good(client_context(), server_context());
  CHECK(::ERR_peek_error() == 0);
  Pair bad(client_context(), server_context());
  good.handshake();
  bad.to_server.write("this is no TLS at all");
  ERR_raise(ERR_LIB_SSL, ERR_R_PASSED_NULL_PARAMETER);
  CHECK(thrown_by([&] { good.client.read(); }).starts_with("SSLWantReadError"));
  CHECK(thrown_by([&] { bad.server.do_handshake(); }).starts_with("SSLError('[SSL: "));
  CHECK(::ERR_peek_error() == 0);
  good.client.write("still fine");
  CHECK(good.server.read() == "still fine");
}

TEST_CASE("the contents of certificates are those of Python's dictionary") {
  Pair pair(client_context(), server_context());
  pair.handshake();
  const ssl::Certificate certificate = *pair.client.getpeercert();
  CHECK(certificate.subject == ssl::DistinguishedName{{{"organizationName", "Fiber Tests"}},
                                                      {{"commonName", "localhost"}}});
  CHECK(certificate.issuer == ssl::DistinguishedName{{{"organizationName", "Fiber Tests"}},
                                                     {{"commonName", "Fiber Test Authority"}}});
  CHECK(certificate.version == 3);
  CHECK(certificate.subjectAltName == std::vector<std::pair<std::string, std::string>>{
                                          {"DNS", "localhost"}, {"IP Address", "127.0.0.1"}});
  CHECK(ssl::cert_time_to_seconds(certificate.notAfter) -
            ssl::cert_time_to_seconds(certificate.notBefore) ==
        2 * 86400);
}

TEST_CASE("ALPN: the server's best of what the client speaks") {
  const auto negotiate = [](const std::vector<std::string>& ours,
                            const std::vector<std::string>& theirs) {
    const auto client = client_context();
    const auto server = server_context();
    client.set_alpn_protocols(ours);
    server.set_alpn_protocols(theirs);
    Pair pair(client, server);
    pair.handshake();
    CHECK(pair.client.selected_alpn_protocol() == pair.server.selected_alpn_protocol());
    return pair.client.selected_alpn_protocol().value_or("-");
  };
  CHECK(negotiate({"foo", "bar"}, {"bar", "foo"}) == "bar");
  CHECK(negotiate({"http/1.1"}, {"h2", "http/1.1"}) == "http/1.1");
  CHECK(negotiate({"h2"}, {"http/1.1"}) == "-");
  CHECK(negotiate({}, {"h2"}) == "-");
  CHECK(negotiate({"h2"}, {}) == "-");
}

TEST_CASE("sessions are resumed") {
  for (const ssl::TLSVersion version : {ssl::TLSVersion::TLSv1_2, ssl::TLSVersion::TLSv1_3}) {
    CAPTURE(static_cast<int>(version));
    const auto client = client_context();
    const auto server = server_context();
    client.maximum_version(version);
    Pair first(client, server);
    CHECK_FALSE(first.client.session());
    CHECK_FALSE(Pair::done(first.client));
    CHECK_FALSE(first.client.session());
    first.handshake();
    CHECK_FALSE(first.client.session_reused());
    first.server.write("x");  // the tickets of TLS 1.3 come before this byte
    CHECK(first.client.read() == "x");
    const ssl::SSLSession session = first.client.session().value();
    CHECK(session.has_ticket());
    CHECK(session.timeout() > 0);
    Pair second(client, server);
    second.client.session(session);
    second.handshake();
    CHECK(second.client.session_reused());
    CHECK(second.server.session_reused());
    CHECK(thrown_by([&] { second.client.session(session); }) ==
          "ValueError('Cannot set session after handshake.')");
    Pair third(client_context(), server);
    CHECK(thrown_by([&] { third.client.session(session); }) ==
          "ValueError('Session refers to a different SSLContext.')");
  }
}

TEST_CASE("a session belongs to a name, or to none") {
  const auto client = client_context();
  client.check_hostname(false);
  const auto server = server_context();
  const auto session_with = [&](const std::string& name) {
    Pair pair(client, server, name);
    pair.handshake();
    pair.server.write("x");
    CHECK(pair.client.read() == "x");
    return pair.client.session().value();
  };
  const auto reused = [&](const ssl::SSLSession& session, const std::string& name) {
    Pair pair(client, server, name);
    pair.client.session(session);
    pair.handshake();
    return pair.client.session_reused();
  };
  const ssl::SSLSession named = session_with("localhost");
  const ssl::SSLSession address = session_with("127.0.0.1");
  const ssl::SSLSession nameless = session_with("");
  CHECK(reused(named, "LocalHost."));
  CHECK(reused(address, "127.0.0.1"));
  CHECK(reused(nameless, ""));
  const auto refused = [&](const ssl::SSLSession& session, const std::string& name) {
    return thrown_by([&] { reused(session, name); });
  };
  CHECK(refused(named, "127.0.0.1") ==
        "ValueError(\"Session was made for server_hostname 'localhost', not for server_hostname "
        "'127.0.0.1'.\")");
  CHECK(refused(named, "") ==
        "ValueError(\"Session was made for server_hostname 'localhost', not without a "
        "server_hostname.\")");
  CHECK(refused(address, "127.0.0.2").starts_with("ValueError("));
  CHECK(refused(nameless, "127.0.0.1").starts_with("ValueError("));
  CHECK(refused(nameless, "localhost") ==
        "ValueError(\"Session was made without a server_hostname, not for server_hostname "
        "'localhost'.\")");
}

TEST_CASE("one read returns a record at most, however much is asked for") {
  Pair pair(client_context(), server_context());
  pair.handshake();
  const std::string text(20'000, 'x');
  std::size_t written = pair.server.write(text);
  while (written < text.size()) written += pair.server.write(text.substr(written));
  CHECK(pair.client.read(SIZE_MAX) == std::string(16'384, 'x'));
  CHECK(pair.client.read(SIZE_MAX).size() == 20'000 - 16'384);
  CHECK_THROWS_AS(pair.client.read(SIZE_MAX), ssl::SSLWantReadError);
  CHECK(pair.client.read(0).empty());
}

TEST_CASE("channel bindings are the same on both sides, and new for each connection") {
  const auto client = client_context();
  client.maximum_version(ssl::TLSVersion::TLSv1_2);
  const auto server = server_context();
  Pair first(client, server);
  CHECK_FALSE(first.client.get_channel_binding());
  first.handshake();
  Pair second(client, server);
  second.handshake();
  CHECK(first.client.get_channel_binding() == first.server.get_channel_binding());
  CHECK(first.client.get_channel_binding() != second.client.get_channel_binding());
  CHECK(thrown_by([&] { first.client.get_channel_binding("other"); }) ==
        "ValueError(\"'other' channel binding type not implemented\")");
}

TEST_CASE("keys are written for debuggers of the connection, to the keylog file") {
  const std::string file = certificates()("keys.log");
  const auto client = client_context();
  client.keylog_filename(file);
  CHECK(client.keylog_filename() == file);
  Pair pair(client, server_context());
  pair.handshake();
  const std::string keys = certificates().read("keys.log");
  CHECK(keys.starts_with("SERVER_HANDSHAKE_TRAFFIC_SECRET "));
  CHECK(keys.find("\nCLIENT_TRAFFIC_SECRET_0 ") != std::string::npos);
  CHECK(keys.ends_with("\n"));
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
  CHECK(thrown_by([&] { client.keylog_filename(file + std::string("\0zz", 3)); }) ==
        "ValueError('embedded null byte')");
  CHECK(client.keylog_filename() == file);
  client.keylog_filename("");
  Pair silent(client, server_context());
  silent.handshake();
  CHECK(certificates().read("keys.log") == keys);
}

TEST_CASE("arguments that make no sense are refused") {
  const auto client = client_context();
  const auto server = server_context();
  const ssl::MemoryBIO in;
  const ssl::MemoryBIO out;
  const auto wrap = [&](const ssl::SSLContext& context, bool server_side, const std::string& name) {
    return thrown_by([&] { context.wrap_bio(in, out, server_side, name); });
  };
  CHECK(wrap(client, true, "") ==
        "SSLError('Cannot create a server socket with a PROTOCOL_TLS_CLIENT context')");
  CHECK(wrap(server, false, "a") ==
        "SSLError('Cannot create a client socket with a PROTOCOL_TLS_SERVER context')");
  CHECK(wrap(server, true, "a") ==
        "ValueError('server_hostname can only be specified in client mode')");
  CHECK(wrap(client, false, "") == "ValueError('check_hostname requires server_hostname')");
  CHECK(wrap(client, false, std::string("a\0b", 3)) ==
        "ValueError('server_hostname has a null character in it')");
  CHECK(wrap(client, false, std::string(300, 'a'))
            .ends_with("is not the name of a host: a label is longer than 63 bytes\")"));
  std::string long_name = "a";
  for (int i = 0; i < 150; ++i) long_name += ".a";
  CHECK(wrap(client, false, long_name).starts_with("SSLError("));
  CHECK(wrap(client, false, ".a") ==
        "ValueError('server_hostname cannot be an empty string or start with a leading dot.')");
  CHECK(wrap(client, false, "127.0.0.1") == "");
  CHECK(wrap(client, false, "::1") == "");
  CHECK(::ERR_peek_error() == 0);
}

TEST_CASE("the first context of a connection lives on when an sni_callback sets another one") {
  const ssl::SSLContext second = server_context();
  int calls = 0;
  ssl::MemoryBIO to_client;
  ssl::MemoryBIO to_server;
  const ssl::SSLObject server = [&] {
    auto first = server_context();
    first.set_ecdh_curve("secp384r1");  // clients try another one first, and say hello twice
    first.sni_callback([&calls, second](ssl::SSLObject& object, const std::optional<std::string>&,
                                        ssl::SSLContext&) -> std::optional<ssl::AlertDescription> {
      ++calls;
      object.context(second);
      return std::nullopt;
    });
    return first.wrap_bio(to_server, to_client, true);
  }();
  const ssl::SSLObject client = client_context().wrap_bio(to_client, to_server, false, "localhost");
  bool done = false;
  for (int round = 0; round < 10 && !done; ++round) {
    const bool client_done = Pair::done(client);
    done = Pair::done(server) && client_done;
  }
  CHECK(done);
  CHECK(calls == 2);
}
