#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using namespace std::chrono_literals;
using support::HttpServer;
using support::text_of;
using support::with_session;

TEST_CASE("the total timeout ends the wait for the head and the reading of the body") {
  HttpServer server;
  with_session({.timeout = {.total = 50ms}}, [&](aiohttp::ClientSession& session) {
    CHECK_THROWS_AS(await(session.get(server.url("/silent"))), asyncio::TimeoutError);
    auto response = await(session.get(server.url("/stalled")));
    CHECK_THROWS_AS(await(response.read()), asyncio::TimeoutError);
    CHECK(server.wait_until([&] { return server.open() == 0; }));
    const aiohttp::ClientTimeout none{.total = {}};
    CHECK(await(await(session.get(server.url("/slow/30"), {.timeout = none})).read()).size() == 30);
  });
}

TEST_CASE("each of many requests has the whole of the session's total timeout") {
  HttpServer server;
  with_session({.timeout = {.total = 100ms}}, [&](aiohttp::ClientSession& session) {
    const auto ask = [&](std::chrono::milliseconds pause) {
      return asyncio::create_task([&, pause] {
        await(asyncio::sleep(pause));
        const auto begin = asyncio::get_running_loop().time();
        CHECK_THROWS_AS(await(session.get(server.url("/silent"))), asyncio::TimeoutError);
        CHECK(asyncio::get_running_loop().time() - begin >= 100ms);
      });
    };
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(ask(i * 20ms));
      CHECK(await(await(session.get(server.url("/fixed"))).read()) == "hello");
    }
    for (auto& task : tasks) await(task);
    CHECK(await(await(session.get(server.url("/fixed"))).read()) == "hello");
  });
}

TEST_CASE("the timeout for silence is a ServerTimeoutError, and slow is not silent") {
  HttpServer server;
  const aiohttp::ClientTimeout silence{.total = {}, .sock_read = 50ms};
  with_session({.timeout = silence}, [&](aiohttp::ClientSession& session) {
    CHECK(text_of<aiohttp::ServerTimeoutError>([&] {
            await(session.get(server.url("/silent")));
          }) == "Timeout on reading data from socket");
    auto response = await(session.get(server.url("/stalled")));
    CHECK_THROWS_AS(await(response.read()), aiohttp::ServerTimeoutError);
    const aiohttp::ClientTimeout patient{.total = {}, .sock_read = 1s};
    auto slow = await(session.get(server.url("/slow/300"), {.timeout = patient}));
    CHECK(await(slow.read()).size() == 300);
  });
}

TEST_CASE("the time that the reader takes does not count as silence of the server") {
  HttpServer server;
  const aiohttp::ClientTimeout silence{.total = {}, .sock_read = 1s};
  with_session({.timeout = silence}, [&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/bytes/9000000")));
    await(asyncio::sleep(1200ms));
    CHECK(await(response.read()).size() == 9'000'000);
  });
}

TEST_CASE("the time that the source of a body takes does not count as silence of the server") {
  HttpServer server;
  const aiohttp::ClientTimeout silence{.total = {}, .sock_read = 1s};
  with_session({.timeout = silence}, [&](aiohttp::ClientSession& session) {
    const auto source = [pieces = 0]() mutable -> std::string {
      if (pieces == 2) return "";
      if (pieces++ == 1) await(asyncio::sleep(1200ms));
      return "piece";
    };
    auto response = await(session.post(server.url("/echo"), {.data = source}));
    CHECK(await(response.text()).ends_with("piecepiece"));
    CHECK_THROWS_AS(await(session.post(server.url("/silent"), {.data = "x"})),
                    aiohttp::ServerTimeoutError);
  });
}

