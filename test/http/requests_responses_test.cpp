// Members of a response of requests: history, links, lines and cookies; hooks.

#include <fiber/requests.hpp>

#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace requests = fiber::requests;
using support::HttpServer;
using support::text_of;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

static_assert(std::ranges::input_range<fiber::http::Lines>);

namespace {

std::string answer(const std::string& fields, const std::string& body, int status = 200) {
  return "HTTP/1.1 " + std::to_string(status) + " R\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

Strings lines(const std::string& content, std::size_t chunk_size,
              std::optional<std::string> delimiter = {}) {
  requests::Response response;
  response.content = content;
  Strings all;
  for (const std::string& line : response.iter_lines(chunk_size, std::move(delimiter)))
    all.push_back(line);
  return all;
}

requests::Response with_links(const std::string& value) {
  requests::Response response;
  response.headers.set("Link", value);
  return response;
}

}  // namespace

TEST_CASE("history has the redirects in order, with what they were and what was asked for") {
  HttpServer server;
  server.answer_with(
      "/from", {answer("Location: /redirect/2\r\nSet-Cookie: a=1\r\n", "moved", 301), {}, 0, true});
  const auto response = requests::post(server.url("/from"), {.data = "body"});
  CHECK(response.content == "hello");
  CHECK(response.request.method == "GET");
  CHECK(response.request.url == server.url("/fixed"));
  CHECK(response.request.path_url() == "/fixed");
  REQUIRE(response.history.size() == 3);
  const auto& first = response.history[0];
  CHECK(first.status_code == 301);
  CHECK(first.url == server.url("/from"));
  CHECK(first.content == "moved");
  CHECK(first.is_redirect());
  CHECK(first.is_permanent_redirect());
  CHECK(first.request.method == "POST");
  CHECK(first.cookies == requests::Params{{"a", "1"}});
  CHECK(response.history[1].url == server.url("/redirect/2"));
  CHECK(response.history[1].content == "elsewhere");
  CHECK_FALSE(response.history[1].is_permanent_redirect());
  CHECK(response.history[2].url == server.url("/redirect/1"));
  CHECK(requests::get(server.url("/fixed")).history.empty());
}

TEST_CASE("the body of a redirect is decompressed for its history, if it can be") {
  HttpServer server;
  server.answer_with(
      "/from",
      {answer("Location: /fixed\r\nContent-Encoding: gzip\r\n", "no gzip", 302), {}, 0, true});
  CHECK(requests::get(server.url("/from")).history.at(0).content == "no gzip");
  server.answer_with("/large", {answer("Location: /fixed\r\n", std::string(9'000'000, 'x'), 302)});
  CHECK(requests::get(server.url("/large")).history.at(0).content.size() <= 65536);
}

TEST_CASE("TooManyRedirects tells all of them") {
  HttpServer server;
  requests::Session session;
  session.max_redirects = 2;
  try {
    session.get(server.url("/loop"));
    FAIL("nothing was thrown");
  } catch (const requests::TooManyRedirects& error) {
    CHECK(error.response()->status_code == 302);
    CHECK(error.response()->history.size() == 2);
  }
}

TEST_CASE("a request's fields are those that were sent") {
  HttpServer server;
  const auto response = requests::post(
      server.url("/echo"), {.data = requests::Params{{"a", "1"}}, .headers = {{"X-One", "1"}}});
  CHECK(response.request.headers["x-one"] == "1");
  CHECK(response.request.headers["Accept"] == "*/*");
  CHECK(response.request.headers["Content-Type"] == "application/x-www-form-urlencoded");
  CHECK(response.request.body.bytes() == "a=1");
}

TEST_CASE("cookies are those that the response sets") {
  HttpServer server;
  server.answer_with("/cookies",
                     {answer("Set-Cookie: a=1; Path=/\r\nSet-Cookie: b = 2 ;HttpOnly\r\n"
                             "Set-Cookie: a=3\r\nSet-Cookie: junk\r\nSet-Cookie: =x\r\n"
                             "Set-Cookie: other=1; Domain=example.com\r\n"
                             "Set-Cookie: gone=1\r\nSet-Cookie: gone=; Max-Age=0\r\n",
                             ""),
                      {},
                      0,
                      true});
  requests::Session session;
  CHECK(session.get(server.url("/cookies")).cookies == requests::Params{{"b", "2"}, {"a", "3"}});
  CHECK(session.get(server.url("/fixed")).cookies.empty());
}

TEST_CASE("links are read as Python reads them") {
  using Links = std::map<std::string, requests::Response::Link>;
  CHECK(with_links("<http://a/b>; rel=\"next\", <http://a/c>; rel=last; title=\"x\"").links() ==
        Links{{"next", {{"url", "http://a/b"}, {"rel", "next"}}},
              {"last", {{"url", "http://a/c"}, {"rel", "last"}, {"title", "x"}}}});
  CHECK(with_links("<http://a>").links() == Links{{"http://a", {{"url", "http://a"}}}});
  CHECK(with_links("<a>; rel=next; bad; t=1").links() ==
        Links{{"next", {{"url", "a"}, {"rel", "next"}}}});
  CHECK(with_links("<x>;rel=\"a,b\",<y>; rel=b").links() ==
        Links{{"a,b", {{"url", "x"}, {"rel", "a,b"}}}, {"b", {{"url", "y"}, {"rel", "b"}}}});
  CHECK(with_links("<u>; a=b=c; d=e").links() == Links{{"u", {{"url", "u"}}}});
  CHECK(with_links("<p,q>; rel=z").links() == Links{{"z", {{"url", "p,q"}, {"rel", "z"}}}});
  CHECK(with_links("junk").links() == Links{{"junk", {{"url", "junk"}}}});
  CHECK(with_links("").links().empty());
  CHECK(with_links(" '\"").links().empty());
  CHECK(with_links("<a>,").links().size() == 1);
  CHECK(requests::Response().links().empty());
}

TEST_CASE("lines are the same, however the body comes in pieces") {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{512}}) {
    CAPTURE(size);
    CHECK(lines("", size) == Strings{});
    CHECK(lines("a", size) == Strings{"a"});
    CHECK(lines("a\nb", size) == Strings{"a", "b"});
    CHECK(lines("a\nb\n", size) == Strings{"a", "b"});
    CHECK(lines("\n\na\r\nb\rc\r\n\r\n", size) == Strings{"", "", "a", "b", "c", ""});
    CHECK(lines("a\x0b"
                "b\x0c"
                "c\x85"
                "d",
                size) == Strings{"a\x0b"
                                 "b\x0c"
                                 "c\x85"
                                 "d"});
    CHECK(lines("a\r", size) == Strings{"a"});
    CHECK(lines("a\r\r\n", size) == Strings{"a", ""});
    CHECK(lines("a\nb\n", size, "\n") == Strings{"a", "b", ""});
    CHECK(lines("a--b---c--", size, "--") == Strings{"a", "b", "-c", ""});
    CHECK(lines("", size, "--") == Strings{});
    CHECK(lines("ab", size, "abc") == Strings{"ab"});
    CHECK(lines("--", size, "--") == Strings{"", ""});
  }
  CHECK(text_of<fiber::ValueError>([] { lines("a", 1, ""); }) == "empty separator");
}

