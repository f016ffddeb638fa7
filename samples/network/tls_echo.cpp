// tls_echo: an echo server over TLS, with a certificate that it makes itself, and its client.
//
// Without arguments it shows itself: a server at a port that the system chooses, a client that
// trusts it, and two that do not.
#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <string>

#include "support/command_line.hpp"
#include "support/identity.hpp"
#include "support/serve_until_interrupted.hpp"

using namespace fiber;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using identity::Identity;
using identity::make_identity;
using identity::server_context;

namespace {

constexpr const char* kUsage =
    R"(tls_echo serve [--bind ADDRESS] PORT   serves, at 127.0.0.1 unless told otherwise, and writes
                                       its certificate to tls_echo.pem, for those who trust it
tls_echo talk HOST PORT CAFILE         sends the lines of its input, and prints the answers
tls_echo                               shows itself
)";

void echo(StreamReader& reader, StreamWriter& writer) {
  try {
    for (std::string data = await(reader.read(65536)); !data.empty();
         data = await(reader.read(65536))) {
      writer.write(data);
      await(writer.drain());
    }
    writer.close();
    await(writer.wait_closed());
  } catch (const OSError&) {
    // The client has broken the connection off.
  }
}

void serve(const std::string& address, int port) {
  const Identity identity = make_identity("tls_echo");
  std::ofstream file("tls_echo.pem");
  if (!(file << identity.certificate).flush()) raise_os_error(errno, "tls_echo.pem");
  const auto server =
      await(asyncio::start_server(echo, address, port, {.ssl = server_context(identity)}));
  for (const asyncio::Socket& socket : server.sockets())
    std::cout << "serving at " << socket.getsockname() << std::endl;
  serve_until_interrupted(server);
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
  const Identity identity = make_identity("tls_echo");
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

  // A client that does not trust the certificate refuses the server.
  try {
    await(asyncio::open_connection("127.0.0.1", port, {.ssl = true}));
  } catch (const ssl::SSLCertVerificationError& error) {
    std::cout << "stranger: " << error.verify_message() << '\n';
  }
  // So does a client that expects another server.
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
  return command_line::run(argc, argv, kUsage, [&] {
    const command_line::Arguments given(argc, argv, {"--bind"});
    const std::string command = given.rest.empty() ? "" : given.rest[0];
    if (command.empty() && argc == 1)
      asyncio::run(show);
    else if (command == "serve" && given.rest.size() == 2)
      asyncio::run(
          [&] { serve(given.get("--bind", "127.0.0.1"), command_line::port(given.rest[1])); });
    else if (command == "talk" && given.rest.size() == 4)
      asyncio::run([&] { talk(given.rest[1], command_line::port(given.rest[2]), given.rest[3]); });
    else
      throw command_line::UsageError("serve PORT, or talk HOST PORT CAFILE");
    return 0;
  });
}
