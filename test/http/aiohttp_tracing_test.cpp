// Functions that aiohttp calls during a request: TraceConfig and middlewares.

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <any>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using fiber::asyncio::await;
using support::HttpServer;
using support::text_of;
using support::with_session;
using Strings = std::vector<std::string>;

namespace {

// Records all events, without the server's address.
aiohttp::TraceConfig tracing(const HttpServer& server, Strings& seen) {
  const auto path = [root = server.url("")](const std::string& url) {
    return url.starts_with(root) ? url.substr(root.size()) : url;
  };
  aiohttp::TraceConfig trace;
  trace.on_request_start.append([&seen, path](aiohttp::TraceContext& context, const auto& params) {
    context.value = std::string("-");
    if (context.trace_request_ctx.has_value())
      context.value = std::any_cast<std::string>(context.trace_request_ctx);
    seen.push_back("start " + params.method + " " + path(params.url));
  });
  trace.on_request_chunk_sent.append([&seen](aiohttp::TraceContext&, const auto& params) {
    seen.push_back("sent " + std::string(params.chunk));
  });
  trace.on_request_redirect.append([&seen, path](aiohttp::TraceContext&, const auto& params) {
    seen.push_back("redirect " + params.method + " " + path(params.url) + " " +
                   std::to_string(params.response.status));
  });
  trace.on_request_end.append([&seen](aiohttp::TraceContext& context, const auto& params) {
    await(asyncio::sleep(0));
    seen.push_back("end " + std::to_string(params.response.status) + " " +
                   std::any_cast<std::string>(context.value));
  });
  trace.on_request_exception.append([&seen](aiohttp::TraceContext&, const auto& params) {
    const std::string text = fiber::repr(params.exception);
    seen.push_back("exception " + text.substr(0, text.find('(')));
  });
  trace.on_response_chunk_received.append([&seen](aiohttp::TraceContext&, const auto& params) {
    seen.push_back("received " + std::string(params.chunk));
  });
  trace.on_connection_queued_start.append(
      [&seen](aiohttp::TraceContext&, const auto&) { seen.push_back("queued"); });
  trace.on_connection_queued_end.append(
      [&seen](aiohttp::TraceContext&, const auto&) { seen.push_back("unqueued"); });
  return trace;
}

}  // namespace

TEST_CASE("traces see a request from its start to its end") {
  HttpServer server;
  Strings seen;
  with_session({.trace_configs = {tracing(server, seen)}}, [&](aiohttp::ClientSession& session) {
    auto response = await(
        session.post(server.url("/redirect-as/307?/fixed"),
                     {.params = {}, .data = "body", .trace_request_ctx = std::string("mine")}));
    await(response.text());
    await(response.read());
    CHECK(seen == Strings{"start POST /redirect-as/307?/fixed", "sent body",
                          "redirect POST /redirect-as/307?/fixed 307", "sent body", "end 200 mine",
                          "received hello"});
    seen.clear();
    await(session.post(server.url("/redirect-as/302?/fixed"), {.data = "body"}));
    CHECK(seen == Strings{"start POST /redirect-as/302?/fixed", "sent body",
                          "redirect POST /redirect-as/302?/fixed 302", "end 200 -"});
    seen.clear();
    await(session.get(server.url("/fixed"), {.params = {{"a", "b"}}}));
    CHECK(seen == Strings{"start GET /fixed?a=b", "end 200 -"});
    seen.clear();
    await(session.post(server.url("/fixed"), {.data = std::vector<std::string>{"one", "two"}}));
    CHECK(seen == Strings{"start POST /fixed", "sent one", "sent two", "end 200 -"});
  });
}

TEST_CASE("traces see failures, and their own exceptions are failures") {
  HttpServer server;
  Strings seen;
  aiohttp::TraceConfig strict = tracing(server, seen);
  with_session(
      {.raise_for_status = true, .trace_configs = {strict}}, [&](aiohttp::ClientSession& session) {
        CHECK_THROWS_AS(await(session.get(server.url("/status/404"))),
                        aiohttp::ClientResponseError);
        CHECK_THROWS_AS(await(session.get(server.url("/no-answer"))),
                        aiohttp::ServerDisconnectedError);
        CHECK_THROWS_AS(await(session.get("nonsense")), aiohttp::InvalidURL);
        CHECK(seen == Strings{"start GET /status/404", "exception ClientResponseError",
                              "start GET /no-answer", "exception ServerDisconnectedError"});
      });
  aiohttp::TraceConfig broken;
  broken.on_request_start.append(
      [](aiohttp::TraceContext&, const auto&) { throw std::runtime_error("no request today"); });
  with_session({.trace_configs = {broken}}, [&](aiohttp::ClientSession& session) {
    CHECK(text_of<std::runtime_error>([&] { await(session.get(server.url("/fixed"))); }) ==
          "no request today");
  });
}

