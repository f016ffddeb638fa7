#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using namespace std::chrono_literals;
using support::HttpServer;
using support::text_of;
using support::with_session;

namespace {

static_assert(std::is_nothrow_copy_constructible_v<aiohttp::ClientResponseError>);
static_assert(std::is_nothrow_copy_constructible_v<aiohttp::ClientConnectorError>);

}  // namespace

TEST_CASE("with(session.get()) lends a response whose body is read once and again") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    asyncio::with(session.get(server.url("/fixed")), [&](auto& response) {
      CHECK(response.status == 200);
      CHECK(response.reason == "OK");
      CHECK(response.ok());
      CHECK(response.method == "GET");
      CHECK(response.url == server.url("/fixed"));
      CHECK(response.headers["content-length"] == "5");
      CHECK(response.content_type() == "text/plain");
      CHECK(await(response.read()) == "hello");
      CHECK(await(response.text()) == "hello");
      CHECK(response.content.at_eof());
      CHECK_NOTHROW(response.raise_for_status());
      CHECK_FALSE(response.closed());
    });
  });
}

TEST_CASE("a media type is compared in lower case, and is never empty") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto type_of = [&](const std::string& value) {
      server.answer_with(
          "/typed", {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type:" + value + "\r\n\r\n"});
      return await(session.get(server.url("/typed"))).content_type();
    };
    CHECK(type_of(" Text/HTML; Charset=UTF-8") == "text/html");
    CHECK(type_of(" text/html ;a=b") == "text/html");
    CHECK(type_of("") == "application/octet-stream");
  });
}

TEST_CASE("a request that is made again is a request of its own") {
  HttpServer server;
  with_session({.headers = {{"X-Session", "1"}}}, [&](aiohttp::ClientSession& session) {
    const auto ask = [&](const char* method, const std::string& path) {
      auto response = await(session.request(method, server.url(path)));
      CHECK(response.request_info.headers["x-session"] == "1");
      response.request_info.headers.set("X-Session", "2");
      return response.method + " " + response.url.substr(server.url("").size()) + " " +
             response.request_info.url.substr(server.url("").size()) + " " + await(response.read());
    };
    for (int i = 0; i < 3; ++i) {
      CHECK(ask("GET", "/fixed#part") == "GET /fixed /fixed hello");
      CHECK(ask("get", "/fixed") == "GET /fixed /fixed hello");
      CHECK(ask("HEAD", "/fixed") == "HEAD /fixed /fixed ");
      CHECK(ask("GET", "/redirect/1") == "GET /fixed /fixed hello");
      CHECK(ask("POST", "/echo").starts_with("POST /echo /echo POST"));
      CHECK_THROWS_AS(await(session.get("ftp://x/")), aiohttp::InvalidURL);
      CHECK_THROWS_AS(await(session.request("GET GET", server.url("/fixed"))), fiber::ValueError);
    }
    const auto kept = session.get(server.url("/fixed"));
    await(session.close());
    CHECK_THROWS_AS(await(kept), fiber::RuntimeError);
  });
}

TEST_CASE("the fields of a response are its own, to be read, copied and changed") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/header-twice")));
    const aiohttp::CIMultiDict copy = response.headers, other = response.headers;
    CHECK(copy.size() == response.headers.size());
    CHECK(copy.contains("x-twice"));
    CHECK(copy.get("X-TWICE") == "1");
    CHECK(copy.get("X-None", "none") == "none");
    CHECK(copy.getall("x-twice") == std::vector<std::string>{"1", "2"});
    CHECK(copy["x-twice"] == "1");
    response.headers.set("X-Twice", "3");
    response.headers.erase("Content-Length");
    CHECK(response.headers.getall("X-Twice") == std::vector<std::string>{"3"});
    CHECK_FALSE(response.headers.contains("Content-Length"));
    CHECK(other == copy);
    std::string names;
    for (const auto& [name, value] : other) names += name + "=" + value + ";";
    CHECK(names.find("X-Twice=1;X-Twice=2;") != names.npos);
    CHECK_THROWS_AS(other["X-None"], fiber::LookupError);
    aiohttp::CIMultiDict none = other;
    none.clear();
    CHECK(none.empty());
    CHECK_FALSE(other.empty());
  });
}

