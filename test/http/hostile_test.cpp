// Answers that are cut short, malformed or endless. Each table has the outcome in both clients.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_outcome.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace requests = fiber::requests;
using asyncio::await;
using namespace std::chrono_literals;
using support::HttpServer;
using support::text_of;
using support::with_session;

namespace {

const std::string ok = "HTTP/1.1 200 OK\r\n";

struct Case {
  std::string answer;
  std::string requests_says;
  std::string aiohttp_says;
};

void compare(const std::vector<Case>& cases) {
  HttpServer server;
  for (const Case& each : cases) {
    server.answer_with("/case", {each.answer});
    CAPTURE(each.answer.substr(0, 200));
    CHECK(support::with_requests(server.url("/case")) == each.requests_says);
    CHECK(support::with_aiohttp(server.url("/case")) == each.aiohttp_says);
  }
}

std::string fields(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) lines += "X-" + std::to_string(i) + ": 1\r\n";
  return lines;
}

}  // namespace

TEST_CASE("a head that is cut short anywhere is no response") {
  const std::string whole = ok + "X: y\r\nContent-Length: 0\r\n";
  std::vector<Case> cases;
  for (std::size_t size = 0; size < whole.size(); size += size < 20 ? 1 : 5)
    cases.push_back({whole.substr(0, size), "ConnectionError",
                     // Any other text than a beginning of "HTTP/1.1 200" is not HTTP.
                     "ServerDisconnectedError"});
  for (Case& each : cases) {
    HttpServer server;
    server.answer_with("/case", {each.answer});
    CAPTURE(each.answer);
    CHECK(support::with_requests(server.url("/case")) == each.requests_says);
    const std::string got = support::with_aiohttp(server.url("/case"));
    CHECK((got == "ServerDisconnectedError" || got == "ClientResponseError"));
  }
}

