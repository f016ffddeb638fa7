// The page "hello" by the library's server, with its router and all header fields. It prints its
// port.
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>

#include <cstdio>

using namespace fiber;
namespace web = aiohttp::web;
using asyncio::await;

int main() {
  web::Application app;
  app.router().add_get("/{name}", [](web::Request&) { return web::Response({.text = "hello"}); });
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "hello"}); });
  asyncio::run([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    std::printf("%d\n", site.port());
    std::fflush(stdout);
    await(asyncio::Event().wait());
  });
}
