#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/lines.hpp"
#include "support/web_peer.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using aiohttp::WSMessage;
using aiohttp::WSMsgType;
using aiohttp::test_utils::TestClient;
using asyncio::await;
using support::text;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;

std::string show(const WSMessage& message) {
  const char* const names[] = {"continuation", "text", "binary"};
  const auto type = static_cast<std::size_t>(message.type);
  if (type < 3) return std::string(names[type]) + " " + message.data;
  if (message.type == WSMsgType::close)
    return "close " + std::to_string(message.code) + " " + message.data;
  if (message.type == WSMsgType::ping) return "ping " + message.data;
  if (message.type == WSMsgType::pong) return "pong " + message.data;
  if (message.type == WSMsgType::closing) return "closing";
  return message.type == WSMsgType::error ? "error" : "closed";
}

// A server whose handler is `serve(ws)`.
template <class Serve, class Body>
void with_socket(Serve serve, Body body, aiohttp::WebsocketOptions options = {}) {
  web::Application app;
  app.router().add_get("/ws", [serve, options](web::Request& request) {
    web::WebSocketResponse ws(options);
    await(ws.prepare(request));
    serve(ws);
    return ws;
  });
  asyncio::testing::run_test(
      [&] { asyncio::with(TestClient(app), [&](TestClient& client) { body(client); }); });
}

}  // namespace

