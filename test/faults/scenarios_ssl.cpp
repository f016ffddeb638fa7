// TLS. Its certificates, and OpenSSL's first steps in a process, come before the fault.
#include "harness.hpp"
#include "protocols.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include <unistd.h>

#include "ssl/tls.hpp"

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::require;

namespace {

void talk() {
  asyncio::run([] {
    const faults::Closing<asyncio::Server> server{
        support::start_tls_server(support::echo, support::server_context())};
    auto [reader, writer] = await(support::connect_tls(server.its, support::client_context()));
    const std::string sent(40'000, 'x');
    writer.write(sent);
    await(writer.drain());
    const std::string got = await(reader.readexactly(sent.size()));
    require(got == sent, "an echo through TLS");
    writer.close();
    await(writer.wait_closed());
    server.its.close();
    await(server.its.wait_closed());
  });
}

}  // namespace

FAULTS_SCENARIO(tls_streams, talk) { talk(); }

FAULTS_SCENARIO(tls_refusals, talk) {
  asyncio::run([] {
    const faults::Closing<asyncio::Server> server{
        support::start_tls_server(support::echo, support::server_context("other.pem"))};
    try {
      await(support::connect_tls(server.its, support::client_context()));
      require(false, "a certificate of another name");
    } catch (const ssl::SSLCertVerificationError&) {
    }
  });
}

FAULTS_SCENARIO(tls_upgrades, talk) {
  asyncio::run([] {
    auto server = await(asyncio::start_server(
        [context = support::server_context()](asyncio::StreamReader& reader,
                                              asyncio::StreamWriter& writer) {
          await(reader.readline());
          writer.write("ready\n");
          await(writer.start_tls(context));
          support::echo(reader, writer);
        },
        "127.0.0.1", 0));
    struct Close {
      asyncio::Server& server;
      ~Close() { server.close(); }
    } close{server};
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets().at(0).port()));
    writer.write("STARTTLS\n");
    await(reader.readline());
    // The task waits for a line while the handshake comes and goes.
    auto line = asyncio::create_task([reader = reader] { return await(reader.readline()); });
    await(asyncio::sleep(0));
    await(writer.start_tls(support::client_context(), {.server_hostname = "localhost"}));
    writer.write("a line\n");
    const std::string got = await(line);
    require(got == "a line\n" || got.empty(), "a line over TLS");
    writer.close();
    await(writer.wait_closed());
  });
}

FAULTS_SCENARIO(tls_files_sent, talk) {
  asyncio::run([] {
    const faults::Closing<asyncio::Server> server{
        support::start_tls_server(support::echo, support::server_context())};
    auto [reader, writer] = await(support::connect_tls(server.its, support::client_context()));
    const asyncio::StreamReader& from = reader;
    auto reading = asyncio::create_task([from] { return await(from.readexactly(50'000)); });
    struct File {
      std::FILE* its = std::tmpfile();
      ~File() {
        if (its != nullptr) std::fclose(its);
      }
    } file;
    if (file.its == nullptr) raise_os_error(errno, "tmpfile");
    const std::string text(50'000, 'f');
    if (::pwrite(fileno(file.its), text.data(), text.size(), 0) !=
        static_cast<ssize_t>(text.size()))
      raise_os_error(errno, "pwrite");
    const auto loop = asyncio::get_running_loop();
    require(await(loop.sendfile(writer.transport(), fileno(file.its))) == text.size(), "a size");
    require(await(reading) == text, "a file through TLS");
    writer.transport().abort();
  });
}

namespace {

// Echoes in pieces of its buffer.
struct Pieces : asyncio::BufferedProtocol {
  void connection_made(const asyncio::Transport& its) override { transport = its; }
  std::span<char> get_buffer(std::ptrdiff_t) override { return memory; }
  void buffer_updated(std::size_t count) override { transport.write({memory, count}); }
  void connection_lost(const std::exception_ptr&) override { transport = {}; }
  asyncio::Transport transport;
  char memory[1000] = {};
};

}  // namespace

FAULTS_SCENARIO(tls_by_protocol, talk) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const faults::Closing<asyncio::Server> server{
        await(loop.create_server([] { return std::make_shared<Pieces>(); }, "127.0.0.1", 0,
                                 {.ssl = support::server_context()}))};
    const auto [transport, collector] = await(loop.create_connection(
        [] { return std::make_shared<faults::Collector>(); }, "localhost",
        server.its.sockets().at(0).port(), {.ssl = support::client_context()}));
    const faults::Closing<asyncio::Transport> closing{transport};
    transport.set_write_buffer_limits(1000);
    transport.write(std::string(30'000, 'p'));
    while (collector->text.size() < 30'000 && !collector->ended.done()) await(asyncio::sleep(1ms));
    require(collector->text.find_first_not_of('p') == std::string::npos, "an echo over TLS");
  });
}
