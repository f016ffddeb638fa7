// TLS with other implementations: the program openssl, and Python's ssl. If a program is
// missing, its name is printed, and its tests are skipped.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "ssl/tls.hpp"
#include "support/events.hpp"
#include "support/programs.hpp"

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
using namespace std::chrono_literals;

namespace {

bool missing(const char* program) {
  const bool found = !support::find_program(program).empty();
  if (!found) MESSAGE(program, " is missing");
  return !found;
}

std::string shouted(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// Answers one line in capitals, and ends.
void shout(StreamReader& reader, StreamWriter& writer) {
  writer.write(shouted(await(reader.readline())));
  writer.close();
  await(writer.wait_closed());
}

asyncio::Process start(std::vector<std::string> command) {
  return await(asyncio::create_subprocess_exec(command, {.stdin_ = asyncio::subprocess::PIPE,
                                                         .stdout_ = asyncio::subprocess::PIPE,
                                                         .stderr_ = asyncio::subprocess::STDOUT}));
}

// Returns the output of `openssl s_client` for a server that shouts.
std::string s_client(int port, std::vector<std::string> options, const std::string& input) {
  std::vector<std::string> command = {"openssl",
                                      "s_client",
                                      "-connect",
                                      "127.0.0.1:" + std::to_string(port),
                                      "-servername",
                                      "localhost",
                                      "-verify_hostname",
                                      "localhost",
                                      "-verify_return_error",
                                      "-CAfile",
                                      certificates()("authority.pem")};
  command.insert(command.end(), options.begin(), options.end());
  const auto process = start(command);
  process.stdin_()->write(input);
  const std::string said = await(process.stdout_()->read());
  await(process.wait());
  return said;
}

// Returns the port that `openssl s_server` has chosen.
int port_of(const asyncio::Process& process) {
  for (std::string line : *process.stdout_()) {
    const std::size_t at = line.rfind(':');
    if (line.starts_with("ACCEPT") && at != std::string::npos)
      return std::stoi(line.substr(at + 1));
  }
  return 0;
}

void end(const asyncio::Process& process) {
  if (!process.returncode()) process.kill();
  await(process.stdout_()->read());
  await(process.wait());
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("openssl s_client: every version") {
  if (missing("openssl")) return;
  asyncio::run([&] {
    const auto server = start_tls_server(shout, server_context());
    const int port = server.sockets()[0].port();
    for (const char* version : {"-tls1_2", "-tls1_3"})
      CHECK(s_client(port, {version, "-quiet"}, "hello from openssl\n")
                .ends_with("HELLO FROM OPENSSL\n"));
    for (const char* version : {"-tls1", "-tls1_1"})
      CHECK(has(s_client(port, {version, "-cipher", "DEFAULT@SECLEVEL=0"}, "hello\n"),
                "alert protocol version"));
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("openssl s_client: a broken one, and one that renegotiates") {
  if (missing("openssl")) return;
  asyncio::run([&] {
    std::string heard;
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          heard = thrown_by([&] { heard = await(reader.readline()); }) + heard;
          writer.close();
        },
        server_context());
    const int port = server.sockets()[0].port();
    // s_client cannot verify our certificate, and reports that.
    CHECK(has(s_client(port, {"-CAfile", certificates()("strange_authority.pem")}, "hello\n"),
              "unable to get local issuer certificate"));
    CHECK(heard.empty());
    // With -bugs and fragments of the smallest size.
    CHECK(s_client(port, {"-tls1_2", "-bugs", "-max_send_frag", "512", "-quiet"}, "fragments\n") !=
          "");
    CHECK(heard == "fragments\n");
    heard.clear();
    const std::string said = s_client(port, {"-tls1_2"}, "R\n");
    CHECK(has(said, "RENEGOTIATING"));
    CHECK(has(said, "no renegotiation"));
    CHECK(heard ==
          "SSLError('[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure')");
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("openssl s_server: every version, and client certificates") {
  if (missing("openssl")) return;
  asyncio::run([&] {
    const auto talk = [&](std::vector<std::string> options, const ssl::SSLContext& context) {
      std::vector<std::string> command = {"openssl",
                                          "s_server",
                                          "-accept",
                                          "127.0.0.1:0",
                                          "-rev",
                                          "-cert",
                                          certificates()("server.pem"),
                                          "-key",
                                          certificates()("server.pem")};
      command.insert(command.end(), options.begin(), options.end());
      const auto process = start(command);
      const int port = port_of(process);
      std::string result;
      const std::string error = thrown_by([&] {
        auto [reader, writer] =
            await(asyncio::open_connection("localhost", port, {.ssl = context}));
        writer.write("hello\n");
        result =
            *writer.get_extra_info(ssl::ssl_object)->version() + " " + await(reader.readline());
        writer.close();
        await(writer.wait_closed());
      });
      end(process);
      return error + result;
    };
    CHECK(talk({"-tls1_2"}, client_context()) == "TLSv1.2 olleh\n");
    CHECK(talk({"-tls1_3"}, client_context()) == "TLSv1.3 olleh\n");
    for (const char* version : {"-tls1", "-tls1_1"})
      CHECK(talk({version, "-cipher", "DEFAULT@SECLEVEL=0"}, client_context())
                .starts_with("SSLError('["));
    const std::vector<std::string> asking = {"-Verify", "2", "-verify_return_error", "-CAfile",
                                             certificates()("authority.pem")};
    CHECK(talk(asking, client_context("client.pem")) == "TLSv1.3 olleh\n");
    CHECK(
        talk(asking, client_context()).starts_with("SSLError('[SSL: TLSV13_ALERT_CERTIFICATE_RE"));
  });
}

TEST_CASE("Python's asyncio over its ssl, as a client") {
  if (missing("python3")) return;
  asyncio::run([&] {
    const auto context = server_context();
    context.set_alpn_protocols({"fiber/1"});
    const auto server = start_tls_server(
        [](StreamReader& reader, StreamWriter& writer) {
          writer.write(shouted(await(reader.readline())));
          const std::string block = await(reader.readexactly(1 << 20));
          writer.write(block);
          await(writer.drain());
          CHECK(await(reader.readline()) == "bye\n");
          writer.close();
          await(writer.wait_closed());
        },
        context);
    const auto process = start(
        {"python3", std::string(std::getenv("FIBER_SOURCE_ROOT")) + "/test/ssl/peer.py", "client",
         std::to_string(server.sockets()[0].port()), certificates()("authority.pem")});
    CHECK(await(process.stdout_()->read()) == "TLSv1.3 fiber/1\nSHOUT ME\nTrue\nTrue\n");
    CHECK(await(process.wait()) == 0);
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("Python's asyncio over its ssl, as a server") {
  if (missing("python3")) return;
  asyncio::run([&] {
    const auto process =
        start({"python3", std::string(std::getenv("FIBER_SOURCE_ROOT")) + "/test/ssl/peer.py",
               "server", certificates()("server.pem")});
    const int port = std::stoi(await(process.stdout_()->readline()));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", port, {.ssl = client_context()}));
    writer.write("shout me\n");
    CHECK(await(reader.readline()) == "SHOUT ME\n");
    std::string block;
    for (int i = 0; i < 4096; ++i)
      for (int c = 0; c < 256; ++c) block += static_cast<char>(c);
    writer.write(block);
    CHECK(await(reader.readexactly(1 << 20)) == block);
    writer.close();
    await(writer.wait_closed());
    CHECK(await(process.stdout_()->read()) == "TLSv1.3\nTrue\nTrue\n");
    CHECK(await(process.wait()) == 0);
  });
}
