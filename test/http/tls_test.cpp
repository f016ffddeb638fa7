// https of both clients, against a server of asyncio with certificates that the tests make.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/http/route.hpp>
#include <fiber/requests.hpp>
#include <fiber/ssl.hpp>

#include "ssl/tls.hpp"
#include "support/http_outcome.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace requests = fiber::requests;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using namespace std::chrono_literals;
using support::certificates;

namespace {

using Pair = std::pair<std::string, std::string>;
const Pair both_hello{"200 hello", "200 hello"};

struct Server {
  explicit Server(const ssl::SSLContext& context)
      : server(support::start_tls_server(
            [this](StreamReader& reader, StreamWriter& writer) { serve(reader, writer); },
            context)) {}
  ~Server() { server.close(); }

  void serve(const StreamReader& reader, const StreamWriter& writer) {
    ++connections;
    resumed += writer.get_extra_info(ssl::ssl_object)->session_reused() ? 1 : 0;
    try {
      for (;;) {
        const std::string head = await(reader.readuntil("\r\n\r\n"));
        last_head = head;
        ++count;
        if (head.starts_with("GET /cut")) {
          writer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
          await(writer.drain());
          return writer.transport().abort();
        }
        if (head.starts_with("GET /large"))
          writer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" +
                       std::string(1'000'000, 'x'));
        else
          writer.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        await(writer.drain());
        if (!head.starts_with("GET /last")) continue;
        await(told_to_go_on.wait());
        writer.write(last_words);
        break;
      }
    } catch (const std::exception&) {  // the end
    }
    writer.close();
    ended = true;
  }
  std::string url(const std::string& host, const std::string& path = "/") const {
    return "https://" + host + ":" + std::to_string(server.sockets().at(0).port()) + path;
  }

  int connections = 0, resumed = 0, count = 0;
  std::string last_head;   // of the last request
  std::string last_words;  // unasked-for bytes behind the answer to /last, after told_to_go_on
  asyncio::Event told_to_go_on;
  std::atomic<bool> ended = false;  // the server has closed a connection
  asyncio::Server server;
};

// Returns the results of both clients, called in a task: "200 hello", or an exception's name.
Pair ask(const std::string& url, requests::Options options) {
  const std::string blocking =
      await(asyncio::to_thread([&] { return support::with_requests(url, options); }));
  std::string waiting;
  asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
    aiohttp::RequestOptions same;
    if (options.verify) same.ssl = *options.verify;
    if (!options.proxies.empty()) same.proxy = options.proxies.front().second;
    try {
      auto response = await(session.get(url, std::move(same)));
      waiting = std::to_string(response.status) + " " + await(response.read());
    } catch (const std::exception&) {
      waiting = support::detail::name_of_current_exception();
    }
  });
  return {blocking, waiting};
}

std::string authority() { return certificates()("authority.pem"); }

}  // namespace

TEST_CASE("a server is believed if an authority of the bundle says who it is") {
  asyncio::run([] {
    Server server(support::server_context());
    const Pair refused{"SSLError", "ClientSSLError"};
    CHECK(ask(server.url("localhost"), {.verify = authority()}) == both_hello);
    CHECK(ask(server.url("127.0.0.1"), {.verify = authority()}) == both_hello);
    CHECK(ask(server.url("localhost"), {}) == refused);
    CHECK(ask(server.url("localhost"), {.verify = certificates()("strange_authority.pem")}) ==
          refused);
    CHECK(ask(server.url("localhost"), {.verify = false}) == both_hello);
    CHECK(server.count == 6);
    Server expired(support::server_context("expired.pem"));
    CHECK(ask(expired.url("localhost"), {.verify = authority()}) == refused);
    CHECK(ask(expired.url("localhost"), {.verify = false}) == both_hello);
    Server other(support::server_context("other.pem"));
    CHECK(ask(other.url("localhost"), {.verify = authority()}) == refused);
  });
}

