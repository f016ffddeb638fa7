// https and wss, against the clients of this library.
#include <fiber/aiohttp.hpp>
#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/ssl.hpp>

#include "ssl/tls.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <unistd.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;

namespace {

// Runs an application at an https site, and `body(port)` in the same loop.
template <class Body>
void with_site(const web::Application& app, Body body, web::ServerOptions options = {}) {
  asyncio::run([&] {
    const web::AppRunner runner(app, {.server = std::move(options)});
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0, {.ssl_context = support::server_context()});
    await(site.start());
    CHECK(site.name() == "https://127.0.0.1:" + std::to_string(site.port()));
    body(site.port());
    await(runner.cleanup());
  });
}

std::string url(const char* scheme, int port, const char* path) {
  return std::string(scheme) + "://localhost:" + std::to_string(port) + path;
}

aiohttp::SessionOptions trusting() {
  return {.connector = {.ssl = support::certificates()("authority.pem")}};
}

}  // namespace

TEST_CASE("pages, files and uploads over TLS") {
  char path[] = "/tmp/fiber-web-tls-XXXXXX";
  ::close(::mkstemp(path));
  const std::string content(1'000'000, 'f');
  std::ofstream(path) << content;
  web::Application app;
  app.router().add_get("/", [](web::Request& request) {
    return web::Response(
        {.text = std::string(request.scheme()).append(" ").append(request.path())});
  });
  app.router().add_get("/file", [&](web::Request&) { return web::FileResponse(path); });
  app.router().add_post("/size", [](web::Request& request) {
    std::size_t size = 0;
    for (const std::string& piece : request.content().iter_any()) size += piece.size();
    return web::Response({.text = std::to_string(size)});
  });
  with_site(app, [&](int port) {
    asyncio::with(aiohttp::ClientSession(trusting()), [&](auto& session) {
      CHECK(await(await(session.get(url("https", port, "/"))).text()) == "https /");
      CHECK((await(await(session.get(url("https", port, "/file"))).text()) == content));
      CHECK(await(await(session.get(url("https", port, "/file"),
                                    {.headers = {{"Range", "bytes=5-9"}}}))
                      .text()) == "fffff");
      CHECK(await(await(session.post(url("https", port, "/size"),
                                     {.data = std::string(500'000, 'u')}))
                      .text()) == "500000");
    });
  });
  std::remove(path);
}

TEST_CASE("bytes that are no HTTP are refused over TLS, too, and the answer arrives") {
  web::Application app;
  app.router().add_get("/", [](web::Request&) { return web::Response(); });
  with_site(app, [](int port) {
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", port, {.ssl = support::client_context()}));
    writer.write("GET / HTTP/1.1\r\nHost : x\r\n\r\n" + std::string(100'000, 'x'));
    const std::string answer = await(reader.read());
    CHECK(answer.substr(0, answer.find('\r')) == "HTTP/1.1 400 Bad Request");
    writer.close();
  });
}

TEST_CASE("a client that speaks no TLS disturbs nobody") {
  web::Application app;
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "fine"}); });
  with_site(app, [](int port) {
    auto [reader, writer] = await(asyncio::open_connection("localhost", port));
    writer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(await(reader.read()).find("HTTP/") == std::string::npos);
    writer.close();
    asyncio::with(aiohttp::ClientSession(trusting()), [&](auto& session) {
      CHECK(await(await(session.get(url("https", port, "/"))).text()) == "fine");
    });
  });
}

TEST_CASE("connections count from before their handshake") {
  with_site(web::Application(),
            [](int port) {
              auto [reader, silent] = await(asyncio::open_connection("127.0.0.1", port));
              await(asyncio::sleep(std::chrono::milliseconds(1)));
              auto [other_reader, other] = await(asyncio::open_connection("127.0.0.1", port));
              CHECK(await(other_reader.read()) == "");  // there is one place
            },
            {.max_connections = 1});
}

TEST_CASE("a handshake has the time that a head has; without a limit it has any") {
  for (const int seconds : {20, 0}) {
    CAPTURE(seconds);
    asyncio::testing::run_test([&] {
      web::ServerOptions options;
      options.head_timeout = std::chrono::seconds(seconds);
      const web::AppRunner runner(web::Application(), {.server = options});
      await(runner.setup());
      const web::TCPSite site(runner, "127.0.0.1", 0, {.ssl_context = support::server_context()});
      await(site.start());
      auto [reader, silent] = await(asyncio::open_connection("127.0.0.1", site.port()));
      asyncio::StreamReader& input = reader;
      bool is_closed = true;
      try {
        await(asyncio::wait_for([&input] { return await(input.read()); },
                                std::chrono::seconds(1000)));
      } catch (const fiber::TimeoutError&) {
        is_closed = false;
      }
      CHECK(is_closed == (seconds != 0));
      silent.close();
      await(runner.cleanup());
    });
  }
}

TEST_CASE("WebSockets over TLS") {
  web::Application app;
  app.router().add_get("/ws", [](web::Request& request) {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    for (auto message = await(ws.receive()); message.type == aiohttp::WSMsgType::text;
         message = await(ws.receive()))
      await(ws.send_str("echo " + message.data));
    return ws;
  });
  with_site(app, [](int port) {
    auto ws =
        await(aiohttp::ws_connect(url("wss", port, "/ws"), {.ssl = support::client_context()}));
    await(ws.send_str("hello"));
    CHECK(await(ws.receive()).data == "echo hello");
    await(ws.close());
    CHECK(ws.close_code() == 1000);
    // A certificate of an authority that the machine does not trust is refused.
    CHECK_THROWS_AS(await(aiohttp::ws_connect(url("wss", port, "/ws"))), fiber::ssl::SSLError);
  });
}

TEST_CASE("a site takes contexts, and no `true`") {
  asyncio::run([] {
    const web::AppRunner runner{web::Application()};
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0, {.ssl_context = true});
    CHECK_THROWS_AS(await(site.start()), fiber::TypeError);
    await(runner.cleanup());
  });
}
