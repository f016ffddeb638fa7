// TLS. Its certificates, and OpenSSL's first steps in a process, come before the fault.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <string>

#include "ssl/tls.hpp"

using namespace fiber;
using asyncio::await;
using faults::require;

namespace {

void talk() {
  asyncio::run([] {
    auto server = support::start_tls_server(support::echo, support::server_context());
    struct Close {
      asyncio::Server& server;
      ~Close() { server.close(); }
    } close{server};
    auto [reader, writer] = await(support::connect_tls(server, support::client_context()));
    const std::string sent(40'000, 'x');
    writer.write(sent);
    await(writer.drain());
    const std::string got = await(reader.readexactly(sent.size()));
    require(got == sent, "an echo through TLS");
    writer.close();
    await(writer.wait_closed());
    server.close();
    await(server.wait_closed());
  });
}

}  // namespace

FAULTS_SCENARIO(tls_streams, talk) { talk(); }

FAULTS_SCENARIO(tls_refusals, talk) {
  asyncio::run([] {
    auto server = support::start_tls_server(support::echo, support::server_context("other.pem"));
    struct Close {
      asyncio::Server& server;
      ~Close() { server.close(); }
    } close{server};
    try {
      await(support::connect_tls(server, support::client_context()));
      require(false, "a certificate of another name");
    } catch (const ssl::SSLCertVerificationError&) {
    }
  });
}