TEST_CASE("a dot at the end of a host is of DNS: certificates and aiohttp's Host are without it") {
  asyncio::run([] {
    Server server(support::server_context());
    std::string asked;
    const aiohttp::TCPConnector connector{
        .ssl = authority(), .resolver = [&](const std::string& host, int port, int) {
          asked = host;
          return std::vector{asyncio::SocketAddress("127.0.0.1", port)};
        }};
    asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
      CHECK(await(session.get(server.url("localhost."))).status == 200);
    });
    CHECK(asked == "localhost.");
    CHECK(server.last_head.find("\r\nHost: localhost:") != std::string::npos);
  });
}

TEST_CASE("large bodies, cut ones and many requests over one connection") {
  asyncio::run([] {
    Server server(support::server_context());
    const Pair large{"200 " + std::string(1'000'000, 'x'), "200 " + std::string(1'000'000, 'x')};
    CHECK((ask(server.url("localhost", "/large"), {.verify = authority()}) == large));
    CHECK(ask(server.url("localhost", "/cut"), {.verify = authority()}) ==
          Pair{"ChunkedEncodingError", "ClientPayloadError"});
    server.connections = 0;
    await(asyncio::to_thread([&] {
      requests::Session session;
      session.verify = authority();
      for (int i = 0; i < 3; ++i) CHECK(session.get(server.url("localhost")).content == "hello");
    }));
    CHECK(server.connections == 1);
    asyncio::with(aiohttp::ClientSession({.connector = {.ssl = authority()}}), [&](auto& session) {
      for (int i = 0; i < 3; ++i)
        CHECK(await(await(session.get(server.url("localhost"))).read()) == "hello");
    });
    CHECK(server.connections == 2);
  });
}

