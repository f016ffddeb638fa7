// The bounds that the table in fiber/aiohttp/WEB.md promises, at their last byte.
#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/aiohttp/web_sse.hpp>
#include <fiber/asyncio.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "support/allocations.hpp"
#include "support/clock.hpp"
#include "support/http_heads.hpp"
#include "support/web_peer.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace http = fiber::http;
namespace web = fiber::aiohttp::web;
using aiohttp::test_utils::TestClient;
using asyncio::await;
using support::Clock;
using support::first_line;
using support::Flood;
using support::get;
using support::Peer;
using support::repeated;
using support::with_app;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;

web::Application app_with_forms() {
  web::Application app;
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "ok"}); });
  app.router().add_post("/unread", [](web::Request&) { return web::Response({.text = "ok"}); });
  app.router().add_post("/read", [](web::Request& request) {
    return web::Response({.text = std::to_string(await(request.read()).size())});
  });
  app.router().add_post("/form", [](web::Request& request) {
    return web::Response({.text = std::to_string(await(request.post()).size())});
  });
  return app;
}

// The status of the answer to these bytes, sent at once or piece by piece.
std::string status_of(const TestClient& client, const std::string& bytes, std::size_t piece) {
  Peer peer(client);
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    peer.write(std::string_view(bytes).substr(at, piece));
    if (piece < bytes.size()) await(asyncio::sleep(1ms));
  }
  peer.streams.second.write_eof();
  const std::string line = first_line(peer.rest());
  return line.substr(std::min<std::size_t>(line.find(' ') + 1, line.size()), 3);
}

}  // namespace

TEST_CASE("a head: its line, its fields, their number, and all of it") {
  with_app(app_with_forms(), [](TestClient& client) {
    for (const std::size_t piece : {std::size_t{1'000'000}, std::size_t{5000}}) {
      CAPTURE(piece);
      const auto line_of = [&](std::size_t size) {
        const std::string around = "GET /? HTTP/1.1";
        return status_of(
            client,
            "GET /?" + std::string(size - around.size(), 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n",
            piece);
      };
      CHECK(line_of(8190) == "200");
      CHECK(line_of(8191) == "414");
      const auto field_of = [&](std::size_t size) {
        return status_of(client, get("A: " + std::string(size - 1, 'a') + "\r\n"), piece);
      };
      CHECK(field_of(8190) == "200");
      CHECK(field_of(8191) == "431");
      CHECK(status_of(client, get(repeated("A: b\r\n", 127)), piece) == "200");
      CHECK(status_of(client, get(repeated("A: b\r\n", 128)), piece) == "431");
      const auto head_of = [&](std::size_t size) {
        std::string fields = repeated("A: " + std::string(8000, 'a') + "\r\n", 8);
        fields += "B: " + std::string(size - get(fields).size() - 5, 'b') + "\r\n";
        return status_of(client, get(fields), piece);
      };
      CHECK(head_of(64 * 1024) == "200");
      CHECK(head_of(64 * 1024 + 1) == "431");
    }
  });
}

TEST_CASE("zero is no limit") {
  web::ServerOptions options;
  options.max_line_size = options.max_field_size = options.max_headers = options.max_head_size = 0;
  with_app(
      app_with_forms(),
      [](TestClient& client) {
        const std::string much(200'000, 'a');
        CHECK(status_of(client, "GET /?" + much + " HTTP/1.1\r\nHost: x\r\n\r\n", 5000) == "200");
        CHECK(status_of(client, get("A: " + much + "\r\n"), 5000) == "200");
        CHECK(status_of(client, get(repeated("A: b\r\n", 2000)), 5000) == "200");
      },
      options);
  web::Application app({.client_max_size = 0});
  app.router().add_post("/", [](web::Request& request) {
    return web::Response({.text = std::to_string(await(request.read()).size())});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.post("/", {.data = std::string(2'000'000, 'a')})).text() == "2000000");
  });
}

