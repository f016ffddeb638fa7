// HTTP clients. Their server runs in the parent, where nothing fails; OpenSSL's first use in a
// process is over.
#include "harness.hpp"

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>

#include <chrono>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

using namespace fiber;
using asyncio::await;
using faults::require;

namespace {

support::HttpServer& server() {
  static support::HttpServer& the_server = *new support::HttpServer;
  return the_server;
}

void request_once() { static_cast<void>(requests::get(server().url("/fixed"))); }

}  // namespace

FAULTS_SCENARIO(requests_get, request_once) {
  const auto response =
      requests::get(server().url("/redirect/1"), {.timeout = std::chrono::seconds(20)});
  require(response.status_code == 200 && response.content == "hello", "a response");
  const auto bytes = requests::get(server().url("/bytes/50000"));
  require(bytes.content == support::HttpServer::body(50'000), "a body");
}

FAULTS_SCENARIO(aiohttp_get, request_once) {
  support::with_session([](aiohttp::ClientSession& session) {
    asyncio::with(session.get(server().url("/redirect/1")), [](auto& response) {
      require(response.status == 200 && await(response.text()) == "hello", "a response");
    });
    // The tasks end before the session does.
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 0; i < 3; ++i)
        (void)group.create_task([&] {
          auto response = await(session.get(server().url("/bytes/20000")));
          require(await(response.read()) == support::HttpServer::body(20'000), "a body");
        });
    });
  });
}
