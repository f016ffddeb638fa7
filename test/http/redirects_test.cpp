// The targets of redirects, and the fields that are sent to them.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_outcome.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace requests = fiber::requests;
using asyncio::await;
using support::HttpServer;
using support::text_of;
using support::with_session;

namespace {

std::string redirect(const std::string& location, int status = 302) {
  return "HTTP/1.1 " + std::to_string(status) + " R\r\nLocation: " + location +
         "\r\nContent-Length: 1\r\n\r\nx";
}

// Returns the values of this field in a request; "-" if there is none.
std::string field(const std::string& request, const std::string& name) {
  std::string values;
  for (auto at = request.find("\r\n" + name + ": "); at != request.npos;
       at = request.find("\r\n" + name + ": ", at + 1)) {
    const auto begin = at + name.size() + 4;
    values +=
        (values.empty() ? "" : " + ") + request.substr(begin, request.find("\r\n", begin) - begin);
  }
  return values.empty() ? "-" : values;
}

const std::vector<std::string> secrets = {"Authorization", "Proxy-Authorization", "Cookie", "Host"};

}  // namespace

TEST_CASE("300, 304, 305 and 306 are not followed, wherever they point") {
  HttpServer server;
  for (const int status : {300, 304, 305, 306}) {
    server.answer_with("/from", {"HTTP/1.1 " + std::to_string(status) +
                                 " R\r\nLocation: /fixed\r\nContent-Length: 0\r\n\r\n"});
    CHECK(support::with_requests(server.url("/from")) == std::to_string(status) + " ");
    CHECK(support::with_aiohttp(server.url("/from")) == std::to_string(status) + " ");
  }
  for (const int status : {301, 302, 303, 307, 308}) {
    server.answer_with("/from", {redirect("/fixed", status)});
    CHECK(support::with_requests(server.url("/from")) == "200 hello");
    CHECK(support::with_aiohttp(server.url("/from")) == "200 hello");
  }
}

TEST_CASE("a redirect without a target is a response") {
  HttpServer server;
  server.answer_with("/empty", {redirect("")});
  server.answer_with("/none", {"HTTP/1.1 302 R\r\nContent-Length: 0\r\n\r\n"});
  CHECK(support::with_requests(server.url("/empty")) == "302 x");
  CHECK(support::with_aiohttp(server.url("/empty")) == "302 x");
  CHECK(support::with_requests(server.url("/none")) == "302 ");
  CHECK(support::with_aiohttp(server.url("/none")) == "302 ");
}

TEST_CASE("Location is resolved as RFC 3986 has it") {
  HttpServer server;
  const auto target = [&](const std::string& location) {
    server.answer_with("/a/from", {redirect(location)});
    const std::string url = requests::get(server.url("/a/from#kept")).url;
    return url.substr(url.find('/', 8));
  };
  CHECK(target("b") == "/a/b#kept");
  CHECK(target("../b#new") == "/b#new");
  CHECK(target("to?q=a b") == "/a/to?q=a%20b#kept");
  CHECK(target("/x?a=%7e'\"<>|{}^`") == "/x?a=~'%22%3C%3E%7C%7B%7D%5E%60#kept");
  CHECK(target("//" + server.url("/b").substr(7)) == "/b#kept");
  // These targets do not lead to a host that the answer chooses.
  CHECK(target("///b") == "/b#kept");
  CHECK(target("http:///b") == "/b#kept");
  CHECK(target("http:/b") == "/b#kept");
  try {
    target("?q=1");
    FAIL("the page does not lead to itself");
  } catch (const requests::TooManyRedirects& error) {
    CHECK(error.response()->url == server.url("/a/from?q=1#kept"));
  }
  CHECK(target("\\\\elsewhere/b") == "/a/%5C%5Celsewhere/b#kept");
}