TEST_CASE("traces see that a request waits for a connection") {
  HttpServer server;
  Strings seen;
  aiohttp::TraceConfig trace;
  for (auto* signal : {&trace.on_connection_queued_start})
    signal->append([&](aiohttp::TraceContext&, const auto&) { seen.push_back("queued"); });
  trace.on_connection_queued_end.append(
      [&](aiohttp::TraceContext&, const auto&) { seen.push_back("unqueued"); });
  with_session(
      {.connector = {.limit = 1}, .trace_configs = {trace}}, [&](aiohttp::ClientSession& session) {
        const auto get = [&] { await(await(session.get(server.url("/fixed"))).read()); };
        await(asyncio::gather(asyncio::Coroutine<void>(get), asyncio::Coroutine<void>(get)));
      });
  CHECK(seen == Strings{"queued", "unqueued"});
}

TEST_CASE("middlewares stand around each request, the first one outermost") {
  HttpServer server;
  Strings seen;
  const auto noting = [&](const std::string& name) {
    return [&seen, name](aiohttp::ClientRequest& request, const aiohttp::ClientHandler& handler) {
      seen.push_back(name + " " + request.method + " " +
                     request.url.substr(request.url.rfind('/')));
      request.headers.set("X-Way", request.headers.get("X-Way") + name);
      await(asyncio::sleep(0));
      aiohttp::ClientResponse response = handler(request);
      seen.push_back(name + " " + std::to_string(response.status));
      return response;
    };
  };
  with_session({.middlewares = {noting("a"), noting("b")}}, [&](aiohttp::ClientSession& session) {
    auto response = await(session.post(server.url("/redirect/1"), {.data = "x"}));
    CHECK(await(response.text()) == "hello");
    CHECK(seen == Strings{"a POST /1", "b POST /1", "b 302", "a 302", "a GET /fixed",
                          "b GET /fixed", "b 200", "a 200"});
    REQUIRE(response.history.size() == 1);
    CHECK(response.history[0].closed());
    CHECK(response.history[0].status == 302);
    for (const std::string& request : server.received())
      CHECK(request.find("\r\nX-Way: ab\r\n") != request.npos);
    seen.clear();
    CHECK(await(session.get(server.url("/fixed"), {.middlewares = aiohttp::ClientMiddlewares{}}))
              .ok());
    CHECK(seen.empty());
    CHECK(await(session.get(server.url("/redirect/1"), {.allow_redirects = false})).status == 302);
    CHECK(text_of<aiohttp::TooManyRedirects>([&] {
            await(session.get(server.url("/loop"), {.max_redirects = 3}));
          }) == "0, message='', url='" + server.url("/loop") + "'");
  });
}

