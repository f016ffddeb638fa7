// An HTTP server, with clients that speak to it.
#include "harness.hpp"

#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>

#include <string>

using namespace fiber;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using faults::require;

namespace {

web::Application make_app() {
  web::Application app;
  app.router().add_get("/hello/{name}", [](web::Request& request) {
    return web::Response({.text = "Hello, " + request.match_info()["name"]});
  });
  app.router().add_post("/echo", [](web::Request& request) {
    return web::Response({.text = await(request.text())});
  });
  return app;
}

// A server without memory answers 500: that is no fault of the library.
void expect(const aiohttp::test_utils::TestResponse& response, const std::string& body) {
  if (response.status >= 500) throw RuntimeError("status " + std::to_string(response.status));
  require(response.status == 200 && response.body == body, "an answer of the server");
}

}  // namespace

FAULTS_SCENARIO(web_requests) {
  asyncio::run([] {
    asyncio::with(aiohttp::test_utils::TestClient(make_app()), [](auto& client) {
      expect(await(client.get("/hello/somebody")), "Hello, somebody");
      const std::string much(30'000, 'x');
      expect(await(client.post("/echo", {.data = much})), much);
      const auto missing = await(client.get("/nothing"));
      require(missing.status == 404 || missing.status >= 500, "a path that is not there");
    });
  });
}
