// Members of aiohttp's session and response other than requests.

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
using fiber::asyncio::await;
using support::HttpServer;
using support::text_of;
using support::with_session;
using Strings = std::vector<std::string>;

namespace {

HttpServer::Canned answer(const std::string& body) {
  return {"HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
          {},
          0,
          true};
}

}  // namespace

TEST_CASE("history has the redirects, closed, with what was asked for") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.post(server.url("/redirect/2"), {.data = "x"}));
    CHECK(response.request_info.url == server.url("/fixed"));
    CHECK(response.request_info.method == "GET");
    REQUIRE(response.history.size() == 2);
    auto& first = response.history[0];
    CHECK(first.status == 302);
    CHECK(first.url == server.url("/redirect/2"));
    CHECK(first.method == "POST");
    CHECK(first.headers["Location"] == "/redirect/1");
    CHECK(first.closed());
    CHECK(first.content.at_eof());
    first.release();
    CHECK(text_of<aiohttp::ClientConnectionError>([&] { await(first.read()); }) ==
          "Connection closed");
    CHECK_THROWS_AS(await(first.content.readline()), aiohttp::ClientConnectionError);
    CHECK(response.history[1].method == "GET");
    CHECK(await(session.get(server.url("/fixed"))).history.empty());
  });
}

TEST_CASE("a field that is given twice is sent twice, by a request and by its session") {
  HttpServer server;
  aiohttp::CIMultiDict twice;
  twice.add("X-One", "1");
  twice.add("x-one", "2");
  aiohttp::SessionOptions options;
  options.headers.add("X-Two", "3");
  options.headers.add("X-Two", "4");
  options.headers.add("X-One", "0");
  with_session(options, [&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/fixed"), {.headers = twice}));
    const aiohttp::CIMultiDict& sent = response.request_info.headers;
    CHECK(sent.getall("X-One") == Strings{"1", "2"});
    CHECK(sent.getall("X-Two") == Strings{"3", "4"});
  });
}

TEST_CASE("lines come with their ends, however the body arrives") {
  HttpServer server;
  server.answer_with("/lines", answer("one\n\r\ntwo--\n\nthree"));
  server.answer_with("/slowly", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "a-b--c---", 1});
  with_session([&](aiohttp::ClientSession& session) {
    Strings lines;
    auto response = await(session.get(server.url("/lines")));
    for (const std::string& line : response.content.iter_lines()) lines.push_back(line);
    CHECK(lines == Strings{"one\n", "\r\n", "two--\n", "\n", "three"});
    CHECK(await(response.content.readline()) == "");
    CHECK(response.content.at_eof());

    auto slow = await(session.get(server.url("/slowly")));
    CHECK(await(slow.content.readuntil("--")) == "a-b--");
    CHECK(await(slow.content.readuntil("--")) == "c--");
    CHECK(await(slow.content.readuntil("--")) == "-");
    CHECK(await(slow.content.readuntil("--")) == "");
    CHECK(text_of<fiber::ValueError>([&] { await(slow.content.readuntil("")); }) ==
          "Separator should be at least one-byte string");
  });
}

TEST_CASE("a separator is found across the pieces of a body") {
  HttpServer server;
  for (const char* body : {"aab", "aaab", "abaab", "ab-aab", "aaaaab", "b", ""}) {
    server.answer_with("/slowly", {"HTTP/1.1 200 OK\r\nContent-Length: " +
                                       std::to_string(std::string(body).size()) + "\r\n\r\n",
                                   body, 1});
    const std::string text = body;
    const auto at = text.find("aab");
    const std::string expected = at == text.npos ? text : text.substr(0, at + 3);
    CAPTURE(text);
    with_session([&](aiohttp::ClientSession& session) {
      auto response = await(session.get(server.url("/slowly")));
      CHECK(await(response.content.readuntil("aab")) == expected);
    });
  }
}

TEST_CASE("an unknown encoding is an error if the caller gives it, not if the server does") {
  HttpServer server;
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=nonsense\r\n";
  server.answer_with("/text", {head + "Content-Length: 2\r\n\r\n\xe9x", {}, 0, true});
  server.answer_with("/empty", {head + "Content-Length: 0\r\n\r\n", {}, 0, true});
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/text")));
    CHECK(await(response.text()) == "\ufffdx");
    for (const char* name : {"utf-8", "UTF_8", "u8", "utf-8-sig", "cp65001"})
      CHECK(await(response.text(name)) == "\ufffdx");
    for (const char* name : {"latin-1", "ISO-8859-1", "cp1252"})
      CHECK(await(response.text(name)) == "\u00e9x");
    for (const std::string name : {"nonsense", "x/y", "mbcs", "-"})
      CHECK(text_of<fiber::LookupError>([&] { await(response.text(name)); }) ==
            "unknown encoding: " + name);
    CHECK(text_of<fiber::ValueError>([&] { await(response.text(std::string("a\0b", 3))); }) ==
          "embedded null character");
    // As in Python: where there is nothing to decode, the name is not looked up.
    CHECK(await(await(session.get(server.url("/empty"))).text("nonsense")) == "");
  });
}

TEST_CASE("a line has a limit") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/bytes/1000000")));
    CHECK(text_of<fiber::ValueError>([&] { await(response.content.readline()); }) ==
          "Chunk too big");
    server.answer_with("/line", answer("12345\n"));
    auto line = await(session.get(server.url("/line")));
    CHECK(text_of<fiber::ValueError>([&] { await(line.content.readline(5)); }) == "Chunk too big");
    CHECK(await(line.content.readline(6)) == "12345\n");
    auto exact = await(session.get(server.url("/line")));
    CHECK(await(exact.content.readexactly(2)) == "12");
    CHECK_THROWS_AS(await(exact.content.readexactly(5)), fiber::asyncio::IncompleteReadError);
  });
}

