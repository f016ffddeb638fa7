// Waits of a server that are given up, that several tasks share, or whose list changes meanwhile.
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using fiber::aiohttp::test_utils::TestServer;
using support::Events;
using support::first_line;
using support::Peer;
using support::SilentPeer;
using support::thrown_by;
using namespace std::chrono_literals;

namespace {

void with_server(const web::Handler& handler, const web::ServerOptions& options,
                 const std::function<void(TestClient&, const web::Server&)>& body) {
  asyncio::testing::run_test([&] {
    const web::Server server(handler, options);
    asyncio::with(TestClient(TestServer(server)),
                  [&](TestClient& client) { body(client, server); });
  });
}

// Whether the time was up.
bool given_up(std::chrono::seconds time, const std::function<void()>& function) {
  try {
    asyncio::with(asyncio::timeout(time), [&](asyncio::Timeout&) { function(); });
    return false;
  } catch (const fiber::TimeoutError&) {
    return true;
  }
}

// Takes the memory that was given back just now, and writes into it.
class Overwritten {
 public:
  Overwritten() {
    for (std::size_t size = 16; size < 2048; size += 16)
      for (int i = 0; i < 8; ++i) all_.emplace_back(size, 'Z');
  }

 private:
  std::vector<std::vector<char>> all_;
};

const std::string kMuch(16 << 20, 'x');
const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

std::string post(std::size_t size) {
  return "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
}

// Reads the answer to kGet up to the end of its chunks, and returns its size; 0 if it is cut short.
std::size_t size_of_answer(const Peer& peer) {
  std::size_t all = 0;
  std::string end;
  while (!end.ends_with("0\r\n\r\n")) {
    const std::string piece = await(peer.streams.first.read(1 << 20));
    if (piece.empty()) return 0;
    all += piece.size();
    end = (end + piece).substr(end.size() + piece.size() - 5);
  }
  return all;
}

}  // namespace

TEST_CASE("the functions of a signal may append others while it is sent") {
  web::Signal<Events&> signal;
  const std::string name = "first";
  signal.append([&signal, &name](Events& events) {
    for (int i = 0; i < 10; ++i) signal.append([](Events& its) { its("appended"); });
    const Overwritten overwritten;
    events(name);
  });
  Events events;
  signal.send(events);
  CHECK(events.take() == "first" + support::repeated(" appended", 10));
  signal.freeze();
  CHECK(thrown_by([&] { signal.append([](Events&) {}); }).starts_with("RuntimeError('Cannot "));
  CHECK(signal.size() == 11);
}

TEST_CASE("contexts may append others while they are entered, and nothing once all is frozen") {
  Events events;
  web::Application app;
  const auto context = [&events](const std::string& name, bool appends) {
    return [&events, name, appends](web::Application& its) -> fiber::Generator<int> {
      if (appends)
        for (int i = 0; i < 10; ++i)
          its.cleanup_ctx().append([&events](web::Application&) -> fiber::Generator<int> {
            return [&events](auto& self) {
              events("another");
              self.yield(0);
            };
          });
      const Overwritten overwritten;
      return [&events, name](auto& self) {
        events(name);
        self.yield(0);
      };
    };
  };
  app.cleanup_ctx().append(context("one", true));
  app.cleanup_ctx().append(context("two", false));
  const auto nothing = [](web::Application&) {};
  app.on_startup().append([&](web::Application& its) {
    CHECK_THROWS_AS(its.on_startup().append(nothing), fiber::RuntimeError);
    CHECK_THROWS_AS(its.add_subapp("/sub", web::Application()), fiber::RuntimeError);
    its.on_cleanup().append([&](web::Application&) { events("cleanup"); });
  });
  asyncio::testing::run_test([&] {
    await(app.startup());
    CHECK(events.take() == "one two" + support::repeated(" another", 10));
    CHECK_THROWS_AS(app.on_startup().append(nothing), fiber::RuntimeError);
    CHECK_THROWS_AS(app.on_shutdown().append(nothing), fiber::RuntimeError);
    CHECK_THROWS_AS(app.on_cleanup().append(nothing), fiber::RuntimeError);
    CHECK_THROWS_AS(app.cleanup_ctx().append(context("three", false)), fiber::RuntimeError);
    CHECK_THROWS_AS(app.on_response_prepare().append([](web::Request&, web::StreamResponse&) {}),
                    fiber::RuntimeError);
    await(app.cleanup());
    CHECK(events.take() == "cleanup");
  });
}

TEST_CASE("a middleware goes on, whatever becomes of the list meanwhile") {
  web::Application app;
  const std::string name = "the middleware";
  app.middlewares().push_back([&name](web::Request& request, const web::Handler& handler) {
    const auto inner = handler(request);
    return web::Response({.text = name});
  });
  app.router().add_get("/", [&](web::Request&) {
    app.middlewares() = std::vector<web::Middleware>(20, app.middlewares().at(0));
    app.middlewares().clear();
    app.middlewares().shrink_to_fit();
    const Overwritten overwritten;
    await(asyncio::sleep(1s));
    return web::Response({.text = "the handler"});
  });
  support::with_app(
      app, [](TestClient& client) { CHECK(await(client.get("/")).text() == "the middleware"); });
}

