// The page "hello" and the files of a directory by the library's server, with its router and all
// header fields. It prints its port.
//
//   http_server DIRECTORY [CERTIFICATE KEY]
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <cstdio>

using namespace fiber;
namespace web = aiohttp::web;
using asyncio::await;

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) return 2;
  web::Application app;
  app.router().add_get("/{name}", [](web::Request&) { return web::Response({.text = "hello"}); });
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "hello"}); });
  app.router().add_static("/files", argv[1]);
  web::SiteOptions options;
  if (argc == 4) {
    auto context = ssl::create_default_context(ssl::Purpose::CLIENT_AUTH);
    context.load_cert_chain(argv[2], argv[3]);
    options.ssl_context = context;
  }
  asyncio::run([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0, options);
    await(site.start());
    std::printf("%d\n", site.port());
    std::fflush(stdout);
    await(asyncio::Event().wait());
  });
}
