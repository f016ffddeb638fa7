// Connectors of a session: resolvers, cached addresses, Unix sockets.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::SocketAddress;
using asyncio::StreamReader;
using asyncio::StreamWriter;

namespace {

using Events = std::vector<std::string>;

// Answers with the peer's address and the field Host. `last` counts requests that say that they are
// the last ones.
void serve(const StreamReader& reader, const StreamWriter& writer, int& last) {
  for (;;) {
    std::string head;
    try {
      head = await(reader.readuntil("\r\n\r\n"));
    } catch (const asyncio::IncompleteReadError&) {
      return writer.close();
    }
    if (head.find("\r\nConnection: close\r\n") != std::string::npos) ++last;
    std::string host = head.substr(head.find("Host: ") + 6);
    host.erase(host.find('\r'));
    const std::string text = writer.peername().host() + " " + host;
    writer.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" +
                 text);
  }
}

struct Server {
  explicit Server(const char* address = "127.0.0.1")
      : server(await(asyncio::start_server(
            [this](StreamReader& reader, StreamWriter& writer) {
              ++connections;
              serve(reader, writer, last);
            },
            address, 0))) {}
  ~Server() { server.close(); }
  int port() const { return server.sockets().at(0).port(); }
  std::string url(const std::string& host) const {
    return "http://" + host + ":" + std::to_string(port()) + "/";
  }
  std::string answer(const std::string& host, const std::string& peer = "127.0.0.1") const {
    return peer + " " + host + ":" + std::to_string(port());
  }

  int connections = 0, last = 0;
  asyncio::Server server;
};

std::string text_of(aiohttp::ClientSession& session, const std::string& url) {
  try {
    return await(await(session.get(url)).text());
  } catch (const aiohttp::ClientConnectorError&) {
    return "ClientConnectorError";
  }
}

}  // namespace

TEST_CASE("a resolver says where a host is, once for all who ask in its time") {
  asyncio::run([] {
    Server server;
    Events asked;
    aiohttp::TCPConnector connector{
        .family = AF_INET,
        .resolver =
            [&](const std::string& host, int port, int family) {
              asked.push_back(host + (port == server.port() ? " port" : "") +
                              (family == AF_INET ? " inet" : ""));
              await(asyncio::sleep(std::chrono::milliseconds(1)));
              if (host == "none.test") throw asyncio::gaierror(-2, "Name or service not known");
              return std::vector{SocketAddress("127.0.0.1", port)};
            },
        .force_close = true};
    asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
      const auto get = [&](const char* host) {
        return asyncio::Coroutine<std::string>(
            [&session, url = server.url(host)] { return text_of(session, url); });
      };
      const auto [one, two, three] =
          await(asyncio::gather(get("a.test"), get("a.test"), get("b.test")));
      CHECK(one == server.answer("a.test"));
      CHECK(two == server.answer("a.test"));
      CHECK(three == server.answer("b.test"));
      CHECK(await(get("a.test")) == server.answer("a.test"));
      CHECK(await(get("none.test")) == "ClientConnectorError");
      CHECK(await(get("none.test")) == "ClientConnectorError");
      // An address is not looked up.
      CHECK(await(get("127.0.0.1")) == server.answer("127.0.0.1"));
    });
    CHECK(asked == Events{"a.test port inet", "b.test port inet", "none.test port inet",
                          "none.test port inet"});
    CHECK(server.connections == 5);
    asked.clear();
    connector.use_dns_cache = false;
    asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
      for (int i = 0; i < 2; ++i)
        CHECK(text_of(session, server.url("a.test")) == server.answer("a.test"));
    });
    CHECK(asked.size() == 2);
  });
}

TEST_CASE("a task that gives up while a host is looked up leaves the other waiting tasks alone") {
  asyncio::run([] {
    Server server;
    int asked = 0;
    asyncio::Event asking, may_answer;
    aiohttp::TCPConnector connector{.resolver = [&](const std::string&, int port, int) {
      ++asked;
      asking.set();
      await(may_answer.wait());
      return std::vector{SocketAddress("127.0.0.1", port)};
    }};
    asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
      const auto get = [&] { return text_of(session, server.url("a.test")); };
      auto first = asyncio::create_task(get);
      await(asking.wait());
      auto second = asyncio::create_task(get);
      await(asyncio::sleep(0));
      first.cancel();
      CHECK_THROWS_AS(await(first), asyncio::CancelledError);
      may_answer.set();
      CHECK(await(second) == server.answer("a.test"));
    });
    CHECK(asked == 1);
  });
}

TEST_CASE("addresses that cannot be reached are tried in turn, and forgotten") {
  asyncio::run([] {
    Server server("127.0.0.2");
    std::vector<std::vector<const char*>> answers{
        {"127.0.0.3"}, {"127.0.0.3", "127.0.0.2"}, {"127.0.0.4"}};
    std::size_t asked = 0;
    aiohttp::TCPConnector connector{.resolver =
                                        [&](const std::string&, int port, int) {
                                          std::vector<SocketAddress> addresses;
                                          for (const char* address : answers.at(asked++))
                                            addresses.emplace_back(address, port);
                                          return addresses;
                                        },
                                    .force_close = true};
    for (const bool race : {true, false}) {
      asked = 0;
      if (!race) connector.happy_eyeballs_delay.reset();
      asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
        CHECK(text_of(session, server.url("a.test")) == "ClientConnectorError");
        // The local address is the server's unless local_addr is given.
        CHECK(text_of(session, server.url("a.test")) == server.answer("a.test", "127.0.0.1"));
        CHECK(text_of(session, server.url("a.test")) == server.answer("a.test", "127.0.0.1"));
      });
      CHECK(asked == 2);
    }
  });
}

TEST_CASE("the address to come from") {
  asyncio::run([] {
    Server server;
    aiohttp::TCPConnector connector{.local_addr = std::pair(std::string("127.0.0.9"), 0)};
    asyncio::with(aiohttp::ClientSession({.connector = connector}), [&](auto& session) {
      CHECK(text_of(session, server.url("127.0.0.1")) == server.answer("127.0.0.1", "127.0.0.9"));
    });
  });
}

TEST_CASE("connections are kept unless they are not to be") {
  asyncio::run([] {
    Server server;
    for (const bool force_close : {false, true}) {
      server.connections = 0;
      asyncio::with(aiohttp::ClientSession({.connector = {.force_close = force_close}}),
                    [&](auto& session) {
                      for (int i = 0; i < 3; ++i) text_of(session, server.url("127.0.0.1"));
                    });
      CHECK(server.connections == (force_close ? 3 : 1));
      CHECK(server.last == (force_close ? 3 : 0));
    }
  });
}

TEST_CASE("a Unix socket stands for every host") {
  asyncio::run([] {
    const std::string path = "/tmp/fiber-aiohttp-" + std::to_string(::getpid()) + ".sock";
    int connections = 0, last = 0;
    auto server = await(asyncio::start_unix_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          ++connections;
          serve(reader, writer, last);
        },
        path));
    asyncio::with(aiohttp::ClientSession({.connector = aiohttp::UnixConnector{path}}),
                  [&](auto& session) {
                    CHECK(text_of(session, "http://engine/containers") == " engine");
                    CHECK(text_of(session, "http://engine/images") == " engine");
                  });
    CHECK(connections == 1);
    asyncio::with(aiohttp::ClientSession({.connector = aiohttp::UnixConnector{path + ".none"}}),
                  [&](auto& session) {
                    CHECK(text_of(session, "http://engine/") == "ClientConnectorError");
                  });
    server.close();
  });
}