TEST_CASE("the head of a chunk, and all trailers") {
  with_app(app_with_forms(), [](TestClient& client) {
    const std::string head =
        "POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
        "chunked\r\n\r\n";
    for (const std::size_t piece : {std::size_t{1'000'000}, std::size_t{5000}}) {
      CAPTURE(piece);
      const auto chunk_of = [&](std::size_t size) {
        return status_of(
            client, head + "5;" + std::string(size - 2, 'a') + "\r\nhello\r\n0\r\n\r\n", piece);
      };
      CHECK(chunk_of(8190) == "200");
      CHECK(chunk_of(8200) == "400");
      const auto trailers_of = [&](std::size_t size) {
        return status_of(client, head + "0\r\nA: " + std::string(size - 5, 'a') + "\r\n\r\n",
                         piece);
      };
      CHECK(trailers_of(8180) == "200");
      CHECK(trailers_of(8200) == "400");
    }
  });
}

TEST_CASE("a body that is read whole, as it is and decompressed") {
  with_app(app_with_forms(), [](TestClient& client) {
    const std::string most(1024 * 1024, 'a');
    CHECK(await(client.post("/read", {.data = most})).text() == "1048576");
    CHECK(await(client.post("/read", {.data = most + "a"})).status == 413);
    CHECK(await(client.post("/form",
                            {.data = "a=" + most,
                             .headers = {{"Content-Type", "application/x-www-form-urlencoded"}}}))
              .status == 413);
  });
}

TEST_CASE("parts of a form, their header lines, and the length of these") {
  with_app(app_with_forms(), [](TestClient& client) {
    const http::Headers type{{"Content-Type", "multipart/form-data; boundary=B"}};
    const std::string name = "Content-Disposition: form-data; name=a\r\n";
    const auto status = [&](const std::string& parts) {
      return await(client.post("/form", {.data = parts + "--B--\r\n", .headers = type})).status;
    };
    const std::string part = "--B\r\n" + name + "\r\nx\r\n";
    CHECK(status(repeated(part, 1000)) == 200);
    CHECK(status(repeated(part, 1001)) == 400);
    const auto with = [&](const std::string& lines) {
      return "--B\r\n" + name + lines + "\r\nx\r\n";
    };
    CHECK(status(with(repeated("A: b\r\n", 127))) == 200);
    CHECK(status(with(repeated("A: b\r\n", 128))) == 400);
    CHECK(status(with("A: " + std::string(8187, 'b') + "\r\n")) == 200);
    CHECK(status(with("A: " + std::string(8188, 'b') + "\r\n")) == 400);
    // What is kept of all parts together is within the body's limit, headers included.
    const std::string many = with(repeated("A: " + std::string(8000, 'b') + "\r\n", 100));
    CHECK(status(many) == 200);
    CHECK(status(many + many) == 413);
  });
}