TEST_CASE("an interim answer alone is no response, and 101 is one without a body") {
  compare({{"HTTP/1.1 100 Continue\r\n\r\n", "ConnectionError", "ServerDisconnectedError"},
           {"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx", "200 x",
            "200 x"},
           {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes", "101 ", "101 "}});
}

TEST_CASE("a status line that is none is no response") {
  for (const char* line : {"garbage\r\n", "HTTP 200 OK\r\n", "HTTP/1.1 2OO OK\r\n",
                           "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 -200 OK\r\n",
                           "HTTP/1.1 099 OK\r\n", "SSH-2.0-OpenSSH_9\r\n"})
    compare({{line + std::string("\r\n"), "ConnectionError", "ClientResponseError"}});
  compare({{"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "200 x", "200 x"},
           {"HTTP/1.0 200 OK\r\n\r\nto the end", "200 to the end", "200 to the end"}});
}

TEST_CASE("a body that is not as long as it says is an error") {
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  std::vector<Case> cases;
  for (const std::string& answer :
       {ok + "Content-Length: 10\r\n\r\nhello", ok + "Content-Length: 10\r\n\r\n", chunked,
        chunked + "5\r\nhel", chunked + "5\r\nhello\r\n", chunked + "xyz\r\nhello\r\n0\r\n\r\n",
        chunked + "-5\r\nhello\r\n0\r\n\r\n",
        chunked + "fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"})
    cases.push_back({answer, "ChunkedEncodingError", "ClientPayloadError"});
  cases.push_back({chunked + "5;a=b\r\nhello\r\n0\r\n\r\n", "200 hello", "200 hello"});
  cases.push_back({ok + "Content-Length: 3\r\n\r\nhello", "200 hel", "200 hel"});
  cases.push_back({ok + "\r\n", "200 ", "200 "});
  compare(cases);
}

TEST_CASE("no line end and no NUL gets into a reason or a value, folded or not") {
  const std::string nul(1, '\0');
  for (const std::string& in : {std::string("\r"), nul})
    compare({{"HTTP/1.1 200 O" + in + "K\r\n\r\n", "ConnectionError", "ClientResponseError"},
             {ok + "X: a" + in + "b\r\n\r\n", "ConnectionError", "ClientResponseError"},
             {ok + "X: a\r\n b" + in + "c\r\n\r\n", "ConnectionError", "ClientResponseError"}});
}

TEST_CASE("two lengths that differ are refused, and so is a coding of the transfer") {
  const std::string two = ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhello";
  const std::string both =
      ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  compare({{two, "InvalidHeader", "ClientResponseError"},
           {both, "200 hello", "ClientResponseError"},
           {ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "ConnectionError",
            "ClientResponseError"}});
}

TEST_CASE("heads have limits, which are Python's") {
  const std::string end = "Content-Length: 1\r\n\r\nx";
  const auto value = [&](std::size_t size) {
    return ok + "X: " + std::string(size, 'a') + "\r\n" + end;
  };
  compare({{ok + fields(98) + end, "200 x", "200 x"},
           {ok + fields(99) + end, "ConnectionError", "200 x"},
           {ok + fields(127) + end, "ConnectionError", "200 x"},
           {ok + fields(128) + end, "ConnectionError", "ClientResponseError"},
           {ok + fields(50'000) + end, "ConnectionError", "ClientResponseError"},
           {value(8'000), "200 x", "200 x"},
           {value(9'000), "200 x", "ClientResponseError"},
           {value(60'000), "200 x", "ClientResponseError"},
           {value(70'000), "ConnectionError", "ClientResponseError"},
           {value(200'000), "ConnectionError", "ClientResponseError"}});
}

TEST_CASE("interim answers and trailers without end come to one") {
  std::string interim, trailers = ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n";
  while (interim.size() < 2'000'000) interim += "HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n";
  while (trailers.size() < 2'000'000) trailers += "X-Trailer: 1\r\n";
  HttpServer server;
  server.answer_with("/interim", {interim, {}, 0, true});
  server.answer_with("/trailers", {trailers, {}, 0, true});
  CHECK(support::with_requests(server.url("/interim")) == "ConnectionError");
  CHECK(support::with_aiohttp(server.url("/interim")) == "ClientResponseError");
  CHECK(support::with_requests(server.url("/trailers")) == "ConnectionError");
  CHECK(support::with_aiohttp(server.url("/trailers")) == "ClientResponseError");
}

TEST_CASE("a folded field is one line, and brings in no other field") {
  HttpServer server;
  server.answer_with("/folded",
                     {ok + "X-A: one\r\n Set-Cookie: evil=1\r\nContent-Type: text/plain;\r\n"
                           "\tcharset=utf-8\r\nContent-Length: 0\r\n\r\n"});
  requests::Session session;
  const auto response = session.get(server.url("/folded"));
  CHECK(response.headers ==
        requests::CaseInsensitiveDict{{"X-A", "one Set-Cookie: evil=1"},
                                      {"Content-Type", "text/plain; charset=utf-8"},
                                      {"Content-Length", "0"}});
  CHECK(session.cookies().empty());
  compare({{ok + "X: a\rSet-Cookie: e=1\r\nContent-Length: 0\r\n\r\n", "ConnectionError",
            "ClientResponseError"},
           {ok + std::string("X: a\0b\r\nContent-Length: 0\r\n\r\n", 29), "ConnectionError",
            "ClientResponseError"}});
}

TEST_CASE("a POST is sent once, though the connection that was kept proves dead") {
  HttpServer server;
  server.answer_with("/pay", {""});
  requests::Session session;
  session.get(server.url("/fixed"));
  CHECK_THROWS_AS(session.post(server.url("/pay"), {.data = "100"}), requests::ConnectionError);
  CHECK(server.requests() == 2);
  with_session([&](aiohttp::ClientSession& client) {
    CHECK(await(await(client.get(server.url("/fixed"))).read()) == "hello");
    CHECK_THROWS_AS(await(client.post(server.url("/pay"), {.data = "100"})),
                    aiohttp::ServerDisconnectedError);
  });
  CHECK(server.requests() == 4);
  session.get(server.url("/fixed"));
  CHECK_THROWS_AS(session.request("PATCH", server.url("/pay")), requests::ConnectionError);
  CHECK(server.requests() == 6);
}

TEST_CASE("a GET on a dead connection is tried once more, and no more than that") {
  HttpServer server;
  server.answer_with("/gone", {""});
  requests::Session session;
  session.get(server.url("/fixed"));
  CHECK_THROWS_AS(session.get(server.url("/gone")), requests::ConnectionError);
  CHECK(server.requests() <= 3);
}

TEST_CASE("bytes that come are no silence, in whatever part of the answer they come") {
  HttpServer server;
  const std::string length = ok + "Content-Length: 12\r\n\r\n";
  server.answer_with("/body", {length, "hello, world", 250});
  server.answer_with("/status", {"", ok + "Content-Length: 0\r\n\r\n", 80});
  server.answer_with("/field", {ok, "X-Long: abcdefgh\r\nContent-Length: 0\r\n\r\n", 80});
  server.answer_with(
      "/chunk", {ok + "Transfer-Encoding: chunked\r\n\r\n", "000000000001\r\nx\r\n0\r\n\r\n", 110});
  // Each answer takes longer than the timeout, but its pauses are much shorter. All run at once.
  const requests::Params expected{
      {"/body", "200 hello, world"}, {"/status", "200 "}, {"/field", "200 "}, {"/chunk", "200 x"}};
  std::vector<std::string> got(expected.size() * 2);
  {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      threads.emplace_back([&, i] {
        got[i * 2] = support::with_requests(server.url(expected[i].first), {.timeout = 2s});
      });
      threads.emplace_back([&, i] {
        const aiohttp::ClientTimeout silence{.total = {}, .sock_read = 2s};
        got[i * 2 + 1] = support::with_aiohttp(server.url(expected[i].first), {.timeout = silence});
      });
    }
    for (auto& thread : threads) thread.join();
  }
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == expected[i / 2].second);
}

TEST_CASE("the total timeout ends what comes byte by byte") {
  HttpServer server;
  server.answer_with("/slow", {ok, "X-Long: " + std::string(10'000, 'a'), 10});
  CHECK(support::with_aiohttp(server.url("/slow"), {.timeout = aiohttp::ClientTimeout{
                                                        .total = 200ms}}) == "TimeoutError");
}

TEST_CASE("no part of a request can become another request") {
  HttpServer server;
  const std::string nul("a\0b", 3);
  const auto refused = [&](requests::Options options) {
    CHECK(support::with_requests(server.url("/echo"), options) == "InvalidHeader");
    aiohttp::RequestOptions same{.cookies = options.cookies, .headers = options.headers};
    CHECK(support::with_aiohttp(server.url("/echo"), same) == "ValueError");
  };
  for (const std::string& bad :
       {std::string("a\r\nX: 1"), std::string("a\nb"), std::string("a\rb"), nul}) {
    refused({.headers = {{"X", bad}}});
    refused({.headers = {{bad, "x"}}});
    refused({.headers = {{"Cookie", bad}}});
    refused({.cookies = {{"name", bad}}});
    refused({.cookies = {{bad, "value"}}});
    CHECK(support::with_requests(server.url("/echo"), {}, "GET" + bad) == "InvalidHeader");
    CHECK(support::with_aiohttp(server.url("/echo"), {}, "GET" + bad) == "ValueError");
  }
  refused({.headers = {{"", "x"}}});
  refused({.headers = {{"a:b", "x"}}});
  for (const std::string& url :
       {"http://127.0.0.1/" + nul, "http://" + nul + "/", "http://u" + nul + "@h/"})
    CHECK(support::with_requests(url) == "InvalidURL");
  CHECK(support::with_requests(server.url("/echo"), {.verify = "/a" + nul}) == "ValueError");
  CHECK(support::with_aiohttp(server.url("/echo"), {.ssl = "/a" + nul}) == "ValueError");
  CHECK(support::with_requests("http://exa%00mple/") == "InvalidURL");
  CHECK(support::with_requests("http://exa\nmple/") == "InvalidURL");
  CHECK(server.requests() == 0);
}

TEST_CASE("a length of the caller's own is replaced by that of the body") {
  HttpServer server;
  const auto echo =
      requests::post(server.url("/echo"), {.data = "12345", .headers = {{"Content-Length", "3"}}});
  CHECK(echo.content.ends_with("\r\n\r\n12345"));
  CHECK(echo.content.find("Content-Length: 5\r\n") != std::string::npos);
  CHECK(requests::get(server.url("/echo"), {.headers = {{"Content-Length", "5"}}})
            .content.find("Content-Length") == std::string::npos);
}
