// A ClientSession and an application of aiohttp::web in one loop.
#include <fiber/aiohttp.hpp>
#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/http/websocket.hpp>
#include <fiber/requests.hpp>

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using aiohttp::WSMessage;
using aiohttp::WSMsgType;
using aiohttp::test_utils::TestServer;
using asyncio::await;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;

// Sends the path, a header and the cookies of the request, then sends each text back.
web::StreamResponse echo(web::Request& request) {
  web::WebSocketResponse ws({.protocols = {"chat"}});
  await(ws.prepare(request));
  std::string cookies;
  for (const auto& [name, value] : request.cookies()) cookies += name + "=" + value + ";";
  await(ws.send_str(std::string(request.raw_path()) + " " +
                    std::string(request.headers().get("X-Token")) + " " + cookies + " " +
                    std::string(request.headers().get("Authorization"))));
  for (const WSMessage& message : ws)
    if (message.type == WSMsgType::text) await(ws.send_str(message.data + "!"));
  return ws;
}

web::Application application() {
  web::Application app;
  app.router().add_get("/ws", echo);
  app.router().add_get("/page", [](web::Request&) { return web::Response({.text = "page"}); });
  app.router().add_get("/cookie", [](web::Request&) {
    web::Response response({.text = "cookie"});
    response.set_cookie("name", "value");
    return response;
  });
  app.router().add_get(
      "/moved", [](web::Request&) -> web::StreamResponse { throw web::HTTPFound("/ws?moved"); });
  return app;
}

// `body(server, session)` in a task of a loop on the virtual clock.
template <class Body>
void with_session(aiohttp::SessionOptions options, Body body) {
  asyncio::testing::run_test([&] {
    asyncio::with(TestServer(application()), [&](TestServer& server) {
      if (options.base_url == "server") options.base_url = server.make_url("/");
      asyncio::with(aiohttp::ClientSession(options),
                    [&](aiohttp::ClientSession& session) { body(server, session); });
    });
  });
}

}  // namespace

TEST_CASE(
    "session.ws_connect: the session's URL, fields, cookies and redirects are the WebSocket's") {
  with_session(
      {.base_url = "server", .headers = {{"X-Token", "t"}}},
      [](TestServer& server, aiohttp::ClientSession& session) {
        await(await(session.get("cookie")).read());
        const auto hello = [&](const std::string& url, aiohttp::WsConnectOptions options = {}) {
          return asyncio::with(session.ws_connect(url, options), [&](auto& ws) {
            const std::string first = await(ws.receive_str());
            await(ws.send_str("a"));
            CHECK(await(ws.receive_str()) == "a!");
            return first;
          });
        };
        CHECK(hello("ws") == "/ws t name=value; ");
        CHECK(hello("ws", {.params = {{"q", "a b"}}}) == "/ws?q=a+b t name=value; ");
        CHECK(hello("ws", {.headers = {{"X-Token", "other"}}}) == "/ws other name=value; ");
        CHECK(hello("moved") == "/ws?moved t name=value; ");
        std::string url = server.make_url("/ws");
        CHECK(hello(url, {.auth = aiohttp::BasicAuth{"u", "p"}}) == "/ws t name=value; Basic dTpw");
        url.replace(0, 4, "WS");
        CHECK(hello(url) == "/ws t name=value; ");
      });
}