TEST_CASE("a backslash ends the host, so that nobody is sent to another") {
  HttpServer one, other;
  one.answer_with("/from", {redirect("http://127.0.0.1:" + std::to_string(other.port()) +
                                     "\\@127.0.0.1:" + std::to_string(one.port()) + "/fixed")});
  CHECK(support::with_requests(one.url("/from")) == "404 no such page");
  CHECK(other.requests() == 1);
  CHECK(support::with_aiohttp(one.url("/from")) == "404 no such page");
  CHECK(other.requests() == 2);
}

TEST_CASE("a redirect leads to no other protocol") {
  HttpServer server;
  for (const char* location : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/x",
                               "data:,x", "javascript:alert(1)", "FILE:///etc/passwd"}) {
    server.answer_with("/from", {redirect(location)});
    CHECK(support::with_requests(server.url("/from")) == "InvalidSchema");
    CHECK(support::with_aiohttp(server.url("/from")) == "InvalidURL");
  }
  server.answer_with("/from", {redirect("http://127.0.0.1:99999/")});
  CHECK(support::with_requests(server.url("/from")) == "InvalidURL");
  CHECK(support::with_aiohttp(server.url("/from")) == "InvalidURL");
}

TEST_CASE("credentials and cookies of the caller stay at the origin that they are for") {
  HttpServer from, to;
  const requests::CaseInsensitiveDict headers{
      {"Authorization", "A"}, {"Proxy-Authorization", "P"}, {"Cookie", "c=1"}, {"Host", "h"}};
  const auto arrived = [&](HttpServer& server) {
    std::vector<std::string> values;
    for (const std::string& name : secrets) values.push_back(field(server.received().back(), name));
    return values;
  };
  const std::string host = "127.0.0.1:" + std::to_string(to.port());
  const std::vector<std::string> nothing{"-", "-", "-", host};
  from.answer_with("/from", {redirect(to.url("/echo"))});
  CHECK(requests::get(from.url("/from"), {.headers = headers}).ok());
  CHECK(arrived(to) == nothing);
  CHECK(support::with_aiohttp(from.url("/from"), {.headers = headers}).starts_with("200"));
  CHECK(arrived(to) == nothing);

  const requests::HTTPBasicAuth auth{"user", "pass"};
  CHECK(requests::get(from.url("/from"), {.cookies = {{"c", "1"}}, .auth = auth}).ok());
  CHECK(arrived(to) == nothing);
  CHECK(support::with_aiohttp(from.url("/from"), {.cookies = {{"c", "1"}}, .auth = auth})
            .starts_with("200"));
  CHECK(arrived(to) == nothing);

  // Within one origin aiohttp keeps all fields; requests drops the fields that it sets itself.
  from.answer_with("/from", {redirect("/echo")});
  CHECK(requests::get(from.url("/from"), {.headers = headers}).ok());
  CHECK(arrived(from) == std::vector<std::string>{"A", "-", "-", "h"});
  CHECK(support::with_aiohttp(from.url("/from"), {.headers = headers}).starts_with("200"));
  CHECK(arrived(from) == std::vector<std::string>{"A", "P", "c=1", "h"});
}

TEST_CASE("credentials of a URL are sent as a header, and those of a redirect by aiohttp alone") {
  HttpServer server;
  const auto with_user = [&](const std::string& user, const std::string& path) {
    return "http://" + user + "@127.0.0.1:" + std::to_string(server.port()) + path;
  };
  const auto authorization = [&] { return field(server.received().back(), "Authorization"); };
  const auto response = requests::get(with_user("us%20er:p%40%00ss", "/echo"));
  CHECK(authorization() == "Basic dXMgZXI6cEAAc3M=");
  CHECK(response.url == server.url("/echo"));
  CHECK(support::with_aiohttp(with_user("us%20er:p%40%00ss", "/echo")).starts_with("200"));
  CHECK(authorization() == "Basic dXMgZXI6cEAAc3M=");

  server.answer_with("/from", {redirect(with_user("u:p", "/echo"))});
  CHECK(requests::get(server.url("/from")).ok());
  CHECK(authorization() == "-");
  CHECK(support::with_aiohttp(server.url("/from")).starts_with("200"));
  CHECK(authorization() == "Basic dTpw");
  CHECK(support::with_aiohttp(server.url("/from"), {.auth = aiohttp::BasicAuth{"a", "b"}})
            .starts_with("200"));
  CHECK(authorization() == "Basic dTpw");
}

