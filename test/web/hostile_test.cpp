#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::first_line;
using support::Flood;
using support::Peer;
using support::repeated;
using support::with_app;
using namespace std::chrono_literals;

namespace {

web::Application echo() {
  web::Application app;
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "ok"}); });
  app.router().add_post(
      "/", [](web::Request& request) { return web::Response({.body = await(request.read())}); });
  return app;
}

double seconds_since(asyncio::nanoseconds start) {
  return std::chrono::duration<double>(asyncio::get_running_loop().time() - start).count();
}

}  // namespace

TEST_CASE("a malformed request gets 400, and the connection ends") {
  with_app(echo(), [](TestClient& client) {
    for (const std::string& bad : std::vector<std::string>{
             "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\n\r\n",
             "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "\x16\x03\x01", "hello\n",
             "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
             "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
             "chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"}) {
      CAPTURE(bad);
      // Bytes after a malformed request are ignored.
      const std::string answer = await(client.raw(bad + "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
      CHECK(first_line(answer) == "HTTP/1.1 400 Bad Request");
      CHECK(answer.find("HTTP/1.1", 1) == std::string::npos);
      CHECK(answer.find("Connection: close\r\n") != std::string::npos);
    }
    CHECK(first_line(await(client.raw(std::string("GET / HTTP/1.1\r\nHost: x\0", 24)))) ==
          "HTTP/1.1 400 Bad Request");
    CHECK(first_line(await(client.raw("GET /" + std::string(9000, 'a')))) ==
          "HTTP/1.1 414 Request-URI Too Long");
    CHECK(first_line(await(client.raw("GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(9000, 'a') +
                                      "\r\n\r\n"))) ==
          "HTTP/1.1 431 Request Header Fields Too Large");
    std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (int i = 0; i < 20000; ++i) many += "A: b\r\n";
    CHECK(first_line(await(client.raw(many))) == "HTTP/1.1 431 Request Header Fields Too Large");
    CHECK(await(client.get("/")).text() == "ok");
  });
}

TEST_CASE("slow heads and bodies, and silence, are waited for so long and no longer") {
  web::ServerOptions options;
  options.head_timeout = 20s;
  options.body_timeout = 30s;
  options.keepalive_timeout = 50s;
  with_app(
      echo(),
      [](TestClient& client) {
        const auto start = asyncio::get_running_loop().time();
        Peer silent(client);
        CHECK(silent.rest().empty());
        CHECK(seconds_since(start) == doctest::Approx(20).epsilon(0.05));

        auto before = asyncio::get_running_loop().time();
        Peer slow_head(client);
        slow_head.write("GET / HTTP/1.1\r\n");
        for (int i = 0; i < 4; ++i) {  // a single byte does not extend the time
          await(asyncio::sleep(4s));
          slow_head.write("A");
        }
        CHECK(first_line(slow_head.rest()) == "HTTP/1.1 408 Request Timeout");
        CHECK(seconds_since(before) == doctest::Approx(20).epsilon(0.05));

        before = asyncio::get_running_loop().time();
        Peer slow_body(client);
        slow_body.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
        for (int i = 0; i < 6; ++i) {
          await(asyncio::sleep(4s));
          slow_body.write("A");
        }
        CHECK(first_line(slow_body.rest()) == "HTTP/1.1 408 Request Timeout");
        CHECK(seconds_since(before) == doctest::Approx(30).epsilon(0.05));

        Peer idle(client);
        idle.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        before = asyncio::get_running_loop().time();
        CHECK(idle.rest().ends_with("ok"));
        CHECK(seconds_since(before) == doctest::Approx(50).epsilon(0.05));
      },
      options);
}

TEST_CASE("a body that comes fast enough may take as long as it needs") {
  web::ServerOptions options;
  options.body_timeout = 10s;
  options.min_body_rate = 100;
  with_app(
      echo(),
      [](TestClient& client) {
        Peer peer(client);
        peer.write(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6000\r\n\r\n");
        for (int i = 0; i < 30; ++i) {
          await(asyncio::sleep(1s));
          peer.write(std::string(200, 'x'));
        }
        CHECK(first_line(peer.rest()) == "HTTP/1.1 200 OK");
      },
      options);
}

TEST_CASE("a peer that does not read what it asked for is given up") {
  web::Application app;
  std::vector<std::string> ends;
  app.router().add_get("/", [&](web::Request& request) -> web::StreamResponse {
    web::StreamResponse response;
    await(response.prepare(request));
    try {
      for (;;) await(response.write(std::string(100'000, 'x')));
    } catch (const fiber::ConnectionError&) {
      ends.push_back("lost");
      throw;
    }
  });
  web::ServerOptions options;
  options.write_timeout = 7s;
  with_app(
      app,
      [&](TestClient& client) {
        Peer peer(client);
        const auto start = asyncio::get_running_loop().time();
        // Bytes that the reader does not keep stay in the kernel, until its buffer is full.
        peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        while (ends.empty()) await(asyncio::sleep(1s));
        CHECK(seconds_since(start) < 20);
      },
      options);
  CHECK(ends == std::vector<std::string>{"lost"});
}

TEST_CASE("no more connections than were allowed, altogether and for an address") {
  web::ServerOptions options;
  SUBCASE("altogether") { options.max_connections = 2; }
  SUBCASE("for an address") { options.max_connections_per_address = 2; }
  with_app(
      echo(),
      [](TestClient& client) {
        Peer first(client);
        {
          Peer second(client);
          first.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          second.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          CHECK(await(first.streams.first.readline()) == "HTTP/1.1 200 OK\r\n");
          CHECK(await(second.streams.first.readline()) == "HTTP/1.1 200 OK\r\n");
          Peer third(client);
          CHECK(first_line(third.rest()) == "HTTP/1.1 503 Service Unavailable");
        }
        await(asyncio::sleep(1s));
        CHECK(await(client.get("/")).text() == "ok");
      },
      options);
}

TEST_CASE("a handler that throws gives 500 and a line in the log; the next request is served") {
  support::Log log;
  web::Application app;
  app.router().add_get("/std",
                       [](web::Request&) -> web::Response { throw std::runtime_error("secret"); });
  app.router().add_get("/int", [](web::Request&) -> web::Response { throw 5; });
  app.router().add_get("/time",
                       [](web::Request&) -> web::Response { throw fiber::TimeoutError(); });
  app.router().add_get("/late", [](web::Request& request) -> web::StreamResponse {
    web::StreamResponse response;
    await(response.prepare(request));
    await(response.write("begun"));
    throw std::runtime_error("late");
  });
  app.router().add_get("/split", [](web::Request&) {
    return web::Response({.text = "x", .headers = {{"A", "b\r\nSet-Cookie: c"}}});
  });
  with_app(app, [&](TestClient& client) {
    const auto response = await(client.get("/std"));
    CHECK(response.status == 500);
    CHECK(response.text() == "500 Internal Server Error\n\nServer got itself in trouble");
    CHECK(log.take().starts_with("ERROR Error handling request\n"));
    CHECK(await(client.get("/int")).status == 500);
    CHECK(await(client.get("/time")).status == 504);
    log.take();
    // The head was sent: only closing the connection can report the error.
    CHECK_THROWS_AS(await(client.get("/late")), fiber::ConnectionError);
    CHECK(log.take().starts_with("ERROR Error handling request\n"));
    const auto split = await(client.get("/split"));
    CHECK(split.status == 500);
    CHECK_FALSE(split.headers.contains("Set-Cookie"));
  });
}

TEST_CASE("a client that goes away cancels the handler if that was asked for") {
  for (const bool cancels : {false, true}) {
    CAPTURE(cancels);
    web::Application app;
    std::vector<std::string> events;
    app.router().add_get("/", [&](web::Request&) {
      try {
        await(asyncio::sleep(10s));
        events.push_back("finished");
      } catch (const asyncio::CancelledError&) {
        events.push_back("cancelled");
        throw;
      }
      return web::Response();
    });
    web::ServerOptions options;
    options.handler_cancellation = cancels;
    with_app(
        app,
        [&](TestClient& client) {
          {
            Peer peer(client);
            peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            await(asyncio::sleep(1s));
          }
          await(asyncio::sleep(20s));
          // A client that stays connected is served.
          CHECK(await(client.get("/")).status == 200);
        },
        options);
    CHECK(events == (cancels ? std::vector<std::string>{"cancelled", "finished"}
                             : std::vector<std::string>{"finished", "finished"}));
  }
}

TEST_CASE("a client that goes away cancels its handler, wherever its upload is") {
  std::vector<std::string> events;
  web::Application app;
  const auto add = [&](const char* path, auto before) {
    app.router().add_post(path, [&events, before](web::Request& request) {
      try {
        before(request);
        events.push_back("waits");
        await(asyncio::sleep(50s));
        events.push_back("finished");
      } catch (const asyncio::CancelledError&) {
        events.push_back("cancelled");
        throw;
      } catch (const web::RequestPayloadError&) {
        events.push_back("cut short");
        throw;
      }
      return web::Response();
    });
  };
  add("/unread", [](web::Request&) {});
  add("/read", [](web::Request& request) { await(request.read()); });
  add("/begun", [](web::Request& request) { await(request.content().read(1)); });
  web::ServerOptions options;
  options.handler_cancellation = true;
  const auto upload = [](const char* path, std::size_t size) {
    return "POST " + std::string(path) +
           " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  };
  const std::string body(2048, 'x');
  with_app(
      app,
      [&](TestClient& client) {
        const auto outcome = [&](const std::string& bytes) {
          events.clear();
          {
            Peer peer(client);
            peer.write(bytes);
            await(asyncio::sleep(1s));
          }
          await(asyncio::sleep(100s));
          std::string all;
          for (const std::string& event : events) all += event + " ";
          return all;
        };
        CHECK(outcome(upload("/unread", 2048) + body) == "waits cancelled ");
        CHECK(outcome(upload("/unread", 2049) + body) == "waits cancelled ");
        CHECK(outcome(upload("/unread", 100'000) + repeated(body, 20)) == "waits cancelled ");
        CHECK(outcome(upload("/read", 2048) + body) == "waits cancelled ");
        CHECK(outcome(upload("/read", 100'000) + body) == "cut short ");
        CHECK(outcome(upload("/begun", 100'000) + body) == "waits cancelled ");
        // The next request is here, too.
        CHECK(outcome(upload("/read", 2048) + body + upload("/read", 2048) + body) ==
              "waits cancelled ");
        // A client that stays is served, also its further requests.
        events.clear();
        Peer peer(client);
        peer.write(upload("/unread", 2048) + body + upload("/read", 2048) + body);
        await(asyncio::sleep(120s));
        CHECK(events == std::vector<std::string>{"waits", "finished", "waits", "finished"});
      },
      options);
}

TEST_CASE("a WebSocket tells its handler itself that the client has gone away") {
  std::vector<std::string> events;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    events.push_back(await(ws.receive_str()));
    await(ws.receive());
    events.push_back(ws.closed() ? "closed" : "open");
    return ws;
  });
  web::ServerOptions options;
  options.handler_cancellation = true;
  with_app(
      app,
      [&](TestClient& client) {
        {
          Peer peer(client);
          peer.write(
              "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
          peer.write(std::string_view("\x81\x82\0\0\0\0hi", 8));
          await(asyncio::sleep(1s));
        }
        await(asyncio::sleep(10s));
      },
      options);
  CHECK(events == std::vector<std::string>{"hi", "closed"});
}

TEST_CASE("a flood of pings whose answers nobody reads is not answered for ever") {
  std::vector<std::string> ends;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    const auto message = await(ws.receive());
    ends.push_back(message.type == fiber::aiohttp::WSMsgType::error ? "error" : "another end");
    ends.push_back(std::to_string(ws.close_code().value_or(0)));
    return ws;
  });
  web::ServerOptions options;
  options.write_timeout = 7s;
  with_app(
      app,
      [&](TestClient& client) {
        Peer peer(client);
        peer.write(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        const std::string ping = "\x89\xFD" + std::string(4 + 125, '\0');
        const Flood flood(peer, repeated(ping, 100));
        const auto start = asyncio::get_running_loop().time();
        while (ends.empty()) await(asyncio::sleep(1s));
        CHECK(seconds_since(start) < 20);
      },
      options);
  CHECK(ends == std::vector<std::string>{"error", "1006"});
}

TEST_CASE("requests that come on and on are served no faster than their answers are read") {
  int served = 0;
  web::Application app;
  app.router().add_get("/", [&](web::Request&) {
    ++served;
    return web::Response({.body = std::string(20'000, 'x')});
  });
  web::ServerOptions options;
  options.write_timeout = 7s;
  with_app(
      app,
      [&](TestClient& client) {
        Peer peer(client);
        const Flood flood(peer, repeated("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100));
        await(asyncio::sleep(30s));
        const int until_full = served;
        CHECK(until_full > 0);
        await(asyncio::sleep(100s));
        CHECK(served == until_full);
        CHECK(flood.task.done());
      },
      options);
}

TEST_CASE("a response that outlives its request has no way to go, whoever holds it") {
  support::Log log;
  std::vector<web::StreamResponse> kept;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) -> web::StreamResponse {
    web::StreamResponse response;
    await(response.prepare(request));
    kept.push_back(response);
    if (kept.size() == 1) return response;
    if (kept.size() == 2) throw std::runtime_error("in the middle");
    await(asyncio::sleep(1000s));
    return response;
  });
  web::ServerOptions options;
  options.handler_cancellation = true;
  with_app(
      app,
      [&](TestClient& client) {
        CHECK(await(client.get("/")).status == 200);
        CHECK_THROWS_AS(await(kept[0].write("x")), fiber::RuntimeError);  // after its end
        await(kept[0].write_eof());
        CHECK_THROWS_AS(await(client.get("/")), fiber::ConnectionError);
        {
          Peer peer(client);
          peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          await(asyncio::sleep(1s));
          await(kept.at(2).write("while it goes on"));
        }
        await(asyncio::sleep(10s));
        for (const std::size_t i : {1U, 2U}) {
          CAPTURE(i);
          CHECK_THROWS_AS(await(kept.at(i).write("x")), fiber::ConnectionResetError);
          CHECK_THROWS_AS(await(kept.at(i).write_eof()), fiber::ConnectionResetError);
          await(kept.at(i).drain());
        }
      },
      options);
}

TEST_CASE("a task that waits to write learns that the connection has ended") {
  support::Log log;
  std::optional<web::StreamResponse> kept;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) -> web::StreamResponse {
    kept.emplace();
    await(kept->prepare(request));
    await(asyncio::sleep(10s));
    throw std::runtime_error("in the middle");
  });
  with_app(app, [&](TestClient& client) {
    Peer peer(client);
    peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await(asyncio::sleep(1s));
    const auto writer = asyncio::create_task([response = *kept] {
      try {
        for (;;) await(response.write(std::string(100'000, 'x')));
      } catch (const fiber::ConnectionResetError&) {
        return true;
      }
    });
    CHECK(await(writer));
  });
}