TEST_CASE("messages go both ways, compressed or not, of any size") {
  for (const bool compress : {false, true}) {
    CAPTURE(compress);
    Events events;
    with_socket(
        [&](web::WebSocketResponse& ws) {
          CHECK(ws.compress() == compress);
          for (const WSMessage& message : ws) {
            if (message.type == WSMsgType::text) await(ws.send_str(message.data + "!"));
            if (message.type == WSMsgType::binary) await(ws.send_bytes(message.data));
          }
          events.push_back("server " + std::to_string(ws.close_code().value_or(0)));
          for (int i = 0; i < 4; ++i) CHECK(show(await(ws.receive())) == "closed");
          CHECK_THROWS_AS(await(ws.receive()), fiber::RuntimeError);
        },
        [&](TestClient& client) {
          auto moved = await(client.ws_connect("/ws", {.websocket = {.compress = compress}}));
          const auto ws = std::move(moved);
          CHECK_FALSE(moved.closed());  // moving is copying
          CHECK(ws.compress() == compress);
          await(ws.send_str("a"));
          CHECK(await(ws.receive_str()) == "a!");
          for (const std::size_t size : {0U, 126U, 70'000U, 1'000'000U}) {
            const std::string sent(size, 'x');
            await(ws.send_bytes(sent));
            CHECK((await(ws.receive_bytes()) == sent));
          }
          CHECK_THROWS_AS(await(ws.send_str("\xFF")), fiber::ValueError);
          await(ws.ping("p"));
          await(ws.send_str("b"));
          CHECK(show(await(ws.receive())) == "text b!");
          CHECK(await(ws.close(4000, "bye")));
          CHECK_FALSE(await(ws.close()));
          CHECK(ws.closed());
          CHECK(ws.close_code() == 4000);
          CHECK_THROWS_AS(await(ws.send_str("c")), fiber::ConnectionResetError);
          // A client returns `closed` again and again, as Python's does; a server does not.
          for (int i = 0; i < 10; ++i) CHECK(show(await(ws.receive())) == "closed");
        });
    CHECK(text(events) == text({"server 4000"}));
  }
}

TEST_CASE("the server closes, by close(), by returning, and says why") {
  Events events;
  with_socket(
      [&](web::WebSocketResponse& ws) {
        const std::string what = await(ws.receive_str());
        if (what == "close") await(ws.close(1001, "going"));
        if (what == "concurrently") {
          const auto closer = asyncio::create_task([ws] {
            await(asyncio::sleep(1s));
            return await(ws.close());
          });
          events.push_back("receive: " + show(await(ws.receive())));
          CHECK(await(closer));
        }
      },
      [&](TestClient& client) {
        for (const char* what : {"close", "return", "concurrently"}) {
          const auto ws = await(client.ws_connect("/ws"));
          await(ws.send_str(what));
          events.push_back(show(await(ws.receive())));
        }
      });
  CHECK(text(events) ==
        text({"close 1001 going", "close 1000 ", "receive: closing", "close 1000 "}));
}

TEST_CASE("without autoclose the program answers a close frame, or its next read does") {
  Events events;
  web::Application app;
  app.router().add_get("/asked", [&](web::Request& request) {
    const web::WebSocketResponse ws({.autoclose = false});
    await(ws.prepare(request));
    for (int i = 0; i < 3; ++i) events.push_back(show(await(ws.receive())));
    await(ws.send_str("last"));
    CHECK(await(ws.close(4002)));
    return ws;
  });
  app.router().add_get("/asks", [&](web::Request& request) {
    const web::WebSocketResponse ws;
    await(ws.prepare(request));
    CHECK(await(ws.close(4003)));
    CHECK(ws.close_code() == 1000);
    return ws;
  });
  support::with_app(app, [&](TestClient& client) {
    const auto start = asyncio::get_running_loop().time();
    const auto one = await(client.ws_connect("/asked"));
    CHECK(await(one.close(4001, "why")));
    CHECK(one.close_code() == 4002);
    const auto two = await(client.ws_connect("/asks", {.websocket = {.autoclose = false}}));
    for (int i = 0; i < 3; ++i) events.push_back(show(await(two.receive())));
    CHECK(two.closed());
    CHECK(asyncio::get_running_loop().time() - start < 1s);
  });
  CHECK(text(events) ==
        text({"close 4001 why", "closing", "closing", "close 4003 ", "closed", "closed"}));
}

TEST_CASE("frames that break the rules are errors with a close code") {
  Events events;
  with_socket(
      [&](web::WebSocketResponse& ws) {
        const std::string got = show(await(ws.receive()));
        events.push_back(got + " " + std::to_string(ws.close_code().value_or(0)));
      },
      [&](TestClient& client) {
        const std::string hello =
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        const std::string mask(4, '\0');
        const auto tail = [](const std::string& answer) {
          return answer.substr(answer.find("\r\n\r\n") + 4);
        };
        using namespace std::string_literals;
        CHECK(tail(await(client.raw(hello + "\x81\x01x"))) == "\x88\x02\x03\xEA"s);
        CHECK(tail(await(client.raw(hello + "\x81\x81" + mask + "\xFF"))) == "\x88\x02\x03\xEF"s);
        CHECK(tail(await(client.raw(hello + "\x81\x90" + mask + "12345678901234567"))) ==
              "\x88\x02\x03\xF1"s);
        CHECK(tail(await(client.raw(hello + "\x88\x82" + mask + "\x03\xE8"))) ==
              "\x88\x02\x03\xE8"s);
      },
      {.max_msg_size = 10});
  CHECK(text(events) == text({"error 1002", "error 1007", "error 1009", "close 1000  1000"}));
}

TEST_CASE("frames that come with the body of a handshake are not lost") {
  web::Application app;
  app.router().add_get("/ws", [](web::Request& request) {
    await(request.read());
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    await(ws.send_str("got " + await(ws.receive_str())));
    return ws;
  });
  support::with_app(app, [](TestClient& client) {
    const std::string hello =
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const std::string frames = "\x81\x82" + std::string(4, '\0') + "hi";
    for (const char* body : {"Content-Length: 3\r\n\r\nabc",
                             "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"})
      CHECK(await(client.raw(hello + body + frames)).find("got hi") != std::string::npos);
  });
}

TEST_CASE("handshakes that are none are refused, protocols agreed on") {
  with_socket([](web::WebSocketResponse& ws) { await(ws.send_str(ws.ws_protocol())); },
              [](TestClient& client) {
                const auto refused = await(client.get("/ws"));
                CHECK(refused.status == 400);
                CHECK(refused.text().starts_with("No WebSocket UPGRADE hdr: "));
                const auto ws = await(
                    client.ws_connect("/ws", {.websocket = {.protocols = {"other", "chat"}}}));
                CHECK(ws.protocol() == "chat");
                CHECK(await(ws.receive_str()) == "chat");
                await(ws.close());
                CHECK_THROWS_AS(await(client.ws_connect("/none")), aiohttp::WSServerHandshakeError);
                CHECK_THROWS_AS(await(aiohttp::ws_connect("ftp://x")), fiber::ValueError);
              },
              {.protocols = {"chat"}});
}

TEST_CASE("a handshake that is not answered ends some time") {
  asyncio::testing::run_test([] {
    std::size_t open = 0;
    asyncio::Server server = await(asyncio::start_server(
        [&](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          ++open;
          await(reader.read());
          writer.close();
          --open;
        },
        "127.0.0.1", 0));
    const std::string url = "http://127.0.0.1:" + std::to_string(server.sockets()[0].port()) + "/";
    CHECK_THROWS_AS(await(aiohttp::ws_connect(url)), fiber::TimeoutError);
    while (open != 0) await(asyncio::sleep(1ms));
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("ws_connect() takes credentials of its URL or of its argument, and no others") {
  Events events;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) {
    events.push_back(std::string(request.headers().get("Authorization", "none")) + " " +
                     std::string(request.host()).substr(0, 10));
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    return ws;
  });
  asyncio::testing::run_test([&] {
    asyncio::with(TestClient(app), [&](TestClient& client) {
      const std::string place = "127.0.0.1:" + std::to_string(client.server().port());
      const auto connect = [&](const std::string& user, aiohttp::WsConnectOptions options = {}) {
        await(await(aiohttp::ws_connect("ws://" + user + place, options)).close());
      };
      connect("");
      connect("user:pass@");
      connect("user@");
      connect(":pass@");
      connect("a%40b:c%3Ad@e@");
      connect("@");
      connect(":@");
      connect("", {.auth = fiber::http::BasicAuth{"user", "pass"}});
      connect("", {.headers = {{"Authorization", "own"}}});
      const auto both = [&](const std::string& user, const aiohttp::WsConnectOptions& options) {
        try {
          connect(user, options);
        } catch (const fiber::ValueError& error) {
          events.push_back(error.what());
        }
      };
      both("user:pass@", {.auth = fiber::http::BasicAuth{"user", "pass"}});
      both("", {.auth = fiber::http::BasicAuth{"us:er", "pass"}});
      both("user:pass@", {.headers = {{"Authorization", "own"}}});
      both("",
           {.headers = {{"Authorization", "own"}}, .auth = fiber::http::BasicAuth{"user", "pass"}});
      for (const char* bad : {"ws://u:p@h:x/", "ws://u:p@:80/", "ws://h:70000/", "ws://h:-1/",
                              "ws://\\u@127.0.0.1:1/", "ws://u:p@/"}) {
        CAPTURE(std::string(bad));
        CHECK_THROWS_AS(await(aiohttp::ws_connect(bad)), fiber::ValueError);
      }
    });
  });
  CHECK(
      text(events) ==
      text({"none 127.0.0.1:", "Basic dXNlcjpwYXNz 127.0.0.1:", "Basic dXNlcjo= 127.0.0.1:",
            "Basic OnBhc3M= 127.0.0.1:", "Basic YUBiOmM6ZEBl 127.0.0.1:", "none 127.0.0.1:",
            "none 127.0.0.1:", "Basic dXNlcjpwYXNz 127.0.0.1:", "own 127.0.0.1:",
            "Cannot combine AUTH argument with credentials encoded in URL",
            "A \":\" is not allowed in login (RFC 1945#section-11.1)",
            "Cannot combine AUTHORIZATION header with AUTH argument or credentials encoded in URL",
            "Cannot combine AUTHORIZATION header with AUTH argument or credentials encoded in "
            "URL"}));
}

TEST_CASE("a heartbeat keeps a connection, and gives up one that is dead") {
  Events events;
  with_socket(
      [&](web::WebSocketResponse& ws) {
        const WSMessage got = await(ws.receive());
        std::string event = show(got) + " " + std::to_string(ws.close_code().value_or(0));
        if (got.exception) event.append(" ").append(fiber::str(got.exception));
        events.push_back(std::move(event));
        if (got.exception) events.push_back(show(await(ws.receive())));
      },
      [&](TestClient& client) {
        {
          const auto alive = await(client.ws_connect("/ws"));
          CHECK_THROWS_AS(await(alive.receive(100s)), fiber::TimeoutError);  // pings are answered
          CHECK_FALSE(alive.closed());
          await(alive.send_str("still here"));
          CHECK(show(await(alive.receive())) == "close 1000 ");
        }
        const auto dead = await(client.ws_connect("/ws", {.websocket = {.autoping = false}}));
        CHECK(show(await(dead.receive())) == "ping ");
        await(asyncio::sleep(100s));
      },
      {.heartbeat = 10s});
  CHECK(text(events) ==
        text({"text still here 0", "error 1006 No PONG received after 5 seconds", "closed"}));
}

TEST_CASE("a WebSocket that is open when the application ends is closed by on_shutdown") {
  Events events;
  web::Application app;
  std::vector<web::WebSocketResponse> open;
  app.router().add_get("/ws", [&](web::Request& request) {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    open.push_back(ws);
    events.push_back("server " + show(await(ws.receive())));
    return ws;
  });
  app.on_shutdown().append([&](web::Application&) {
    for (const auto& ws : open) await(ws.close(1001, "shutdown"));
    open.clear();
  });
  asyncio::testing::run_test([&] {
    asyncio::Task<> reader;
    asyncio::with(TestClient(app), [&](TestClient& client) {
      const auto ws = await(client.ws_connect("/ws"));
      reader = asyncio::create_task(
          [&events, ws] { events.push_back("client " + show(await(ws.receive()))); });
      await(asyncio::sleep(1s));
    });
    await(reader);
  });
  CHECK(text(events) == text({"server closing", "client close 1001 shutdown"}));
}

TEST_CASE("the reason of a close frame is UTF-8, also where it is cut") {
  Events events;
  with_socket(
      [&](web::WebSocketResponse& ws) {
        const WSMessage message = await(ws.receive());
        await(ws.close(1000, message.data));
      },
      [&](TestClient& client) {
        for (const std::string& reason :
             {std::string(122, 'x') + "\u00E9", std::string(121, 'x') + "\u00E9!",
              std::string(200, 'x'), std::string("a\xFF")}) {
          const auto ws = await(client.ws_connect("/ws"));
          await(ws.send_bytes(reason));
          events.push_back(show(await(ws.receive())));
          await(ws.close());
        }
      });
  CHECK(text(events) == text({"close 1000 " + std::string(122, 'x'),
                              "close 1000 " + std::string(121, 'x') + "\u00E9",
                              "close 1000 " + std::string(123, 'x'), "close 1000 a\uFFFD"}));
}