TEST_CASE("a response may be awaited, too, and nothing is sent before") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto request = session.get(server.url("/bytes/100000"));
    await(asyncio::sleep(0s));
    CHECK(server.requests() == 0);
    auto response = await(request);
    CHECK(await(response.read()) == HttpServer::body(100'000));
    response.release();
    CHECK(response.closed());
  });
}

TEST_CASE("requests run side by side on one loop") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < 6; ++i)
      tasks.push_back(asyncio::create_task([&] {
        auto response = await(session.get(server.url("/gate/6")));
        return await(response.text());
      }));
    for (const auto& text : await(asyncio::gather(tasks))) CHECK(text == "through");
  });
}

TEST_CASE("other tasks run while one waits for the server") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto task = asyncio::create_task([&] {
      auto response = await(session.get(server.url("/pieces/3")));
      return await(response.read());
    });
    for (int i = 0; i < 3; ++i) {
      await(asyncio::sleep(1ms));
      CHECK_FALSE(task.done());
      server.release(1);
    }
    CHECK(await(task) == HttpServer::body(3));
  });
}

TEST_CASE("methods, parameters, headers, forms and authentication go out as asked") {
  HttpServer server;
  with_session({.headers = {{"X-Session", "1"}}}, [&](aiohttp::ClientSession& session) {
    const auto echo = [&](aiohttp::RequestContext request) { return await(await(request).text()); };
    const auto got = echo(session.get(server.url("/echo"), {.params = {{"q", "a b"}},
                                                            .headers = {{"X-One", "2"}},
                                                            .auth = aiohttp::BasicAuth{"u", "p"}}));
    CHECK(got.starts_with("GET /echo?q=a+b\r\n"));
    CHECK(got.find("X-Session: 1\r\n") != got.npos);
    CHECK(got.find("X-One: 2\r\n") != got.npos);
    CHECK(got.find("Authorization: Basic dTpw\r\n") != got.npos);
    const std::string url = server.url("/echo");
    const auto form = echo(session.post(url, {.data = aiohttp::Params{{"a", "b"}}}));
    CHECK(form.starts_with("POST "));
    CHECK(form.ends_with("\r\n\r\na=b"));
    const auto large = HttpServer::body(2'000'000);
    CHECK(echo(session.put(url, {.data = large})).ends_with("\r\n\r\n" + large));
    CHECK(echo(session.patch(url)).starts_with("PATCH "));
    CHECK(echo(session.delete_(url)).starts_with("DELETE "));
    CHECK(echo(session.options(url)).starts_with("OPTIONS "));
    CHECK(echo(session.request("BREW", url)).starts_with("BREW "));
    CHECK(echo(session.head(server.url("/fixed"))).empty());
  });
}

TEST_CASE("a session keeps its connections and its cookies") {
  HttpServer server;
  with_session({.cookies = {{"mine", "1"}}}, [&](aiohttp::ClientSession& session) {
    for (const char* path : {"/set-cookie?a=b", "/redirect/2", "/gzip", "/chunked"})
      await(await(session.get(server.url(path))).read());
    const auto echo = await(await(session.get(server.url("/echo"))).text());
    CHECK(echo.find("a=b") != echo.npos);
    CHECK(echo.find("mine=1") != echo.npos);
    CHECK(session.cookies() == aiohttp::Params{{"mine", "1"}, {"a", "b"}});
    CHECK(server.connections() == 1);
  });
}

TEST_CASE("a server may renew a cookie of the session's own, and a program clear it") {
  HttpServer server;
  with_session({.cookies = {{"sid", "old"}, {"odd", "a b"}}}, [&](aiohttp::ClientSession& session) {
    const auto sent = [&] {
      const auto echo = await(await(session.get(server.url("/echo"))).text());
      const auto begin = echo.find("Cookie: ");
      return begin == echo.npos ? "" : echo.substr(begin, echo.find('\r', begin) - begin);
    };
    CHECK(sent() == "Cookie: sid=old; odd=\"a b\"");
    await(session.get(server.url("/set-cookie?sid=new")));
    CHECK(sent() == "Cookie: sid=new; odd=\"a b\"");
    session.cookie_jar().clear();
    CHECK(sent() == "");
  });
  CHECK_THROWS_AS(aiohttp::ClientSession({.cookies = {{"a b", "1"}}}), fiber::ValueError);
  CHECK_THROWS_AS(aiohttp::ClientSession({.read_bufsize = 0}), fiber::ValueError);
}