TEST_CASE("the connect timeouts count the wait for a free connection, or the handshake alone") {
  HttpServer server;
  aiohttp::SessionOptions options;
  options.connector.limit = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto occupant = asyncio::create_task(session.get(server.url("/silent")));
    await(asyncio::sleep(0s));
    const aiohttp::ClientTimeout timeout{.connect = 50ms};
    CHECK_THROWS_AS(await(session.get(server.url("/fixed"), {.timeout = timeout})),
                    aiohttp::ServerTimeoutError);
    occupant.cancel();
    CHECK_THROWS_AS(await(occupant), asyncio::CancelledError);
    CHECK(await(session.get(server.url("/fixed"))).ok());
    // The connection is made in time; the server is silent for longer.
    const aiohttp::ClientTimeout both{.total = 150ms, .connect = 50ms};
    CHECK_THROWS_AS(await(session.get(server.url("/silent"), {.timeout = both})),
                    asyncio::TimeoutError);
  });
}

TEST_CASE("a session uses no more connections than its limits allow") {
  HttpServer server, other;
  aiohttp::SessionOptions options;
  const auto fetch_all = [&](int count) {
    with_session(options, [&](aiohttp::ClientSession& session) {
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < count; ++i)
        tasks.push_back(asyncio::create_task([&, i] {
          auto response = await(session.get((i % 2 ? other : server).url("/slow/3")));
          CHECK(await(response.read()).size() == 3);
        }));
      for (auto& task : tasks) await(task);
    });
  };
  options.connector.limit = 3;
  fetch_all(20);
  CHECK(server.most_active() <= 3);
  CHECK(server.connections() + other.connections() <= 6);
  options.connector.limit = 0;
  options.connector.limit_per_host = 2;
  fetch_all(20);
  CHECK(server.requests() + other.requests() == 40);
  CHECK(other.most_active() <= 3);
}

TEST_CASE("a response that has arrived whole leaves its place to the next, though it is held") {
  HttpServer server;
  aiohttp::SessionOptions options;
  options.connector.limit = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto held = await(session.get(server.url("/fixed")));
    CHECK(await(held.read()) == "hello");
    CHECK(await(asyncio::wait_for(session.get(server.url("/fixed")), 30s)).ok());
    CHECK_FALSE(held.closed());
  });
}

TEST_CASE("a request that waits for its host holds up none for another host") {
  HttpServer one, other;
  aiohttp::SessionOptions options;
  options.connector.limit = 2;
  options.connector.limit_per_host = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto holds_one = asyncio::create_task(session.get(one.url("/silent")));
    auto holds_other = asyncio::create_task(session.get(other.url("/silent")));
    await(asyncio::sleep(0s));
    auto for_one = asyncio::create_task(session.get(one.url("/fixed")));
    auto for_other = asyncio::create_task(session.get(other.url("/fixed")));
    await(asyncio::sleep(0s));
    holds_other.cancel();
    CHECK(await(asyncio::wait_for(for_other, 30s)).ok());
    CHECK_FALSE(for_one.done());
    holds_one.cancel();
    CHECK(await(for_one).ok());
  });
}

TEST_CASE("a session that is closed sends none of the requests that wait for a place") {
  HttpServer server;
  aiohttp::SessionOptions options;
  options.connector.limit = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 5; ++i)
      tasks.push_back(asyncio::create_task([&] { await(session.get(server.url("/silent"))); }));
    await(asyncio::sleep(50ms));
    await(session.close());
    for (const auto& task : tasks) CHECK_THROWS_AS(await(task), aiohttp::ClientConnectionError);
  });
  CHECK(server.requests() <= 1);
}

TEST_CASE("a redirect waits for a place at its new host, and leaves the one at the old host") {
  HttpServer one, other;
  one.answer_with(
      "/to",
      {"HTTP/1.1 302 R\r\nContent-Length: 0\r\nLocation: " + other.url("/fixed") + "\r\n\r\n",
       {},
       0,
       true});
  aiohttp::SessionOptions options;
  options.connector.limit_per_host = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto holds_other = asyncio::create_task(session.get(other.url("/silent")));
    await(asyncio::sleep(0s));
    auto redirected = asyncio::create_task(session.get(one.url("/to")));
    await(asyncio::sleep(0s));
    CHECK(await(asyncio::wait_for(session.get(one.url("/fixed")), 30s)).ok());
    await(asyncio::sleep(50ms));
    CHECK_FALSE(redirected.done());
    holds_other.cancel();
    CHECK(await(asyncio::wait_for(redirected, 30s)).ok());
  });
}