TEST_CASE("of several credentials requests takes auth, and aiohttp none") {
  HttpServer server;
  const requests::HTTPBasicAuth auth{std::string("u\0", 2), "p"};
  const requests::CaseInsensitiveDict headers{{"Authorization", "Bearer T"}};
  CHECK(requests::get(server.url("/echo"), {.headers = headers, .auth = auth}).ok());
  CHECK(field(server.received().back(), "Authorization") == "Basic dQA6cA==");
  CHECK(support::with_aiohttp(server.url("/echo"), {.headers = headers, .auth = auth}) ==
        "ValueError");
  const std::string url = "http://a:b@" + server.url("/echo").substr(7);
  CHECK(support::with_aiohttp(url, {.auth = auth}) == "ValueError");
  CHECK(support::with_aiohttp(url, {.headers = headers}) == "ValueError");
  CHECK(support::with_aiohttp(server.url("/echo"), {.auth = aiohttp::BasicAuth{"a:b", "c"}}) ==
        "ValueError");
}

TEST_CASE("a Cookie of the caller stands alone in requests and joins the jar in aiohttp") {
  HttpServer server;
  server.answer_with(
      "/more",
      {"HTTP/1.1 200 OK\r\nSet-Cookie: b=2; Path=/\r\nContent-Length: 0\r\n\r\n", {}, 0, true});
  requests::Session session;
  session.get(server.url("/set-cookie?a=1"));
  session.get(server.url("/more"), {.headers = {{"Cookie", "mine=1"}}, .cookies = {{"c", "3"}}});
  CHECK(field(server.received().back(), "Cookie") == "mine=1");
  session.get(server.url("/echo"));
  const std::string both = field(server.received().back(), "Cookie");
  CHECK((both == "a=1; b=2" || both == "b=2; a=1"));
  with_session([&](aiohttp::ClientSession& client) {
    await(client.get(server.url("/set-cookie?a=1")));
    await(client.get(server.url("/echo"),
                     {.cookies = {{"c", "3"}}, .headers = {{"Cookie", "mine=1"}}}));
    CHECK(field(server.received().back(), "Cookie") == "a=1; mine=1; c=3");
  });
}

TEST_CASE("a cookie that has expired is neither sent nor listed") {
  HttpServer server;
  server.answer_with(
      "/end",
      {"HTTP/1.1 200 OK\r\nSet-Cookie: a=gone; Max-Age=0; Path=/\r\nContent-Length: 0\r\n\r\n",
       {},
       0,
       true});
  requests::Session session;
  session.get(server.url("/set-cookie?a=1"));
  CHECK(session.cookies() == requests::Params{{"a", "1"}});
  session.get(server.url("/end"));
  CHECK(session.cookies().empty());
  session.get(server.url("/echo"));
  CHECK(field(server.received().back(), "Cookie") == "-");
}

TEST_CASE("a body that does not go along takes its header fields with it") {
  HttpServer server;
  server.answer_with("/from", {redirect("/echo")});
  const auto form = requests::Params{{"a", "b"}};
  const auto arrived = [&] {
    const std::string request = server.received().back();
    return request.substr(0, request.find(' ')) + " " + field(request, "Content-Type") + " " +
           field(request, "Content-Length");
  };
  CHECK(requests::post(server.url("/from"), {.data = form}).ok());
  CHECK(arrived() == "GET - -");
  CHECK(support::with_aiohttp(server.url("/from"), {.data = form}, "POST").starts_with("200"));
  CHECK(arrived() == "GET - -");
  server.answer_with("/from", {redirect("/echo", 307), {}, 0, true});
  CHECK(requests::post(server.url("/from"), {.data = form}).ok());
  CHECK(arrived() == "POST application/x-www-form-urlencoded 3");
}

