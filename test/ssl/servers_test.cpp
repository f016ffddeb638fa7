// Real servers and their clients, which others have written: Redis, PostgreSQL and psql, an SMTP
// server with STARTTLS, and dnsmasq. One that is missing is named, and its tests are left out.
#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "ssl/tls.hpp"
#include "support/events.hpp"
#include "support/programs.hpp"
#include "unmodified_libraries/servers.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::certificates;
using support::client_context;
using support::server_context;
using support::start_tls_server;
using support::thrown_by;

namespace {

// Returns "" if there is none, and prints that.
std::string program(const std::string& name) {
  std::string path = support::find_program(name, support::postgresql_folders());
  if (path.empty()) MESSAGE("SKIP: ", name, " is missing");
  return path;
}

class RealServer : public legacy_test::Server {
 protected:
  // A copy of a file of the tests' certificates, for the server alone.
  std::string own_file(const std::string& name) const {
    directory_.write(name, legacy_test::text_of(certificates()(name)));
    ::chmod((directory_ / name).c_str(), 0600);
    return directory_ / name;
  }
};

ssl::SSLContext strange_context() {
  return ssl::create_default_context(ssl::Purpose::SERVER_AUTH,
                                     {.cafile = certificates()("strange_authority.pem")});
}

constexpr const char* kUntrusted =
    "SSLCertVerificationError('[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: ";

// --- Redis --------------------------------------------------------------------------------------

class Redis : public RealServer {
 public:
  Redis(const std::string& path, const std::string& asks_clients) {
    command_ = {path,
                "--port",
                "0",
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                directory_.path(),
                "--tls-port",
                std::to_string(port_),
                "--tls-cert-file",
                own_file("server_certificate.pem"),
                "--tls-key-file",
                own_file("server_key.pem"),
                "--tls-ca-cert-file",
                own_file("authority.pem"),
                "--tls-auth-clients",
                asks_clients};
    start();
  }
};

// Returns the server's answer, or the text of the exception.
std::string ping(int port, const ssl::SSLContext& context, const std::string& host = "localhost") {
  std::string said;
  const std::string error = thrown_by([&] {
    auto [reader, writer] = await(
        asyncio::open_connection("127.0.0.1", port, {.ssl = context, .server_hostname = host}));
    writer.write("PING\r\n");
    said = await(reader.readline());
    writer.close();
    await(writer.wait_closed());
  });
  return error + said;
}

}  // namespace

TEST_CASE("Redis over TLS") {
  const std::string path = program("redis-server");
  if (path.empty()) return;
  const Redis redis(path, "no");
  asyncio::run([&] {
    CHECK(ping(redis.port(), client_context()) == "+PONG\r\n");
    CHECK(ping(redis.port(), strange_context()).starts_with(kUntrusted));
    CHECK(ping(redis.port(), client_context(), "other.example")
              .find("Hostname mismatch, certificate is not valid for 'other.example'") !=
          std::string::npos);
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", redis.port(), {.ssl = client_context()}));
    const std::string value(1'000'000, 'x');
    writer.write("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + value + "\r\nGET k\r\n");
    await(writer.drain());
    CHECK(await(reader.readline()) == "+OK\r\n");
    CHECK(await(reader.readline()) == "$1000000\r\n");
    CHECK((await(reader.readexactly(1'000'002)) == value + "\r\n"));
    writer.write("QUIT\r\n");
    CHECK(await(reader.read()) == "+OK\r\n");
    writer.close();
    await(writer.wait_closed());
  });
}

TEST_CASE("Redis over TLS that asks for certificates") {
  const std::string path = program("redis-server");
  if (path.empty()) return;
  const Redis redis(path, "yes");
  asyncio::run([&] {
    CHECK(ping(redis.port(), client_context("client.pem")) == "+PONG\r\n");
    // Over TLS 1.3 a server refuses when its client has connected already. Nothing is written until
    // then: a server that closes with data unread resets the connection, and its alert may be lost.
    const auto refusal = [&](const ssl::SSLContext& context) {
      return thrown_by([&] {
        auto [reader, writer] =
            await(asyncio::open_connection("localhost", redis.port(), {.ssl = context}));
        await(reader.read());
      });
    };
    CHECK(refusal(client_context()).find("CERTIFICATE_REQUIRED") != std::string::npos);
    CHECK(refusal(client_context("stranger.pem")).find("UNKNOWN_CA") != std::string::npos);
  });
}

// --- PostgreSQL ---------------------------------------------------------------------------------

namespace {

class Postgres : public RealServer {
 public:
  Postgres(const std::string& initdb, const std::string& postgres) {
    legacy_test::run_program({initdb, "-D", directory_ / "data", "-A", "trust", "-U", "fiber", "-N",
                              "-E", "UTF8", "--no-locale"},
                             directory_ / "log");
    command_ = {postgres,
                "-D",
                directory_ / "data",
                "-k",
                directory_.path(),
                "-h",
                "127.0.0.1",
                "-p",
                std::to_string(port_),
                "-c",
                "fsync=off",
                "-c",
                "ssl=on",
                "-c",
                "ssl_cert_file=" + own_file("server_certificate.pem"),
                "-c",
                "ssl_key_file=" + own_file("server_key.pem")};
    stop_signal_ = SIGINT;
    start();
  }

 protected:
  bool ready() override {
    return legacy_test::text_of(directory_ / "log").find("ready to accept connections") !=
           std::string::npos;
  }
};

std::string number(std::size_t n) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(n >> shift & 0xffU);
  return bytes;
}

const std::string kSslRequest = number(8) + number(80877103);

}  // namespace