TEST_CASE("redirects, compression and chunks are followed, undone and joined") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/redirect/3")));
    CHECK(response.url == server.url("/fixed"));
    CHECK(await(response.text()) == "hello");
    CHECK(await(await(session.get(server.url("/gzip"))).text()) == HttpServer::gzip_text());
    CHECK(await(await(session.get(server.url("/chunked"))).text()) == "one two three");
    const auto first = await(session.get(server.url("/redirect/1"), {.allow_redirects = false}));
    CHECK(first.status == 302);
    CHECK(await(session.head(server.url("/redirect/1"))).status == 302);
    CHECK_THROWS_AS(await(session.get(server.url("/loop"))), aiohttp::TooManyRedirects);
    const auto twice = await(session.get(server.url("/header-twice"))).headers;
    CHECK(twice.getall("X-Twice") == std::vector<std::string>{"1", "2"});
  });
}

TEST_CASE("a redirect keeps or changes the method as in Python") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto method = [&](const char* sent, int status) {
      const auto url = server.url("/redirect-as/" + std::to_string(status) + "?/echo");
      const auto text = await(await(session.request(sent, url, {.data = "body"})).text());
      return text.substr(0, text.find(' ')) + (text.ends_with("\r\n\r\nbody") ? " body" : "");
    };
    CHECK(method("POST", 302) == "GET");
    CHECK(method("POST", 307) == "POST body");
    CHECK(method("PUT", 302) == "PUT body");
    CHECK(method("PUT", 303) == "GET");
  });
}

TEST_CASE("the body can be read in pieces, by calls and by range-for") {
  HttpServer server;
  const auto whole = HttpServer::body(300'000);
  with_session([&](aiohttp::ClientSession& session) {
    const auto url = server.url("/bytes/300000");
    asyncio::with(session.get(url), [&](auto& response) {
      CHECK(await(response.content.read(10)) == whole.substr(0, 10));
      CHECK(await(response.content.read(0)).empty());
      CHECK_FALSE(response.content.at_eof());
      CHECK(await(response.content.read()) == whole.substr(10));
      CHECK(await(response.content.read(10)).empty());
      CHECK(response.content.at_eof());
    });
    std::string all;
    asyncio::with(session.get(url), [&](auto& response) {
      for (const std::string& piece : response.content.iter_chunked(1000)) {
        CHECK(piece.size() <= 1000);
        all += piece;
      }
    });
    CHECK(all == whole);
    all.clear();
    asyncio::with(session.get(url), [&](auto& response) {
      for (const std::string& piece : response.content.iter_any()) all += piece;
      CHECK(await(response.content.readany()).empty());
    });
    CHECK(all == whole);
    CHECK(server.connections() == 1);
  });
}

TEST_CASE("a slow reader holds the sender back") {
  HttpServer server;
  constexpr std::size_t size = 48 * 1024 * 1024;
  with_session([&](aiohttp::ClientSession& session) {
    asyncio::with(session.get(server.url("/bytes/" + std::to_string(size))), [&](auto& response) {
      await(asyncio::sleep(50ms));
      CHECK(server.sent() < size);
      std::size_t total = 0;
      bool right = true;
      for (const std::string& piece : response.content.iter_any()) {
        right = right && piece.size() <= 256 * 1024;
        for (std::size_t i = 0; i < piece.size(); i += 997)
          right = right && piece[i] == HttpServer::body_byte(total + i);
        total += piece.size();
      }
      CHECK(right);
      CHECK(total == size);
    });
  });
}

TEST_CASE("raise_for_status throws ClientResponseError with Python's text") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto url = server.url("/status/404");
    asyncio::with(session.get(url), [&](auto& response) {
      CHECK(text_of<aiohttp::ClientResponseError>([&] { response.raise_for_status(); }) ==
            "404, message='Not Found', url='" + url + "'");
      CHECK(await(response.text()) == "status 404");
    });
    CHECK_THROWS_AS(await(session.get(url, {.raise_for_status = true})), aiohttp::ClientError);
  });
  with_session({.raise_for_status = true}, [&](aiohttp::ClientSession& session) {
    try {
      await(session.get(server.url("/status/503")));
    } catch (const aiohttp::ClientResponseError& error) {
      CHECK(error.status() == 503);
      CHECK(error.message() == "Service Unavailable");
      CHECK(error.url() == server.url("/status/503"));
      CHECK(error.headers().contains("Content-Length"));
    }
  });
}