TEST_CASE("lines of a streamed body") {
  HttpServer server;
  server.answer_with("/lines", {answer("", "one\ntwo\r\nthree"), {}, 0, true});
  auto response = requests::get(server.url("/lines"), {.stream = true});
  Strings all;
  for (const std::string& line : response.iter_lines()) all.push_back(line);
  CHECK(all == Strings{"one", "two", "three"});
}

TEST_CASE("what a server sends little by little is returned when it is there") {
  HttpServer server;
  constexpr int never = 3'600'000;
  const std::string head = "HTTP/1.1 200 OK\r\n";
  server.answer_with("/chunks", {head + "Transfer-Encoding: chunked\r\n\r\n8\r\none\ntwo\n\r\n",
                                 "4\r\nmore\r\n", never});
  server.answer_with("/length", {head + "Content-Length: 600\r\n\r\none\ntwo\n", "more", never});
  const auto get = [&](const char* path) {
    return requests::get(server.url(path), {.timeout = {5s, 5s}, .stream = true});
  };
  for (const char* path : {"/chunks", "/length"}) {
    auto lines = get(path).iter_lines();
    auto line = lines.begin();
    CHECK(*line == "one");
    CHECK(*++line == "two");
  }
  auto pieces = get("/chunks").iter_content(1000);
  CHECK(*pieces.begin() == "one\ntwo\n");
  auto small = get("/chunks").iter_content(5);
  auto piece = small.begin();
  CHECK(*piece == "one\nt");
  CHECK(*++piece == "wo\n");
}