TEST_CASE("PostgreSQL over TLS, checked as sslmode=verify-full does") {
  const std::string initdb = program("initdb");
  const std::string postgres = program("postgres");
  if (initdb.empty() || postgres.empty()) return;
  const Postgres server(initdb, postgres);
  asyncio::run([&] {
    const auto log_in = [&](const ssl::SSLContext& context) {
      auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", server.port()));
      writer.write(kSslRequest);
      REQUIRE(await(reader.readexactly(1)) == "S");
      await(writer.start_tls(context, {.server_hostname = "localhost"}));
      const std::string rest =
          number(196608) + std::string("user\0fiber\0database\0postgres\0\0", 30);
      writer.write(number(rest.size() + 4) + rest);
      const std::string kind = await(reader.readexactly(1));
      writer.close();
      await(writer.wait_closed());
      return kind;
    };
    CHECK(log_in(client_context()) == "R");
    CHECK(thrown_by([&] { log_in(strange_context()); }).starts_with(kUntrusted));
  });
}

TEST_CASE("psql with sslmode=verify-full, and servers of ours") {
  const std::string psql = program("psql");
  if (psql.empty()) return;
  asyncio::run([&] {
    // Lets nobody in, over TLS.
    const auto refuse = [](const char* certificate) {
      return [=](StreamReader& reader, StreamWriter& writer) {
        if (await(reader.readexactly(8)) != kSslRequest) return;
        writer.write("S");
        if (!thrown_by([&] { await(writer.start_tls(server_context(certificate))); }).empty())
          return;
        await(reader.readexactly(8));
        const std::string error = std::string("SFATAL\0C28000\0Mnobody is let in\0\0", 33);
        writer.write("E" + number(error.size() + 4) + error);
        writer.close();
        await(writer.wait_closed());
      };
    };
    const auto said = [&](const char* certificate, const char* authority) {
      const auto server = await(asyncio::start_server(refuse(certificate), "127.0.0.1", 0));
      const auto process = await(asyncio::create_subprocess_exec(
          {psql, "-c", "SELECT 1",
           "host=localhost hostaddr=127.0.0.1 user=x dbname=y sslmode=verify-full port=" +
               std::to_string(server.sockets()[0].port()) +
               " sslrootcert=" + certificates()(authority)},
          {.stdout_ = asyncio::subprocess::PIPE, .stderr_ = asyncio::subprocess::STDOUT}));
      const std::string text = await(process.stdout_()->read());
      await(process.wait());
      server.close();
      await(server.wait_closed());
      return text;
    };
    const auto has = [](const std::string& text, const char* part) {
      return text.find(part) != std::string::npos;
    };
    CHECK(has(said("server.pem", "authority.pem"), "nobody is let in"));
    CHECK(has(said("server.pem", "strange_authority.pem"), "certificate verify failed"));
    CHECK(has(said("other.pem", "authority.pem"), "does not match host name \"localhost\""));
    CHECK(has(said("expired.pem", "authority.pem"), "certificate verify failed"));
  });
}

// --- SMTP ---------------------------------------------------------------------------------------