TEST_CASE("a middleware may send a request again, and another one") {
  HttpServer server;
  server.answer_in_turn("/token",
                        {{"HTTP/1.1 401 R\r\nContent-Length: 2\r\n\r\nno", {}, 0, true},
                         {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", {}, 0, true}});
  const auto with_token = [](aiohttp::ClientRequest& request,
                             const aiohttp::ClientHandler& handler) {
    aiohttp::ClientResponse response = handler(request);
    if (response.status != 401) return response;
    request.headers.set("Authorization", "Bearer T");
    return handler(request);
  };
  with_session({.middlewares = {with_token}}, [&](aiohttp::ClientSession& session) {
    auto response =
        await(session.put(server.url("/token"), {.data = std::istringstream("the body")}));
    CHECK(await(response.text()) == "yes");
    CHECK(server.received().size() == 2);
    CHECK(server.received()[1].find("Authorization: Bearer T\r\n") != std::string::npos);
    for (const std::string& request : server.received())
      CHECK(request.ends_with("\r\n\r\nthe body"));
  });
}

TEST_CASE("a handler that a middleware has kept is refused after the request") {
  HttpServer server;
  aiohttp::ClientHandler kept;
  const auto keeping = [&](aiohttp::ClientRequest& request, const aiohttp::ClientHandler& handler) {
    kept = handler;
    return handler(request);
  };
  with_session({.middlewares = {keeping, keeping}}, [&](aiohttp::ClientSession& session) {
    CHECK(await(session.get(server.url("/fixed"))).ok());
    aiohttp::ClientRequest request{.method = "GET", .url = server.url("/fixed")};
    CHECK(text_of<fiber::RuntimeError>([&] { kept(request); }) ==
          "a ClientHandler was called after its request had ended");
  });
}

TEST_CASE("a session that is closed while a middleware waits sends nothing") {
  HttpServer server;
  asyncio::run([&] {
    aiohttp::ClientSession* its_session = nullptr;
    const auto closing = [&](aiohttp::ClientRequest& request,
                             const aiohttp::ClientHandler& handler) {
      await(its_session->close());
      return handler(request);
    };
    aiohttp::ClientSession session({.middlewares = {closing}});
    its_session = &session;
    CHECK_THROWS_AS(await(session.get(server.url("/fixed"))), aiohttp::ClientConnectionError);
  });
  CHECK(server.requests() == 0);
}

TEST_CASE("what a middleware throws, and what it makes of a request, is checked as any") {
  HttpServer server;
  const auto with = [&](auto change) {
    const auto middleware = [change](aiohttp::ClientRequest& request,
                                     const aiohttp::ClientHandler& handler) {
      change(request);
      return handler(request);
    };
    with_session({.middlewares = {middleware}}, [&](aiohttp::ClientSession& session) {
      await(session.get(server.url("/fixed"), {.cookies = {{"c", "1"}}}));
    });
  };
  CHECK_THROWS_AS(with([](auto& request) { request.headers.set("X", "1\r\nY: 2"); }),
                  fiber::ValueError);
  CHECK_THROWS_AS(with([](auto& request) { request.url = "file:///etc/passwd"; }),
                  aiohttp::InvalidURL);
  CHECK_THROWS_AS(with([](auto& request) { request.method = "GET / HTTP/1.1\r\nX: "; }),
                  fiber::ValueError);
  CHECK_THROWS_AS(with([](auto&) { throw std::logic_error("no"); }), std::logic_error);
  CHECK(server.requests() == 0);
  CHECK_NOTHROW(with([](auto&) {}));
  CHECK(server.received().back().find("Cookie: c=1\r\n") != std::string::npos);
}

TEST_CASE("the total timeout is one for all requests of the middlewares") {
  HttpServer server;
  int sent = 0;
  const auto for_ever = [&](aiohttp::ClientRequest& request,
                            const aiohttp::ClientHandler& handler) -> aiohttp::ClientResponse {
    for (;;) {
      ++sent;
      handler(request).release();
      await(asyncio::sleep(1ms));
    }
  };
  with_session({.timeout = {.total = 100ms}, .middlewares = {for_ever}},
               [&](aiohttp::ClientSession& session) {
                 CHECK_THROWS_AS(await(session.get(server.url("/fixed"))), fiber::TimeoutError);
               });
  CHECK(sent > 1);
}

TEST_CASE("credentials of the caller stay at their origin through middlewares, too") {
  HttpServer from, to;
  from.answer_in_turn(
      "/from", {{"HTTP/1.1 302 R\r\nLocation: " + to.url("/echo") + "\r\nContent-Length: 0\r\n\r\n",
                 {},
                 0,
                 true}});
  const auto plain = [](aiohttp::ClientRequest& request, const aiohttp::ClientHandler& handler) {
    return handler(request);
  };
  with_session({.middlewares = {plain}}, [&](aiohttp::ClientSession& session) {
    await(session.get(from.url("/from"), {.cookies = {{"c", "1"}},
                                          .headers = {{"Proxy-Authorization", "P"}},
                                          .auth = aiohttp::BasicAuth{"u", "p"}}));
    CHECK(from.received().back().find("\r\nAuthorization: Basic dTpw\r\n") != std::string::npos);
    CHECK(from.received().back().find("\r\nCookie: c=1\r\n") != std::string::npos);
    CHECK(to.received().back().find("Authorization") == std::string::npos);
    CHECK(to.received().back().find("Cookie") == std::string::npos);
  });
}