TEST_CASE("pieces and lines do not need the response that they are of") {
  HttpServer server;
  std::string text;
  Strings expected;
  for (int i = 0; i < 500; ++i) {
    expected.push_back("line " + std::to_string(i));
    text += expected.back() + "\n";
  }
  server.answer_with("/lines", {answer("", text)});
  Strings all;
  for (const std::string& line : requests::get(server.url("/lines")).iter_lines())
    all.push_back(line);
  CHECK(all == expected);
  std::string body;
  for (const std::string& piece : requests::get(server.url("/lines")).iter_content(7))
    body += piece;
  CHECK(body == text);

  auto response = requests::get(server.url("/lines"));
  auto pieces = response.iter_content(1000);
  CHECK(response.content == text);
  const requests::Response moved = std::move(response);
  body.clear();
  for (const std::string& piece : pieces) {
    response = requests::Response();
    body += piece;
  }
  CHECK(body == text);
  CHECK(moved.content == text);
}

TEST_CASE("a hook may change the session's hooks, for the next request") {
  HttpServer server;
  requests::Session session;
  Strings called;
  session.hooks.response.push_back([&, name = std::string(100, 'a')](requests::Response&) {
    for (int i = 0; i < 100; ++i)
      session.hooks.response.push_back([&](requests::Response&) { called.push_back("later"); });
    called.push_back(name);
  });
  session.hooks.response.push_back(
      [&, name = std::string(100, 'b')](requests::Response&) { called.push_back(name); });
  session.get(server.url("/fixed"));
  CHECK(called == Strings{std::string(100, 'a'), std::string(100, 'b')});
  called.clear();
  session.hooks.response.erase(session.hooks.response.begin());
  session.get(server.url("/fixed"));
  CHECK(called.size() == 101);
  session.hooks.response = {[&](requests::Response& response) {
    requests::Session& its = session;
    its.hooks = {};
    response.content = "alone";
  }};
  CHECK(session.get(server.url("/fixed")).content == "alone");
  CHECK(session.get(server.url("/fixed")).content == "hello");
}

TEST_CASE("hooks see every response, and may change it") {
  HttpServer server;
  Strings seen;
  const auto note = [&](requests::Response& response) {
    seen.push_back(std::to_string(response.status_code) + " " + response.content);
  };
  requests::Session session;
  session.hooks.response.push_back(note);
  session.get(server.url("/redirect/2"));
  CHECK(seen == Strings{"302 elsewhere", "302 elsewhere", "200 hello"});
  seen.clear();
  const auto response =
      session.get(server.url("/fixed"),
                  {.hooks = {.response = {[](requests::Response& r) { r.content += "!"; }, note}}});
  CHECK(response.content == "hello!");
  CHECK(seen == Strings{"200 hello!"});
  CHECK(text_of<std::runtime_error>([&] {
          session.get(server.url("/fixed"), {.hooks = {.response = {[](requests::Response&) {
                                                         throw std::runtime_error("no");
                                                       }}}});
        }) == "no");
}