TEST_CASE("a task that reads the whole body may be surprised by the end of its request") {
  Events events;
  asyncio::Task<> task;
  with_server(
      [&](web::Request& request) {
        task = asyncio::create_task([&] { events(thrown_by([&] { await(request.read()); })); });
        web::StreamResponse response;
        await(response.prepare(request));
        const auto transport = request.connection().writer().transport();
        while (transport.get_write_buffer_size() == 0)
          await(response.write(std::string(32 * 1024, 'x')));
        return response;
      },
      {},
      [&](TestClient& client, const web::Server&) {
        Peer peer(client);
        peer.streams.second.transport().pause_reading();
        peer.write(post(100'000) + "abc");
        await(asyncio::sleep(1s));
        const Overwritten overwritten;
        peer.write(std::string(1000, 'b'));
        await(asyncio::sleep(1s));
        CHECK(events.take() == "PayloadAccessError('the request was answered already')");
        peer.streams.second.transport().abort();
        await(task);
      });
}

TEST_CASE("a write that is given up leaves neither its time limit nor its marks") {
  Events events;
  with_server(
      [&](web::Request& request) {
        web::StreamResponse response;
        await(response.prepare(request));
        CHECK(given_up(1s, [&] { await(response.write(kMuch)); }));
        web::detail::Connection& connection = request.connection();
        const auto transport = connection.writer().transport();
        const auto marks = transport.get_write_buffer_limits();
        CHECK(given_up(1s, [&] { connection.drain(true); }));
        CHECK(transport.get_write_buffer_limits() == marks);
        // Two that wait for all, at once.
        const auto other = asyncio::create_task([&] { connection.drain(true); });
        CHECK(given_up(1s, [&] { connection.drain(true); }));
        await(other);
        CHECK(transport.get_write_buffer_limits() == marks);
        await(asyncio::sleep(60s));
        events(thrown_by([&] { await(response.write("end")); }).empty() ? "written" : "lost");
        return response;
      },
      {.write_timeout = 5s},
      [&](TestClient& client, const web::Server&) {
        Peer peer(client);
        peer.write(kGet);
        await(asyncio::sleep(4s));
        CHECK(size_of_answer(peer) > kMuch.size());
        CHECK(events.take() == "written");
      });
}

TEST_CASE("a read that is given up leaves no time limit") {
  with_server(
      [&](web::Request& request) {
        const web::StreamReader content = request.content();
        CHECK(given_up(1s, [&] { await(content.readexactly(10)); }));
        await(asyncio::sleep(60s));
        return web::Response({.text = await(content.readexactly(10))});
      },
      {.body_timeout = 5s},
      [](TestClient& client, const web::Server&) {
        Peer peer(client);
        peer.write(post(10));
        await(asyncio::sleep(20s));
        peer.write("0123456789");
        await(asyncio::sleep(60s));
        peer.streams.second.write_eof();
        CHECK(peer.rest().ends_with("\r\n\r\n0123456789"));
      });
}

TEST_CASE("a peer that sends a little now and then must read, too") {
  Events events;
  with_server(
      [&](web::Request& request) -> web::StreamResponse {
        const auto reader = asyncio::create_task([content = request.content()] {
          for (const std::string& piece : content.iter_any()) static_cast<void>(piece);
        });
        web::StreamResponse response;
        await(response.prepare(request));
        await(asyncio::sleep(1s));
        events(thrown_by([&] {
                 for (;;) await(response.write(kMuch));
               }).substr(0, 20));
        static_cast<void>(thrown_by([&] { await(reader); }));
        return response;
      },
      {.write_timeout = 7s},
      [&](TestClient& client, const web::Server& server) {
        const SilentPeer peer(client);
        peer.send(post(1000));
        for (int i = 0; i < 30; ++i) {
          await(asyncio::sleep(1s));
          peer.send("x");
        }
        CHECK(events.take() == "ConnectionResetError");
        CHECK(server.connections() == 0);
      });
}

TEST_CASE("an answer to a body that is too slow arrives, though the body goes on") {
  for (const bool keeps_sending : {false, true}) {
    CAPTURE(keeps_sending);
    with_server(
        [](web::Request& request) {
          CHECK_THROWS_AS(await(request.read()), web::HTTPRequestTimeout);
          await(asyncio::sleep(5s));
          CHECK_THROWS_AS(await(request.read()), web::HTTPRequestTimeout);
          return web::Response({.status = 503, .text = "too slow"});
        },
        {.body_timeout = 3s},
        [&](TestClient& client, const web::Server& server) {
          Peer peer(client);
          peer.write(post(1'000'000));
          for (int i = 0; i < 10 && keeps_sending; ++i) {
            await(asyncio::sleep(1s));
            peer.write(std::string(i < 4 ? 10 : 20'000, 'a'));
          }
          const std::string answer = peer.rest();
          CHECK(first_line(answer) == "HTTP/1.1 503 Service Unavailable");
          CHECK(answer.ends_with("too slow"));
          peer.streams.second.close();
          await(asyncio::sleep(1s));
          CHECK(server.connections() == 0);
        });
  }
}

TEST_CASE("an answer to a head that is too slow arrives, though the head goes on") {
  with_server([](web::Request&) { return web::Response(); }, {.head_timeout = 3s},
              [](TestClient& client, const web::Server&) {
                const SilentPeer peer(client);
                peer.send("GET / HTTP/1.1\r\n");
                for (int i = 0; i < 5; ++i) {
                  await(asyncio::sleep(1s));
                  peer.send("A: b\r\n");
                }
                std::string answer(1000, '\0');
                CHECK(::recv(peer.fd(), answer.data(), answer.size(), MSG_DONTWAIT) > 0);
                CHECK(first_line(answer) == "HTTP/1.1 408 Request Timeout");
              });
}

TEST_CASE("a WebSocket whose peer reads nothing counts until it is given up") {
  with_server(
      [](web::Request& request) {
        web::WebSocketResponse ws({.timeout = 1s, .compress = false});
        await(ws.prepare(request));
        CHECK(given_up(1s, [&] { await(ws.send_bytes(kMuch)); }));
        return ws;
      },
      {.write_timeout = 20s, .max_connections = 1},
      [](TestClient& client, const web::Server& server) {
        const SilentPeer peer(client);
        peer.send(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        await(asyncio::sleep(10s));
        CHECK(server.connections() == 1);
        CHECK(first_line(Peer(client).rest()) == "HTTP/1.1 503 Service Unavailable");
        await(asyncio::sleep(30s));
        CHECK(server.connections() == 0);
        // The bytes that the kernel had are here, and then the connection ends.
        std::string block(1 << 20, '\0');
        ssize_t count = 1;
        while (count > 0) count = ::recv(peer.fd(), block.data(), block.size(), MSG_DONTWAIT);
        CHECK((count == 0 || errno == ECONNRESET));
      });
}

TEST_CASE("of two tasks that read one body the second is refused, and the first waits on") {
  support::Log log;
  Events events;
  std::vector<asyncio::Task<>> tasks;
  with_server(
      [&](web::Request& request) {
        for (int i = 0; i < 2; ++i)
          tasks.push_back(asyncio::create_task([&, content = request.content()] {
            events(thrown_by([&] { await(content.read()); }));
          }));
        await(asyncio::sleep(1s));
        return web::Response({.text = "done"});
      },
      {},
      [&](TestClient& client, const web::Server&) {
        CHECK(await(client.raw(post(100) + "abc")).ends_with("done"));
        for (const auto& task : tasks) await(task);
        CHECK(events.take() ==
              "RuntimeError('another task waits for the body of this request already') "
              "PayloadAccessError('the request was answered already')");
        CHECK(log.take() == "");  // the connection has ended in good order
      });
}

TEST_CASE("a cleanup that is cancelled can be completed") {
  Events events;
  web::Application app;
  bool slow = true;
  const auto context = [&events](const std::string& name) {
    return [&events, name](web::Application&) -> fiber::Generator<int> {
      return [&events, name](auto& self) {
        self.yield(0);
        events("leave " + name);
        if (name == "2") await(asyncio::sleep(10s));
      };
    };
  };
  for (const char* name : {"1", "2", "3"}) app.cleanup_ctx().append(context(name));
  app.on_shutdown().append([&](web::Application&) {
    events("shutdown");
    if (slow) await(asyncio::sleep(10s));
  });
  app.on_cleanup().append([&](web::Application&) { events("cleanup"); });
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    CHECK(given_up(1s, [&] { await(runner.cleanup()); }));
    CHECK(events.take() == "shutdown");
    CHECK_THROWS_AS(await(web::TCPSite(runner, "127.0.0.1", 0).start()), fiber::RuntimeError);
    slow = false;
    CHECK(given_up(1s, [&] { await(runner.cleanup()); }));
    CHECK(events.take() == "shutdown leave 3 leave 2");
    await(runner.cleanup());
    CHECK(events.take() == "shutdown leave 1 cleanup");
    CHECK(runner.sites().empty());
    await(runner.cleanup());
    CHECK(events.take().empty());
  });
}

TEST_CASE("a handler that swallows its cancellation does not hold up the clean-up") {
  Events events;
  web::Application app;
  asyncio::FutureRef handler;
  app.router().add_get("/", [&](web::Request&) {
    handler = asyncio::current_task();
    try {
      await(asyncio::sleep(1h));
    } catch (const asyncio::CancelledError&) {
      events("swallowed");
    }
    await(asyncio::sleep(1h));
    return web::Response();
  });
  app.on_cleanup().append([&](web::Application&) { events("cleanup"); });
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app, {.shutdown_timeout = 10s});
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", site.port()));
    writer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await(asyncio::sleep(1s));
    const auto start = asyncio::get_running_loop().time();
    await(runner.cleanup());
    CHECK(asyncio::get_running_loop().time() - start == 20s);
    CHECK(events.take() == "swallowed cleanup");
    CHECK(await(reader.read()).empty());
    CHECK_FALSE(handler.done());
    handler.cancel();
    await(asyncio::wait({handler}));
    writer.close();
  });
}
