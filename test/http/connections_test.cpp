// Connections of both clients are made, used again, and closed.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>

#include "support/aiohttp_session.hpp"
#include "support/full_listener.hpp"
#include "support/http_client.hpp"
#include "support/http_outcome.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace requests = fiber::requests;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using namespace std::chrono_literals;
using support::HttpServer;
using support::text_of;
using support::with_session;

namespace {

const std::string ok = "HTTP/1.1 200 OK\r\n";

long descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

int port_of(const asyncio::Server& server) { return server.sockets().at(0).port(); }

template <class Serve>
asyncio::Server serve(Serve serve) {
  return await(asyncio::start_server(std::move(serve), "127.0.0.1", 0));
}

// Copies received bytes from one side to the other, up to the end.
void copy(const StreamReader& from, const StreamWriter& to) {
  for (std::string piece; !(piece = await(from.read(65536))).empty();) {
    to.write(piece);
    await(to.drain());
  }
  to.close();
}

void connect_through(const StreamReader& reader, const StreamWriter& writer, int port,
                     const std::string& answer) {
  auto [far_reader, far_writer] = await(asyncio::open_connection("127.0.0.1", port));
  writer.write(answer);
  await(asyncio::gather(asyncio::Coroutine<void>([&, to = far_writer] { copy(reader, to); }),
                        asyncio::Coroutine<void>([&, from = far_reader] { copy(from, writer); })));
}

// Returns the results of both clients for a URL through a proxy: "200 hello", or an exception's
// name.
std::pair<std::string, std::string> through(const std::string& url, const std::string& proxy) {
  const std::string blocking = await(asyncio::to_thread([&] {
    return support::with_requests(url, {.proxies = {{"all", proxy}}});
  }));
  std::string waiting;
  asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
    try {
      auto response = await(session.get(url, {.proxy = proxy}));
      waiting = std::to_string(response.status) + " " + await(response.read());
    } catch (const std::exception&) {
      waiting = support::detail::name_of_current_exception();
    }
  });
  return {blocking, waiting};
}

using Pair = std::pair<std::string, std::string>;

}  // namespace

TEST_CASE("a connection that the server has closed meanwhile is noticed before a POST is sent") {
  HttpServer server;
  server.answer_with("/once", {ok + "Content-Length: 0\r\n\r\n"});
  requests::Session session;
  session.get(server.url("/once"));
  CHECK(server.wait_until([&] { return server.open() == 0; }));
  CHECK(session.post(server.url("/fixed"), {.data = "x"}).content == "hello");
  with_session([&](aiohttp::ClientSession& client) {
    await(await(client.get(server.url("/once"))).read());
    // The loop must not run meanwhile.
    CHECK(server.wait_until([&] { return server.open() == 1; }));
    std::this_thread::sleep_for(20ms);
    CHECK(await(await(client.post(server.url("/fixed"), {.data = "x"})).read()) == "hello");
    await(await(client.get(server.url("/once"))).read());
    await(asyncio::sleep(20ms));
    CHECK(await(await(client.post(server.url("/fixed"), {.data = "x"})).read()) == "hello");
  });
  CHECK(server.requests() == 6);
}

TEST_CASE("unrequested bytes of a server are no answer to the next request") {
  HttpServer server;
  const std::string forged = ok + "Content-Length: 6\r\n\r\nforged";
  server.answer_with("/both", {ok + "Content-Length: 1\r\n\r\nx" + forged, {}, 0, true});
  server.answer_with("/later", {ok + "Content-Length: 1\r\n\r\nx", forged, 1, true});
  requests::Session session;
  for (const char* path : {"/both", "/later"}) {
    const int before = server.connections();
    CHECK(session.get(server.url(path)).content == "x");
    std::this_thread::sleep_for(100ms);
    CHECK(session.get(server.url("/fixed")).content == "hello");
    CHECK(server.connections() - before <= 2);
    with_session([&](aiohttp::ClientSession& client) {
      CHECK(await(await(client.get(server.url(path))).read()) == "x");
      await(asyncio::sleep(100ms));
      CHECK(await(await(client.get(server.url("/fixed"))).read()) == "hello");
    });
  }
}

TEST_CASE("requests share a connection, but not one with a body that has not arrived") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    for (int i = 0; i < 5; ++i) {
      auto response = await(session.get(server.url("/fixed")));
      CHECK(await(response.read()) == "hello");
    }
    CHECK(server.connections() == 1);
    await(session.get(server.url("/stalled"))).release();
    CHECK(await(await(session.get(server.url("/fixed"))).read()) == "hello");
    CHECK(server.connections() == 2);
  });
}

TEST_CASE("many sessions, cancelled and failed connections leave no descriptor behind") {
  HttpServer server;
  asyncio::run([&] { CHECK(support::with_requests(server.url("/fixed")) == "200 hello"); });
  const long before = descriptors();
  auto listener = std::make_unique<support::FullListener>();
  const std::string on_its_way = listener->url();
  const std::string nobody = "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()) + "/";
  with_session([&](aiohttp::ClientSession& session) {
    for (int i = 0; i < 10; ++i) {
      auto task = asyncio::create_task(session.get(on_its_way));
      await(asyncio::sleep(1ms));
      task.cancel();
      CHECK_THROWS_AS(await(task), asyncio::CancelledError);
      CHECK_THROWS_AS(await(session.get(nobody)), aiohttp::ClientConnectorError);
      const aiohttp::ClientTimeout soon{.sock_connect = 5ms};
      CHECK_THROWS_AS(await(session.get(on_its_way, {.timeout = soon})),
                      aiohttp::ServerTimeoutError);
      CHECK(support::with_requests(nobody) == "ConnectionError");
      CHECK(support::with_requests(on_its_way, {.timeout = 5ms}) == "ConnectTimeout");
    }
    auto pending = asyncio::create_task(session.get(on_its_way));
    await(asyncio::sleep(1ms));
    await(session.close());
    CHECK_THROWS_AS(await(pending), aiohttp::ClientConnectionError);
    await(asyncio::sleep(1ms));
    CHECK(asyncio::all_tasks().size() == 1);
  });
  listener.reset();
  CHECK(server.wait_until([&] { return descriptors() <= before; }));
}