TEST_CASE("a hundred requests at a time is the default") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 200; ++i)
      tasks.push_back(asyncio::create_task([&] {
        auto response = await(session.get(server.url("/gate/100")));
        await(response.read());
        return response.status;
      }));
    for (const int status : await(asyncio::gather(tasks))) CHECK(status == 200);
  });
  CHECK(server.most_active() == 100);
  CHECK(server.connections() <= 100);
}

TEST_CASE("cancelling a task ends its transfer, whatever it waits for") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    for (const std::string path : {"/silent", "/stalled", "/bytes/50000000"}) {
      bool cancelled = false;
      auto task = asyncio::create_task([&] {
        try {
          asyncio::with(session.get(server.url(path)), [&](auto& response) {
            await(response.content.read(1));
            if (path == "/stalled") await(response.read());
            await(asyncio::sleep(1h));
          });
        } catch (const asyncio::CancelledError&) {
          cancelled = true;
          throw;
        }
      });
      CHECK(server.wait_until([&] {
        await(asyncio::sleep(1ms));
        return server.open() == 1;
      }));
      await(asyncio::sleep(5ms));
      task.cancel();
      CHECK_THROWS_AS(await(task), asyncio::CancelledError);
      CHECK(cancelled);
      CHECK(server.wait_until([&] { return server.open() == 0; }));
    }
  });
}

TEST_CASE("a task that is cancelled while it waits for its turn leaves the queue") {
  HttpServer server;
  aiohttp::SessionOptions options;
  options.connector.limit = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto first = asyncio::create_task(session.get(server.url("/silent")));
    auto second = asyncio::create_task(session.get(server.url("/echo")));
    auto third = asyncio::create_task(session.get(server.url("/fixed")));
    await(asyncio::sleep(1ms));
    second.cancel();
    CHECK_THROWS_AS(await(second), asyncio::CancelledError);
    first.cancel();
    CHECK_THROWS_AS(await(first), asyncio::CancelledError);
    CHECK(await(await(third).read()) == "hello");
  });
}

TEST_CASE("a slot given to a task that is cancelled in the same turn goes to the next") {
  HttpServer server;
  aiohttp::SessionOptions options;
  options.connector.limit = 1;
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto occupant = await(session.get(server.url("/stalled")));
    auto second = asyncio::create_task(session.get(server.url("/silent")));
    auto third = asyncio::create_task(session.get(server.url("/fixed")));
    await(asyncio::sleep(1ms));
    occupant.release();
    second.cancel();
    CHECK_THROWS_AS(await(second), asyncio::CancelledError);
    CHECK(await(await(third).read()) == "hello");
  });
}

TEST_CASE("leaving the scope of a response that has not been read closes its connection") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    asyncio::with(session.get(server.url("/bytes/50000000")),
                  [&](auto& response) { CHECK(response.status == 200); });
    CHECK(server.wait_until([&] { return server.open() == 0; }));
    auto response = await(session.get(server.url("/stalled")));
    response.release();
    CHECK_THROWS_AS(await(response.read()), aiohttp::ClientConnectionError);
    // It makes no difference whether the whole body has arrived.
    std::optional<aiohttp::ClientResponse> kept;
    std::optional<aiohttp::ClientResponse> known;
    asyncio::with(session.get(server.url("/fixed")), [&](auto& unread) { kept = unread; });
    CHECK_THROWS_AS(await(kept->text()), aiohttp::ClientConnectionError);
    CHECK_THROWS_AS(await(kept->content.read(2)), aiohttp::ClientConnectionError);
    CHECK_THROWS_AS(await(kept->content.readline()), aiohttp::ClientConnectionError);
    asyncio::with(session.get(server.url("/fixed")), [&](auto& read) {
      CHECK(await(read.read()) == "hello");
      known = read;
    });
    CHECK(await(known->text()) == "hello");
  });
}