TEST_CASE("relative URLs are relative to base_url") {
  HttpServer server;
  with_session({.base_url = server.url("/a/b/")}, [&](aiohttp::ClientSession& session) {
    const auto asked = [&](const std::string& url, aiohttp::Params params = {}) {
      await(session.get(url, {.params = std::move(params)}));
      const std::string request = server.received().back();
      return request.substr(4, request.find("\r\n") - 4);
    };
    CHECK(asked("c") == "/a/b/c");
    CHECK(asked("/c?d=1", {{"e", "2"}}) == "/c?d=1&e=2");
    CHECK(asked("../c") == "/a/c");
    CHECK(asked("../../../../c") == "/c");
    CHECK(asked("?q=a:b") == "/a/b/?q=a:b");
    CHECK(asked(server.url("/elsewhere")) == "/elsewhere");
    CHECK(text_of<aiohttp::InvalidURL>([&] { await(session.get("ftp://127.0.0.1/")); }) ==
          "'ftp://127.0.0.1/' is neither http nor https");
    CHECK_THROWS_AS(await(session.get("//127.0.0.1/")), aiohttp::InvalidURL);
  });
  CHECK(text_of<fiber::ValueError>([&] {
          aiohttp::ClientSession session({.base_url = server.url("/a")});
        }) == "base_url must have a trailing '/'");
  CHECK(text_of<fiber::ValueError>([] { aiohttp::ClientSession session({.base_url = "a/"}); }) ==
        "Only absolute URLs are supported");
  with_session({.base_url = "http://127.0.0.1:" + std::to_string(server.port())},
               [&](aiohttp::ClientSession& session) { CHECK(await(session.get("fixed")).ok()); });
}

TEST_CASE("raise_for_status may be a function") {
  HttpServer server;
  Strings seen;
  const auto check = [&](aiohttp::ClientResponse& response) {
    seen.push_back(std::to_string(response.status) + " " + await(response.text()));
    if (!response.ok()) throw std::runtime_error("not ok");
  };
  with_session({.raise_for_status = check}, [&](aiohttp::ClientSession& session) {
    CHECK(await(session.get(server.url("/fixed"))).ok());
    CHECK(text_of<std::runtime_error>([&] { await(session.get(server.url("/status/500"))); }) ==
          "not ok");
    CHECK(seen == Strings{"200 hello", "500 status 500"});
    CHECK(await(session.get(server.url("/status/404"), {.raise_for_status = false})).status == 404);
    CHECK_THROWS_AS(await(session.get(server.url("/status/404"), {.raise_for_status = true})),
                    aiohttp::ClientResponseError);
  });
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("the session's auth is for requests without their own, at the origin of base_url") {
  HttpServer server, other;
  const aiohttp::BasicAuth auth{"s", "s"};
  const auto sent_to = [](HttpServer& asked) {
    const std::string head = asked.received().back();
    const auto begin = head.find("\r\nAuthorization: ");
    if (begin == std::string::npos) return std::string("none");
    return head.substr(begin + 17, head.find("\r\n", begin + 2) - begin - 17);
  };
  const std::string with_user = "http://u:p@127.0.0.1:" + std::to_string(server.port()) + "/fixed";
  with_session({.auth = auth}, [&](aiohttp::ClientSession& session) {
    await(session.get(other.url("/fixed")));
    CHECK(sent_to(other) == "Basic czpz");
    await(session.get(with_user));
    CHECK(sent_to(server) == "Basic dTpw");
    CHECK_THROWS_AS(await(session.get(with_user, {.auth = auth})), fiber::ValueError);
  });
  with_session({.base_url = server.url("/"), .auth = auth}, [&](aiohttp::ClientSession& session) {
    await(session.get("fixed"));
    CHECK(sent_to(server) == "Basic czpz");
    await(session.get(other.url("/fixed")));
    CHECK(sent_to(other) == "none");
    await(session.get(other.url("/fixed"), {.auth = auth}));
    CHECK(sent_to(other) == "Basic czpz");
  });
}

TEST_CASE("proxy= goes before the session's, and that before the environment's") {
  HttpServer one, two, server;
  const std::string at_one = "http://127.0.0.1:" + std::to_string(one.port());
  const std::string at_two = "http://127.0.0.1:" + std::to_string(two.port());
  with_session({.proxy = at_one}, [&](aiohttp::ClientSession& session) {
    await(session.get(server.url("/fixed")));
    CHECK(one.received().back().starts_with("GET " + server.url("/fixed") + "\r\n"));
    await(session.get(server.url("/fixed"),
                      {.proxy = at_two, .proxy_auth = aiohttp::BasicAuth{"u:", "p"}}));
    CHECK(two.received().back().find("\r\nProxy-Authorization: Basic dTo6cA==\r\n") !=
          std::string::npos);
    CHECK(server.requests() == 0);
    CHECK_THROWS_AS(await(session.get(server.url("/fixed"), {.proxy = "http://"})),
                    aiohttp::InvalidURL);
    CHECK_THROWS_AS(await(session.get(server.url("/fixed"),
                                      {.proxy = "http://127.0.0.1:" +
                                                std::to_string(HttpServer::unused_port())})),
                    aiohttp::ClientProxyConnectionError);
  });
}