TEST_CASE("the method goes out in upper case, and HEAD stays HEAD") {
  HttpServer server;
  CHECK(requests::request("get", server.url("/echo")).content.starts_with("GET "));
  CHECK(requests::request("HEAD", server.url("/redirect/1")).status_code == 200);
  for (const std::string& request : server.received())
    CHECK(request.find("/redirect") == request.find("/redirect/1"));
  CHECK(server.received().back().starts_with("HEAD /fixed"));
  CHECK(requests::head(server.url("/redirect/1")).status_code == 302);
  CHECK(support::with_aiohttp(server.url("/redirect/1"), {}, "HEAD") == "200 ");
}

TEST_CASE("too many redirects tell the last response, or the first URL") {
  HttpServer server;
  try {
    requests::get(server.url("/loop"));
    FAIL("nothing was thrown");
  } catch (const requests::TooManyRedirects& error) {
    REQUIRE(error.response());
    CHECK(error.response()->status_code == 302);
    CHECK(error.response()->url == server.url("/loop"));
  }
  CHECK(server.requests() == 31);
  with_session([&](aiohttp::ClientSession& client) {
    CHECK(text_of<aiohttp::TooManyRedirects>([&] { await(client.get(server.url("/loop"))); }) ==
          "0, message='', url='" + server.url("/loop") + "'");
  });
  CHECK(server.requests() == 41);
}

TEST_CASE("max_redirects below zero follows none in aiohttp, and zero follows all") {
  HttpServer server;
  const aiohttp::ClientMiddleware pass = [](aiohttp::ClientRequest& request,
                                            const aiohttp::ClientHandler& next) {
    return next(request);
  };
  for (const aiohttp::ClientMiddlewares& middlewares :
       {aiohttp::ClientMiddlewares{}, aiohttp::ClientMiddlewares{pass}})
    with_session({.middlewares = middlewares}, [&](aiohttp::ClientSession& client) {
      for (const long most : {-1L, -5L, 1L})
        CHECK_THROWS_AS(await(client.get(server.url("/redirect/1"), {.max_redirects = most})),
                        aiohttp::TooManyRedirects);
      CHECK(await(client.get(server.url("/redirect/20"), {.max_redirects = 0})).status == 200);
      CHECK(await(client.get(server.url("/fixed"), {.max_redirects = -1})).status == 200);
    });
}

TEST_CASE(
    "what is wrong with the body of a redirect does not matter, and aiohttp does not wait for it") {
  HttpServer server;
  const std::string head = "HTTP/1.1 302 R\r\nLocation: /fixed\r\n";
  for (const std::string& rest :
       {std::string("Content-Length: 10\r\n\r\nhi"),
        std::string("Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string("Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"),
        "Content-Length: 9000000\r\n\r\n" + std::string(9'000'000, 'x')}) {
    server.answer_with("/from", {head + rest});
    CHECK(support::with_requests(server.url("/from")) == "200 hello");
    CHECK(support::with_aiohttp(server.url("/from")) == "200 hello");
  }
  // Each byte of the body takes an hour.
  server.answer_with("/from", {head + "Content-Length: 10\r\n\r\n", "0123456789", 3'600'000});
  CHECK(support::with_aiohttp(server.url("/from")) == "200 hello");
  CHECK(support::with_requests(server.url("/from"), {.timeout = std::chrono::milliseconds(200)}) ==
        "ReadTimeout");
}

TEST_CASE("a redirect is followed at last, though its body goes on and on") {
  HttpServer server;
  // A byte every ten milliseconds: no silence is too long.
  server.answer_with("/from",
                     {"HTTP/1.1 302 R\r\nLocation: /fixed\r\nContent-Length: 60000\r\n\r\n",
                      std::string(60'000, 'x'), 10});
  CHECK(support::with_aiohttp(server.url("/from")) == "200 hello");
  CHECK(support::with_requests(server.url("/from"), {.timeout = std::chrono::seconds(60)}) ==
        "200 hello");
  const auto response = requests::get(server.url("/from"));
  REQUIRE(response.history.size() == 1);
  const std::string& body = response.history[0].content;
  CHECK(body.size() < 60'000);
  CHECK(body == std::string(body.size(), 'x'));
}