TEST_CASE("closing a session ends its transfers with ClientConnectionError") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto waiting = asyncio::create_task(session.get(server.url("/silent")));
    auto response = await(session.get(server.url("/stalled")));
    auto reading = asyncio::create_task(response.read());
    auto complete = await(session.get(server.url("/fixed")));
    await(asyncio::sleep(20ms));
    await(session.close());
    CHECK(session.closed());
    CHECK_THROWS_AS(await(waiting), aiohttp::ClientConnectionError);
    CHECK_THROWS_AS(await(reading), aiohttp::ClientConnectionError);
    CHECK(await(complete.read()) == "hello");
    CHECK(text_of<fiber::RuntimeError>([&] { await(session.get(server.url("/fixed"))); }) ==
          "Session is closed");
    CHECK(server.wait_until([&] { return server.open() == 0; }));
    await(session.close());
  });
}

TEST_CASE("responses may outlive their session, and sessions their loop") {
  HttpServer server;
  std::optional<aiohttp::ClientResponse> response;
  std::optional<aiohttp::ClientSession> session;
  asyncio::run([&] {
    session.emplace();
    response = await(session->get(server.url("/bytes/9000000")));
  });
  session.reset();
  response.reset();
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("a session that was moved from is closed, and says what it is") {
  HttpServer server;
  const auto told = [](auto call) { return text_of<fiber::ValueError>(call); };
  const std::string moved = "this ClientSession was moved from";
  asyncio::run([&] {
    aiohttp::ClientSession session;
    aiohttp::ClientSession other(std::move(session));
    CHECK(session.closed());
    CHECK(told([&] { await(session.get(server.url("/fixed"))); }) == moved);
    CHECK(told([&] { await(session.close()); }) == moved);
    CHECK(told([&] { session.cookies(); }) == moved);
    CHECK(told([&] { session.cookie_jar(); }) == moved);
    session = std::move(other);
    CHECK(await(session.get(server.url("/fixed"))).ok());
    // The block of a with may move its session away, and a response, too.
    std::optional<aiohttp::ClientSession> kept;
    asyncio::with(aiohttp::ClientSession(), [&](aiohttp::ClientSession& lent) {
      asyncio::with(lent.get(server.url("/fixed")), [&](aiohttp::ClientResponse& response) {
        aiohttp::ClientResponse taken(std::move(response));
        CHECK(response.closed());
        CHECK_THROWS_AS(await(response.read()), aiohttp::ClientConnectionError);
        CHECK(await(taken.read()) == "hello");
      });
      kept.emplace(std::move(lent));
    });
    CHECK_FALSE(kept->closed());
    CHECK(await(kept->get(server.url("/fixed"))).ok());
  });
}

TEST_CASE("a session belongs to the loop that used it first") {
  HttpServer server;
  aiohttp::ClientSession session;
  asyncio::run([&] { CHECK(await(session.get(server.url("/fixed"))).ok()); });
  asyncio::run(
      [&] { CHECK_THROWS_AS(await(session.get(server.url("/fixed"))), fiber::RuntimeError); });
}

TEST_CASE("many transfers with new connections leave no descriptor behind") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    for (int round = 0; round < 5; ++round) {
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < 30; ++i)
        tasks.push_back(asyncio::create_task([&, i] {
          const char* const paths[] = {"/fixed", "/dropped", "/no-answer", "/bytes/200000"};
          try {
            auto response = await(session.get(server.url(paths[i % 4])));
            if (i % 3) await(response.read());
          } catch (const aiohttp::ClientError&) {
          }
        }));
      for (auto& task : tasks) await(task);
    }
  });
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}