TEST_CASE("a connection dropped in the body is a ClientPayloadError, after what had arrived") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    for (const char* path : {"/dropped", "/dropped-chunk"}) {
      auto response = await(session.get(server.url(path)));
      CHECK_THROWS_AS(await(response.read()), aiohttp::ClientPayloadError);
    }
    auto response = await(session.get(server.url("/dropped")));
    CHECK(await(response.content.read(100)) == "hello");
    CHECK_THROWS_AS(await(response.content.read(100)), aiohttp::ClientPayloadError);
    auto broken = await(session.get(server.url("/bad-gzip")));
    CHECK_THROWS_AS(await(broken.read()), aiohttp::ClientPayloadError);
  });
}

TEST_CASE("no connection, no answer, no TLS and no HTTP have errors of their own") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto nobody = "127.0.0.1:" + std::to_string(HttpServer::unused_port());
    CHECK(text_of<aiohttp::ClientConnectorError>([&] {
            await(session.get("http://" + nobody + "/"));
          }) == "Cannot connect to host " + nobody + " [[Errno 111] Connection refused]");
    CHECK_THROWS_AS(await(session.get("http://" + nobody + "/")), fiber::OSError);
    CHECK_THROWS_AS(await(session.get("http://" + std::string(64, 'x') + "/")),
                    aiohttp::ClientConnectorError);
    CHECK_THROWS_AS(await(session.get(server.url("/no-answer"))), aiohttp::ServerDisconnectedError);
    CHECK_THROWS_AS(await(session.get(server.url("/garbage"))), aiohttp::ClientResponseError);
    CHECK_THROWS_AS(await(session.get("https" + server.url("/fixed").substr(4))),
                    aiohttp::ClientSSLError);
  });
}

TEST_CASE("URLs and headers that cannot be sent are refused") {
  with_session([&](aiohttp::ClientSession& session) {
    for (const char* url : {"foo", "", "ftp://x/", "http://", "http://[::1/"})
      CHECK_THROWS_AS(await(session.get(url)), aiohttp::InvalidURL);
    CHECK_THROWS_AS(await(session.get("foo")), fiber::ValueError);
    CHECK_THROWS_AS(await(session.get("http://x/", {.headers = {{"X", "a\nb"}}})),
                    fiber::ValueError);
  });
}

TEST_CASE("every error is a ClientError, a built-in exception and a std::exception") {
  with_session([&](aiohttp::ClientSession& session) {
    CHECK_THROWS_AS(await(session.get("foo")), aiohttp::ClientError);
    CHECK_THROWS_AS(await(session.get("foo")), fiber::Exception);
    CHECK_THROWS_AS(await(session.get("foo")), std::exception);
  });
  CHECK_THROWS_AS(throw aiohttp::ServerTimeoutError("late"), std::exception);
  CHECK_THROWS_AS(throw aiohttp::ServerTimeoutError("late"), aiohttp::ClientConnectionError);
  CHECK_THROWS_AS(throw aiohttp::ServerTimeoutError("late"), asyncio::TimeoutError);
  CHECK(fiber::repr(std::make_exception_ptr(aiohttp::ServerDisconnectedError())) ==
        "ServerDisconnectedError('Server disconnected')");
}

TEST_CASE("an exception leaves the scope of a response and of a session, closing both") {
  HttpServer server;
  CHECK(text_of<fiber::OSError>([&] {
          with_session([&](aiohttp::ClientSession& session) {
            asyncio::with(session.get(server.url("/stalled")),
                          [](auto&) { throw fiber::OSError("disk full"); });
          });
        }) == "disk full");
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("only one task at a time may read a response") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/stalled")));
    auto reader = asyncio::create_task(response.read());
    await(asyncio::sleep(20ms));
    CHECK_THROWS_AS(await(response.content.read()), fiber::RuntimeError);
    reader.cancel();
    CHECK_THROWS_AS(await(reader), asyncio::CancelledError);
  });
}