TEST_CASE("a name is looked up, and all of its addresses tried") {
  HttpServer server;  // listens at 127.0.0.1 only
  const std::string url = "http://localhost:" + std::to_string(server.port()) + "/fixed";
  CHECK(support::with_requests(url) == "200 hello");
  CHECK(support::with_requests(url, {.timeout = 10s}) == "200 hello");
  CHECK(support::with_aiohttp(url) == "200 hello");
}

TEST_CASE("SOCKS proxies make connections, by address, by name and with credentials") {
  HttpServer server;
  asyncio::run([&] {
    std::vector<std::string> asked;
    auto proxy = serve([&](StreamReader& reader, StreamWriter& writer) {
      std::string seen = await(reader.readexactly(1));
      if (seen == "\x04") {
        seen += await(reader.readexactly(7));
        seen += await(reader.readuntil(std::string(1, '\0')));
        if (seen.substr(4, 3) == std::string(3, '\0') && seen[7] != '\0')
          seen += await(reader.readuntil(std::string(1, '\0')));
        asked.push_back(seen.substr(8));
        connect_through(reader, writer, server.port(), std::string("\0\x5a\0\0\0\0\0\0", 8));
        return;
      }
      const std::string count = await(reader.readexactly(1));
      const std::string methods = await(reader.readexactly(static_cast<std::size_t>(count[0])));
      std::string said = "5";
      if (methods.find('\x02') != methods.npos) {
        writer.write("\x05\x02");
        await(reader.readexactly(1));
        for (int i = 0; i < 2; ++i) {
          const std::string size = await(reader.readexactly(1));
          said += " " + await(reader.readexactly(static_cast<std::size_t>(size[0])));
        }
        writer.write(std::string("\x01\0", 2));
      } else {
        writer.write(std::string("\x05\0", 2));
      }
      const std::string head = await(reader.readexactly(4));
      if (head[3] == '\x03') {
        const std::string size = await(reader.readexactly(1));
        said += " name " + await(reader.readexactly(static_cast<std::size_t>(size[0])));
      } else {
        said += " address";
        await(reader.readexactly(4));
      }
      await(reader.readexactly(2));
      asked.push_back(said);
      connect_through(reader, writer, server.port(), std::string("\x05\0\0\x01\0\0\0\0\0\0", 10));
    });
    const std::string at = "127.0.0.1:" + std::to_string(port_of(proxy));
    const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + "/fixed";
    const std::string named = "http://example.invalid:" + std::to_string(server.port()) + "/fixed";
    const Pair hello{"200 hello", "200 hello"};
    CHECK(through(url, "socks4://me@" + at) == hello);
    CHECK(through(named, "socks4a://" + at) == hello);
    CHECK(through(url, "socks5://" + at) == hello);
    CHECK(through(named, "socks5h://user:pass@" + at) == hello);
    const std::string nul(1, '\0');
    CHECK(asked == std::vector<std::string>{"me" + nul, "me" + nul, nul + "example.invalid" + nul,
                                            nul + "example.invalid" + nul, "5 address", "5 address",
                                            "5 user pass name example.invalid",
                                            "5 user pass name example.invalid"});
    // For these proxies the client looks up the name, which does not exist.
    CHECK(through(named, "socks5://" + at) == Pair{"ConnectionError", "ClientConnectorError"});
    proxy.close();
  });
}

TEST_CASE("a proxy that refuses, talks nonsense or hangs up is a proxy's error") {
  asyncio::run([&] {
    std::string answer;
    auto proxy = serve([&](StreamReader& reader, StreamWriter& writer) {
      await(reader.read(1000));
      writer.write(answer);
      writer.close();
    });
    const std::string at = "127.0.0.1:" + std::to_string(port_of(proxy));
    const Pair refused{"ProxyError", "ClientProxyConnectionError"};
    for (const std::string& each :
         {std::string("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
          std::string("nonsense\r\n"), std::string(),
          std::string("HTTP/1.1 200 OK\r\n\r\nearly")}) {
      answer = each;
      CAPTURE(each);
      CHECK(through("https://example.invalid/", "http://" + at) == refused);
    }
    for (const std::string& each :
         {std::string("\0\x5b\0\0\0\0\0\0", 8), std::string("\0\x5a", 2)}) {
      answer = each;
      CHECK(through("http://example.invalid/", "socks4a://" + at) == refused);
    }
    for (const std::string& each : {std::string("\x05\xff", 2), std::string("\x05\x02", 2),
                                    std::string("HTTP"), std::string()}) {
      answer = each;
      CHECK(through("http://example.invalid/", "socks5h://" + at) == refused);
    }
    CHECK(through("http://example.invalid/", "gopher://" + at) == refused);
    proxy.close();
  });
}