TEST_CASE("a connection with TLS that the server has ended, with or without words, is not used") {
  asyncio::run([] {
    for (const char* words : {"", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"}) {
      Server server(support::server_context());
      server.last_words = words;
      const auto loop = asyncio::get_running_loop();
      await(asyncio::to_thread([&] {
        requests::Session session;
        session.verify = authority();
        CHECK(session.get(server.url("localhost", "/last")).content == "hello");
        loop.call_soon_threadsafe([&] { server.told_to_go_on.set(); });
        while (!server.ended) std::this_thread::yield();
        std::this_thread::sleep_for(100ms);
        CHECK(session.post(server.url("localhost"), {.data = "x"}).content == "hello");
      }));
      server.told_to_go_on.clear();
      asyncio::with(
          aiohttp::ClientSession({.connector = {.ssl = authority()}}), [&](auto& session) {
            CHECK(await(await(session.get(server.url("localhost", "/last"))).read()) == "hello");
            server.told_to_go_on.set();
            server.ended = false;
            while (!server.ended) await(asyncio::sleep(0));
            await(asyncio::sleep(100ms));
            CHECK(await(await(session.post(server.url("localhost"), {.data = "x"})).read()) ==
                  "hello");
          });
      CHECK(server.connections == 4);
    }
  });
}

TEST_CASE("a session of TLS is resumed by the next connection") {
  asyncio::run([] {
    Server server(support::server_context());
    await(asyncio::to_thread([&] {
      requests::Session session;
      session.verify = authority();
      session.get(server.url("localhost"));
      session.close();
      session.get(server.url("localhost"));
    }));
    CHECK(server.connections == 2);
    CHECK(server.resumed == 1);
    asyncio::with(aiohttp::ClientSession({.connector = {.ssl = authority()}}), [&](auto& session) {
      auto occupant = await(session.get(server.url("localhost", "/large")));
      CHECK(await(await(session.get(server.url("localhost"))).read()) == "hello");
    });
    CHECK(server.connections == 4);
    CHECK(server.resumed == 2);
  });
}

TEST_CASE("a context says whom to believe, and is a part of what connections are for") {
  asyncio::run([] {
    Server server(support::server_context());
    const ssl::SSLContext context = support::client_context();
    asyncio::with(aiohttp::ClientSession({.connector = {.ssl = context}}), [&](auto& session) {
      const auto get = [&](aiohttp::RequestOptions options) {
        try {
          return await(await(session.get(server.url("localhost"), std::move(options))).read());
        } catch (const aiohttp::ClientSSLError&) {
          return std::string("ClientSSLError");
        }
      };
      CHECK(get({}) == "hello");
      CHECK(get({.ssl = context}) == "hello");
      CHECK(server.connections == 1);
      CHECK(get({.ssl = true}) == "ClientSSLError");
      CHECK(get({.ssl = support::client_context()}) == "hello");
      CHECK(get({.ssl = false}) == "hello");
    });
    CHECK(server.count == 4);
  });
}

TEST_CASE("a session of TLS outlives a connection that was dropped") {
  asyncio::run([] {
    Server server(support::server_context());
    asyncio::with(aiohttp::ClientSession({.connector = {.ssl = authority()}}), [&](auto& session) {
      await(session.get(server.url("localhost", "/large"))).release();
      CHECK(await(await(session.get(server.url("localhost"))).read()) == "hello");
    });
    CHECK(server.connections == 2);
    CHECK(server.resumed == 1);
    await(asyncio::to_thread([&] {
      requests::Session session;
      session.verify = authority();
      session.get(server.url("localhost", "/large"), {.stream = true}).close();
      session.get(server.url("localhost"));
    }));
    CHECK(server.connections == 4);
    CHECK(server.resumed == 2);
  });
}

TEST_CASE("a certificate is for an address without its zone") {
  CHECK(fiber::http::tls_name("a.example") == "a.example");
  CHECK(fiber::http::tls_name("fe80::1%eth0.1") == "fe80::1");
}

TEST_CASE("a client shows its certificate") {
  asyncio::run([] {
    Server server(support::asking_context(ssl::CERT_REQUIRED));
    const auto get = [&](requests::Cert cert) {
      return await(asyncio::to_thread([&] {
        return support::with_requests(server.url("localhost"),
                                      {.verify = authority(), .cert = std::move(cert)});
      }));
    };
    CHECK(get(certificates()("client.pem")) == "200 hello");
    CHECK(get({}) != "200 hello");
    CHECK(get("/dev/null") == "SSLError");
  });
}

TEST_CASE("https goes through proxies, whose own TLS is another one") {
  asyncio::run([] {
    Server server(support::server_context());
    std::vector<std::string> asked;
    const auto tunnel = [&](StreamReader& reader, StreamWriter& writer) {
      const std::string head = await(reader.readuntil("\r\n\r\n"));
      asked.push_back(head.substr(0, head.find(' ')));
      auto [far_reader, far_writer] =
          await(asyncio::open_connection("127.0.0.1", server.server.sockets().at(0).port()));
      writer.write("HTTP/1.1 200 Connection established\r\n\r\n");
      const auto copy = [](const StreamReader& from, const StreamWriter& to) {
        try {
          for (std::string piece; !(piece = await(from.read(65536))).empty();) to.write(piece);
        } catch (const fiber::OSError&) {  // the client ends without close_notify
        }
        to.close();
      };
      await(asyncio::gather(
          asyncio::Coroutine<void>([&, to = far_writer] { copy(reader, to); }),
          asyncio::Coroutine<void>([&, from = far_reader] { copy(from, writer); })));
    };
    auto plain = await(asyncio::start_server(tunnel, "127.0.0.1", 0));
    auto secure = support::start_tls_server(tunnel, support::server_context());
    const auto at = [](const char* scheme, const asyncio::Server& proxy) {
      return scheme + std::to_string(proxy.sockets().at(0).port());
    };
    CHECK(ask(server.url("localhost"), {.proxies = {{"all", at("http://127.0.0.1:", plain)}},
                                        .verify = authority()}) == both_hello);
    CHECK(ask(server.url("localhost"), {.proxies = {{"all", at("https://localhost:", secure)}},
                                        .verify = authority()}) == both_hello);
    CHECK(asked == std::vector<std::string>(4, "CONNECT"));
    // The dot of a whole name is none of the certificate's.
    CHECK(ask(server.url("localhost."), {.proxies = {{"all", at("http://127.0.0.1:", plain)}},
                                         .verify = authority()}) == both_hello);
    // The certificate of the proxy is checked, too.
    CHECK(ask(server.url("localhost"), {.proxies = {{"all", at("https://localhost:", secure)}}}) ==
          Pair{"ProxyError", "ClientProxyConnectionError"});
    plain.close();
    secure.close();
  });
}