TEST_CASE(
    "session.ws_connect: a protocol is agreed on, messages are compressed, the close is told") {
  with_session({}, [](TestServer& server, aiohttp::ClientSession& session) {
    const auto ws = await(session.ws_connect(
        server.make_url("/ws"), {.websocket = {.protocols = {"other", "chat"}, .compress = true}}));
    CHECK(ws.protocol() == "chat");
    CHECK(ws.compress());
    await(ws.receive_str());
    const std::string text(300'000, 'x');
    await(ws.send_str(text));
    CHECK((await(ws.receive_str()) == text + "!"));
    CHECK(await(ws.close(4000)));
    CHECK(ws.close_code() == 4000);
  });
}

TEST_CASE("session.ws_connect: an answer without a WebSocket is a WSServerHandshakeError") {
  with_session({}, [](TestServer& server, aiohttp::ClientSession& session) {
    for (const char* path : {"/page", "/none"}) {
      CAPTURE(path);
      try {
        await(session.ws_connect(server.make_url(path)));
        FAIL("a WebSocket");
      } catch (const aiohttp::WSServerHandshakeError& error) {
        const int status = path == std::string("/page") ? 200 : 404;
        CHECK(error.status() == status);
        CHECK(error.what() == std::to_string(status) +
                                  ", message='Invalid response status', url='" +
                                  server.make_url(path) + "'");
      }
    }
    CHECK_THROWS_AS(await(session.ws_connect("ftp://x/")), aiohttp::InvalidURL);
    CHECK_THROWS_AS(await(session.ws_connect(server.make_url("/ws"), {.headers = {{"A B", ""}}})),
                    fiber::ValueError);
    // The session goes on.
    CHECK(await(await(session.get(server.make_url("/page"))).read()) == "page");
  });
}

TEST_CASE("an open WebSocket counts among the session's connections, until it is closed") {
  Events events;
  with_session(
      {.connector = {.limit = 1}}, [&](TestServer& server, aiohttp::ClientSession& session) {
        const auto ws = await(session.ws_connect(server.make_url("/ws")));
        await(ws.receive_str());
        const auto page = asyncio::create_task([&] {
          const std::string text = await(await(session.get(server.make_url("/page"))).read());
          events.push_back(text);
        });
        await(asyncio::sleep(10s));
        events.push_back("close");
        await(ws.close());
        await(page);
      });
  CHECK(events == Events{"close", "page"});
}

TEST_CASE("a message lives until it is sent, and a WebSocket as long as a loop over it") {
  with_session({}, [](TestServer& server, aiohttp::ClientSession& session) {
    const auto open = [&] {
      auto ws = await(session.ws_connect(server.make_url("/ws")));
      await(ws.receive_str());
      return ws;
    };
    auto ws = open();
    const std::string text(1000, 'm');
    const auto sending = asyncio::create_task(ws.send_str(std::string(text)));
    CHECK(await(ws.receive_str()) == text + "!");
    await(sending);
    await(ws.send_str("a"));
    await(ws.send_str("b"));
    Events events;
    for (const WSMessage& message : ws) {
      events.push_back(message.data);
      if (events.size() == 2) break;
      ws = open();
    }
    CHECK(events == Events{"a!", "b!"});
  });
}

TEST_CASE("a session that is closed closes its WebSockets") {
  with_session({}, [](TestServer& server, aiohttp::ClientSession& session) {
    const auto ws = await(session.ws_connect(server.make_url("/ws")));
    await(ws.receive_str());
    const auto receiver = asyncio::create_task([&] { return await(ws.receive()).type; });
    await(asyncio::sleep(1s));
    await(session.close());
    CHECK(await(receiver) == WSMsgType::closed);
    CHECK(ws.close_code() == 1006);
    CHECK_THROWS_AS(await(ws.send_str("x")), fiber::ConnectionResetError);
    CHECK_THROWS_AS(await(session.ws_connect(server.make_url("/ws"))), fiber::RuntimeError);
  });
}

TEST_CASE("a session that is closed during a handshake is what the handshake tells") {
  with_session({}, [](TestServer& server, aiohttp::ClientSession&) {
    bool open = false;
    for (int turns = 0; !open; ++turns) {
      aiohttp::ClientSession session;
      const auto connect = asyncio::create_task([&] {
        try {
          await(session.ws_connect(server.make_url("/ws")));
          return std::string("open");
        } catch (const aiohttp::ClientConnectionError& error) {
          return std::string(error.what());
        }
      });
      await(asyncio::sleep(0));
      for (int i = 0; i < turns; ++i) await(asyncio::sleep(0));
      await(session.close());
      const std::string outcome = await(connect);
      open = outcome == "open";
      CAPTURE(turns);
      CHECK((open || outcome == "Session is closed"));
    }
  });
}

TEST_CASE("session.ws_connect: bytes right behind the handshake are not lost, however many") {
  // "ABC", then a message of 100 000 bytes, in the packet of the answer 101 and those after it.
  asyncio::testing::run_test([&] {
    const std::string large(100'000, 'x');
    const auto server = await(asyncio::start_server(
        [&](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          const std::string head = await(reader.readuntil("\r\n\r\n"));
          const auto at = head.find("Sec-WebSocket-Key: ") + 19;
          const std::string key = head.substr(at, head.find("\r\n", at) - at);
          std::string frames =
              "\x81\x03"
              "ABC\x82\x7F";
          for (int shift = 56; shift >= 0; shift -= 8)
            frames += static_cast<char>(large.size() >> shift);
          writer.write(
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
              "Connection: Upgrade\r\nSec-WebSocket-Accept: " +
              fiber::http::accept_key(key) + "\r\n\r\n" + frames + large);
          await(reader.read(1));
          writer.close();
        },
        "127.0.0.1", 0));
    const std::string url = "ws://127.0.0.1:" + std::to_string(server.sockets().at(0).port());
    asyncio::with(aiohttp::ClientSession(), [&](aiohttp::ClientSession& session) {
      const auto ws = await(session.ws_connect(url));
      await(asyncio::sleep(1s));
      CHECK(await(ws.receive_str()) == "ABC");
      CHECK((await(ws.receive_bytes()) == large));
    });
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("session.ws_connect: a proxy is asked for a tunnel, over http:// too") {
  Events asked;
  asyncio::testing::run_test([&] {
    const auto proxy = await(asyncio::start_server(
        [&](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          const std::string head = await(reader.readuntil("\r\n\r\n"));
          asked.push_back(head.substr(0, head.find("\r\n")));
          writer.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
          writer.close();
        },
        "127.0.0.1", 0));
    const std::string at = "http://127.0.0.1:" + std::to_string(proxy.sockets().at(0).port());
    asyncio::with(aiohttp::ClientSession(), [&](aiohttp::ClientSession& session) {
      CHECK_THROWS_AS(await(session.ws_connect("ws://example.invalid/x", {.proxy = at})),
                      aiohttp::ClientProxyConnectionError);
    });
    CHECK_THROWS_AS(await(aiohttp::ws_connect("ws://example.invalid/", {.proxy = at})),
                    fiber::ValueError);
    proxy.close();
    await(proxy.wait_closed());
  });
  CHECK(asked == Events{"CONNECT example.invalid:80 HTTP/1.1"});
}

TEST_CASE("both clients send a body that waits for 100 Continue") {
  web::Application app;
  app.router().add_post("/", [](web::Request& request) {
    return web::Response({.text = std::to_string(await(request.read()).size())});
  });
  asyncio::run([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    const std::string url = "http://" + runner.addresses().at(0).text() + "/";
    const std::string body(1'000'000, 'b');
    const auto answer = await(asyncio::to_thread([&] {
      return fiber::requests::post(
          url, {.data = body, .headers = {{"Expect", "100-continue"}}, .timeout = 60s});
    }));
    CHECK(answer.text() == "1000000");
    asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
      auto response =
          await(session.post(url, {.data = body, .headers = {{"Expect", "100-continue"}}}));
      CHECK(await(response.text()) == "1000000");
    });
    await(runner.cleanup());
  });
}