TEST_CASE("bytes after a malformed request are read for so long, and so many of them") {
  with_app(app_with_forms(), [](TestClient& client) {
    Peer silent(client);
    silent.write("hello\n");
    const Clock clock;
    CHECK(await(silent.streams.first.readline()) == "HTTP/1.1 400 Bad Request\r\n");
    while (client.server().port() != 0 && clock.passed() < 9) {
      silent.write("x");
      await(asyncio::sleep(500ms));
    }
    await(asyncio::sleep(2s));
    // The server has closed the connection: further bytes reset it.
    silent.write("x");
    await(asyncio::sleep(10ms));
    silent.write("x");
    await(asyncio::sleep(10ms));
    CHECK(silent.streams.second.is_closing());

    Peer many(client);
    const Clock another;
    const Flood flood(many, "hello\n" + std::string(10'000, 'x'));
    while (!flood.task.done()) await(asyncio::sleep(10ms));
    CHECK(another.passed() < 9);
  });
}

TEST_CASE("a body that the handler does not read is read for so long") {
  with_app(app_with_forms(), [](TestClient& client) {
    Peer peer(client);
    peer.write("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    const Clock clock;
    CHECK(await(peer.streams.first.readline()) == "HTTP/1.1 200 OK\r\n");
    const auto sender = asyncio::create_task([writer = peer.streams.second] {
      while (!writer.is_closing()) {
        writer.write("x");
        await(asyncio::sleep(500ms));
      }
    });
    static_cast<void>(peer.rest());
    CHECK(clock.passed() >= 9);
    CHECK(clock.passed() <= 21);  // and lingers once more, with its half of the connection closed
    sender.cancel();
  });
}

TEST_CASE("an unread body may take any time that the option gives") {
  web::ServerOptions options;
  options.lingering_time = std::chrono::hours(24 * 365 * 10'000);
  with_app(
      app_with_forms(),
      [](TestClient& client) {
        Peer peer(client);
        peer.write("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n");
        CHECK(await(peer.streams.first.readline()) == "HTTP/1.1 200 OK\r\n");
        await(asyncio::sleep(1h));
        peer.write(
            "unreadPOST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n");
        CHECK(peer.rest().find("HTTP/1.1 200 OK\r\n") != std::string::npos);
      },
      options);
}

TEST_CASE("a client that takes no events is given up") {
  Events ends;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) -> web::StreamResponse {
    web::EventSourceResponse response;
    await(response.prepare(request));
    try {
      for (;;) await(response.send(std::string(50'000, 'x')));
    } catch (const fiber::ConnectionResetError&) {
      ends.push_back("reset");
      ends.push_back(response.is_connected() ? "connected" : "gone");
      throw;
    }
  });
  web::ServerOptions options;
  options.write_timeout = 7s;
  with_app(
      app,
      [&](TestClient& client) {
        Peer peer(client);
        peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        const Clock clock;
        while (ends.empty()) await(asyncio::sleep(1s));
        CHECK(clock.passed() < 20);
      },
      options);
  CHECK(ends == Events{"reset", "gone"});
}

TEST_CASE("a message of a WebSocket, as it is, in parts and decompressed") {
  Events ends;
  web::Application app;
  app.router().add_get("/", [&](web::Request& request) -> web::StreamResponse {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    for (const aiohttp::WSMessage& message : ws) {
      if (message.type == aiohttp::WSMsgType::error) break;
      await(ws.send_str(std::to_string(message.data.size())));
    }
    ends.push_back(std::to_string(ws.close_code().value_or(0)));
    return ws;
  });
  with_app(app, [&](TestClient& client) {
    for (const bool compress : {false, true}) {
      CAPTURE(compress);
      aiohttp::WsConnectOptions options;
      options.websocket = {.compress = compress};
      asyncio::with(client.ws_connect("/", options), [&](auto& ws) {
        REQUIRE(ws.compress() == compress);
        const std::string most(4 * 1024 * 1024, 'x');
        await(ws.send_bytes(most));
        CHECK(await(ws.receive()).data == "4194304");
        await(ws.send_bytes(most + "x"));
        const aiohttp::WSMessage end = await(ws.receive());
        CHECK(end.type == aiohttp::WSMsgType::close);
        CHECK(end.code == 1009);
      });
    }
    Peer peer(client);
    peer.write(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    // Parts of a message, 64 KiB each, without end.
    const Flood flood(
        peer,
        std::string("\x02\xFF\0\0\0\0\0\x01\0\0\0\0\0\0", 14) + std::string(65536, 'x') +
            repeated(std::string("\0\xFF\0\0\0\0\0\x01\0\0\0\0\0\0", 14) + std::string(65536, 'x'),
                     64));
    while (ends.size() < 3) await(asyncio::sleep(1s));
  });
  CHECK(ends == Events{"1009", "1009", "1009"});
}

TEST_CASE("a connection holds no more than is promised, whatever arrives and is not read") {
  if (!support::allocations_are_counted()) return;
  constexpr std::size_t k = 1024;
  web::Application app;
  app.router().add_post("/unread", [](web::Request&) {
    await(asyncio::sleep(1000s));
    return web::Response();
  });
  app.router().add_post("/slowly", [](web::Request& request) {
    for (const std::string& piece : request.content().iter_any())
      await(asyncio::sleep(piece.empty() ? 0s : 1s));
    return web::Response();
  });
  app.router().add_get("/endless", [](web::Request& request) -> web::StreamResponse {
    web::StreamResponse response;
    await(response.prepare(request));
    const std::string piece(64 * k, 'x');
    for (;;) await(response.write(piece));
  });
  app.router().add_get("/ws", [](web::Request& request) -> web::StreamResponse {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    await(ws.receive());
    return ws;
  });
  const std::string upload = " HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
  const std::string upgrade =
      "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
      std::string("\x82\xFF\0\0\0\0\0\x40\0\0\0\0\0\0", 14);  // 4 MiB
  const std::string much(1'000'000, 'x');
  struct Case {
    const char* what;
    std::string sent;
    std::size_t bound;
  };
  const Case cases[] = {
      {"a head", "GET / HTTP/1.1\r\n" + repeated("A: " + std::string(8000, 'a') + "\r\n", 8),
       3 * 64 * k},
      {"a body that nobody reads", "POST /unread" + upload + much, 3 * 64 * k},
      {"a body that is read slowly", "POST /slowly" + upload + much, 1024 * k},
      {"a response", "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", 3 * 64 * k},
      {"a message", upgrade + std::string(4096 * k - 1, 'x'), 3 * 4096 * k},
  };
  for (const Case& one : cases) {
    CAPTURE(std::string(one.what));
    with_app(app, [&](TestClient& client) {
      // After a first connection the loop has the memory that it keeps for all of them.
      support::SilentPeer(client).send(one.sent);
      await(asyncio::sleep(100s));
      const support::SilentPeer peer(client);
      await(asyncio::sleep(10ms));
      support::allocations.peak = support::allocations.live;
      const std::size_t before = support::allocations.live;
      peer.send(one.sent);
      await(asyncio::sleep(5s));
      constexpr std::size_t small = 16 * k;  // the objects of the connection and its request
      CHECK(support::allocations.peak - before < one.bound + small);
    });
  }
}

TEST_CASE("an idle connection keeps nothing of the requests before") {
  if (!support::allocations_are_counted()) return;
  constexpr std::size_t k = 1024;
  web::Application app;
  app.router().add_get(
      "/large", [](web::Request&) { return web::Response({.body = std::string(31 * k, 'x')}); });
  app.router().add_post("/read", [](web::Request& request) {
    return web::Response({.text = std::to_string(await(request.read()).size())});
  });
  app.router().add_post("/begun", [](web::Request& request) {
    await(request.content().read(1));
    return web::Response();
  });
  app.router().add_get("/ws", [](web::Request& request) {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    while (await(ws.receive()).type == aiohttp::WSMsgType::binary) {
    }
    return ws;
  });
  const std::string message =
      "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
      std::string("\x82\xFF\0\0\0\0\0\x08\0\0\0\0\0\0", 14) + std::string(512 * k, 'x');
  const std::string upload =
      " HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + std::string(60'000, 'x');
  const std::string long_head = "GET /large HTTP/1.1\r\nHost: x\r\n" +
                                repeated("A: " + std::string(6000, 'a') + "\r\n", 8) + "\r\n";
  for (const std::string& request :
       {std::string("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"), "POST /read" + upload,
        "POST /begun" + upload, long_head, message}) {
    CAPTURE(request.substr(0, 20));
    with_app(app, [&](TestClient& client) {
      const auto exchange = [&](const support::SilentPeer& peer) {
        peer.send(request);
        await(asyncio::sleep(1s));
      };
      exchange(support::SilentPeer(client));  // what the server keeps for all connections
      await(asyncio::sleep(1s));
      const std::size_t before = support::allocations.live;
      std::vector<std::unique_ptr<support::SilentPeer>> peers;
      for (int i = 0; i < 10; ++i) {
        peers.push_back(std::make_unique<support::SilentPeer>(client));
        exchange(*peers.back());
      }
      std::string answer(64 * k, '\0');
      for (const auto& peer : peers) {
        CHECK(::recv(peer->fd(), answer.data(), answer.size(), MSG_DONTWAIT) > 0);
        CHECK(answer.starts_with(request == message ? "HTTP/1.1 101" : "HTTP/1.1 200"));
        CHECK(::recv(peer->fd(), answer.data(), answer.size(), MSG_DONTWAIT) < 0);  // open
      }
      CHECK((support::allocations.live - before) / 10 < 12 * k);
    });
  }
}