TEST_CASE("SMTP with STARTTLS: aiosmtpd") {
  const std::string python = "/usr/bin/python3";  // which has Debian's packages
  if (std::system((python + " -c 'import aiosmtpd' 2> /dev/null").c_str()) != 0) {
    MESSAGE("SKIP: aiosmtpd is missing");
    return;
  }
  asyncio::run([&] {
    const auto server = await(asyncio::create_subprocess_exec(
        {python, std::string(std::getenv("FIBER_SOURCE_ROOT")) + "/test/ssl/smtp_server.py",
         certificates()("server.pem")},
        {.stdin_ = asyncio::subprocess::PIPE, .stdout_ = asyncio::subprocess::PIPE}));
    const int port = std::stoi(await(server.stdout_()->readline()));
    // The last line of an answer.
    const auto answer = [](StreamReader& reader) {
      for (;;)
        if (const std::string line = await(reader.readline()); line.size() < 4 || line[3] != '-')
          return line.substr(0, 3);
    };
    const auto connect = [&](const ssl::SSLContext& context) {
      auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
      std::string codes = answer(reader);
      const auto say = [&](const std::string& line) {
        writer.write(line + "\r\n");
        codes += " " + answer(reader);
      };
      for (const char* line : {"EHLO here", "MAIL FROM:<a@example.org>", "STARTTLS"}) say(line);
      await(writer.start_tls(context, {.server_hostname = "localhost"}));
      for (const char* line : {"EHLO here", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>",
                               "DATA", "Subject: x\r\n\r\nhello\r\n.", "QUIT"})
        say(line);
      writer.close();
      await(writer.wait_closed());
      return codes;
    };
    CHECK(connect(client_context()) == "220 250 530 220 250 250 250 354 250 221");
    CHECK(await(server.stdout_()->readline()) == "a@example.org b@example.org hello True\n");
    CHECK(thrown_by([&] { connect(strange_context()); }).starts_with(kUntrusted));
    server.stdin_()->close();
    await(server.wait());
  });
}

// --- DNS ----------------------------------------------------------------------------------------

namespace {

class Dnsmasq : public RealServer {
 public:
  explicit Dnsmasq(const std::string& path) {
    const std::string text(200, 't');
    command_ = {path,
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file=",
                "--port=" + std::to_string(port_),
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--no-resolv",
                "--no-hosts",
                "--address=/fiber.test/10.1.2.3",
                "--txt-record=long.test," + text + "," + text + "," + text};
    start();
  }
};

enum Type : char { kAddress = 1, kText = 16 };

std::string query(const std::string& name, Type type) {
  std::string message("\x12\x34\x01\0\0\x01\0\0\0\0\0\0", 12);
  std::string label;
  for (const char c : name + ".") {
    if (c != '.') {
      label += c;
      continue;
    }
    message += static_cast<char>(label.size());
    message += std::exchange(label, "");
  }
  return message + std::string("\0\0", 2) + static_cast<char>(type) + std::string("\0\x01", 2);
}

struct Answer : asyncio::DatagramProtocol {
  void datagram_received(std::string_view data, const asyncio::SocketAddress&) override {
    if (!message.done()) message.set_result(std::string(data));
  }
  void error_received(const std::exception_ptr& error) override {
    if (!message.done()) message.set_exception(error);
  }
  asyncio::Future<std::string> message = asyncio::get_running_loop().create_future<std::string>();
};

std::string over_udp(int port, const std::string& question) {
  auto [transport, protocol] = await(asyncio::get_running_loop().create_datagram_endpoint(
      [] { return std::make_shared<Answer>(); },
      asyncio::CreateDatagramEndpointOptions{.remote_addr = {{"127.0.0.1", port}}}));
  transport.sendto(question);
  const std::string answer = await(protocol->message);
  transport.close();
  return answer;
}

std::string over_tcp(int port, const std::string& question) {
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
  writer.write(std::string(1, '\0') + static_cast<char>(question.size()) + question);
  const std::string size = await(reader.readexactly(2));
  std::string answer = await(reader.readexactly(static_cast<unsigned char>(size[0]) * 256 +
                                                static_cast<unsigned char>(size[1])));
  writer.close();
  await(writer.wait_closed());
  return answer;
}

bool truncated(const std::string& answer) { return (answer.at(2) & 0x02) != 0; }

}  // namespace

TEST_CASE("dnsmasq answers over UDP, and over TCP what is too long for that") {
  const std::string path = program("dnsmasq");
  if (path.empty()) return;
  const Dnsmasq server(path);
  asyncio::run([&] {
    const std::string address = query("www.fiber.test", kAddress);
    for (const std::string& answer :
         {over_udp(server.port(), address), over_tcp(server.port(), address)}) {
      CHECK(answer.starts_with("\x12\x34"));
      CHECK(answer.ends_with("\x0a\x01\x02\x03"));
      CHECK(!truncated(answer));
    }
    const std::string text = query("long.test", kText);
    CHECK(truncated(over_udp(server.port(), text)));
    const std::string answer = over_tcp(server.port(), text);
    CHECK(!truncated(answer));
    CHECK(answer.find(std::string(200, 't')) != std::string::npos);
  });
}
