// Session::mount() with a Retry follows the rules of urllib3.

#include <fiber/requests.hpp>

#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <ctime>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace requests = fiber::requests;
using namespace std::chrono_literals;
using requests::Retry;
using support::HttpServer;
using support::text_of;

namespace {

HttpServer::Canned status(int code, const std::string& fields = "", const std::string& body = "x") {
  return {"HTTP/1.1 " + std::to_string(code) + " R\r\n" + fields +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
          {},
          0,
          true};
}

requests::Session session_with(Retry retry) {
  requests::Session session;
  session.mount("http://", {.max_retries = std::move(retry)});
  return session;
}

std::string pool(const HttpServer& server, const std::string& path, const std::string& cause) {
  return "HTTPConnectionPool(host='127.0.0.1', port=" + std::to_string(server.port()) +
         "): Max retries exceeded with url: " + path + " (Caused by " + cause + ")";
}

double seconds(const Retry& retry, const std::string& value) {
  return retry.parse_retry_after(value).count();
}

std::string in(int days) {
  const std::time_t time = std::time(nullptr) + days * 86400;
  char text[64];
  std::tm parts;
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", ::gmtime_r(&time, &parts));
  return text;
}

}  // namespace

TEST_CASE("an answer of the list is asked for again, up to the total") {
  HttpServer server;
  auto session = session_with({.total = 3, .status_forcelist = {503}});
  server.answer_in_turn("/busy", {status(503), status(503), status(200, "", "there")});
  CHECK(session.get(server.url("/busy")).content == "there");
  CHECK(server.requests() == 3);
  CHECK(server.connections() == 1);

  server.answer_in_turn("/never", {status(503)});
  CHECK(text_of<requests::RetryError>([&] { session.get(server.url("/never?q=1")); }) ==
        pool(server, "/never?q=1", "ResponseError('too many 503 error responses')"));
  CHECK(server.requests() == 3 + 4);
}

TEST_CASE("without raise_on_status the last answer is given") {
  HttpServer server;
  auto session = session_with({.total = 2, .status_forcelist = {500}, .raise_on_status = false});
  server.answer_in_turn("/busy", {status(500), status(500), status(500, "", "last")});
  const auto response = session.get(server.url("/busy"));
  CHECK(response.status_code == 500);
  CHECK(response.content == "last");
  CHECK(response.history.empty());
  CHECK(server.requests() == 3);
}

TEST_CASE("a POST is never sent twice unless that is asked for") {
  HttpServer server;
  auto session = session_with({.total = 3, .status_forcelist = {503}});
  server.answer_in_turn("/busy", {status(503, "Retry-After: 1\r\n")});
  CHECK(session.post(server.url("/busy"), {.data = "x"}).status_code == 503);
  CHECK(session.patch(server.url("/busy")).status_code == 503);
  CHECK(server.requests() == 2);
  CHECK_THROWS_AS(session.post(server.url("/no-answer"), {.data = "x"}), requests::ConnectionError);
  CHECK(server.requests() == 3);
  CHECK_THROWS_AS(session.post(server.url("/silent"), {.data = "x", .timeout = 50ms}),
                  requests::ReadTimeout);
  CHECK(server.requests() == 4);

  auto any = session_with({.total = 3, .allowed_methods = std::nullopt, .status_forcelist = {503}});
  server.answer_in_turn("/once", {status(503), status(200)});
  CHECK(any.post(server.url("/once"), {.data = "x"}).ok());
  CHECK(server.requests() == 6);
  CHECK(server.received().back().ends_with("\r\n\r\nx"));
}

TEST_CASE("a POST that was redirected is not sent again for what comes after it") {
  HttpServer server;
  auto session = session_with({.total = 3, .status_forcelist = {503}});
  server.answer_in_turn("/form", {status(303, "Location: /result\r\n")});
  server.answer_in_turn("/result", {status(503), status(200, "", "done")});
  const auto response = session.post(server.url("/form"), {.data = "x"});
  CHECK(response.content == "done");
  CHECK(response.history.size() == 1);
  std::string seen;
  for (const std::string& request : server.received())
    seen += request.substr(0, request.find('\r')) + ",";
  CHECK(seen == "POST /form,GET /result,GET /result,");
}

TEST_CASE("an answer that does not come is waited for again, and told when there is no try left") {
  HttpServer server;
  auto session = session_with({.total = 2});
  CHECK(text_of<requests::ConnectionError>([&] {
          session.get(server.url("/no-answer"));
        }).starts_with(pool(server, "/no-answer", "ConnectionError(").substr(0, 90)));
  CHECK(server.requests() == 3);
  server.answer_in_turn("/late", {{"HTTP/1.1 200", {}, 0, false}, status(200, "", "now")});
  CHECK(session.get(server.url("/late")).content == "now");
  CHECK(server.requests() == 5);
  CHECK_THROWS_AS(session.get(server.url("/silent"), {.timeout = 30ms}), requests::ConnectionError);
  CHECK(server.requests() == 8);

  auto no_reads = session_with({.total = 5, .read = 0});
  CHECK_THROWS_AS(no_reads.get(server.url("/no-answer")), requests::ConnectionError);
  CHECK(server.requests() == 9);
}

TEST_CASE("a connection that cannot be made is tried again, whatever the method is") {
  const std::string url = "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()) + "/x";
  requests::Session session;
  session.mount("http://", {.max_retries = 2});
  const std::string text = text_of<requests::ConnectionError>([&] { session.post(url); });
  CHECK(text.find("Max retries exceeded with url: /x (Caused by ConnectionError(") != text.npos);
  requests::Session plain;
  CHECK(text_of<requests::ConnectionError>([&] { plain.post(url); }).find("Max retries") ==
        std::string::npos);
}

TEST_CASE("Retry-After is waited for, of answers that have it") {
  HttpServer server;
  auto session = session_with({.total = 1});
  server.answer_in_turn("/wait", {status(429, "Retry-After: 1\r\n"), status(200, "", "there")});
  const auto start = std::chrono::steady_clock::now();
  CHECK(session.get(server.url("/wait")).content == "there");
  CHECK(std::chrono::steady_clock::now() - start >= 1s);
  // no status_forcelist, and no Retry-After or one that is ignored
  server.answer_in_turn("/plain", {status(429)});
  CHECK(session.get(server.url("/plain")).status_code == 429);
  server.answer_in_turn("/other", {status(500, "Retry-After: 1\r\n")});
  CHECK(session.get(server.url("/other")).status_code == 500);
  auto deaf = session_with({.total = 1, .respect_retry_after_header = false});
  server.answer_in_turn("/deaf", {status(429, "Retry-After: 1\r\n")});
  CHECK(deaf.get(server.url("/deaf")).status_code == 429);
  server.answer_in_turn("/junk", {status(503, "Retry-After: -5\r\n")});
  CHECK(text_of<requests::InvalidHeader>([&] { session.get(server.url("/junk")); }) ==
        "Invalid Retry-After header: -5");
  server.answer_in_turn("/past", {status(503, "Retry-After: " + in(-1) + "\r\n"), status(200)});
  CHECK(session.get(server.url("/past")).ok());
}

TEST_CASE("the wait of a Retry-After has bounds") {
  const Retry retry;
  CHECK(seconds(retry, "5") == 5);
  CHECK(seconds(retry, " 7\t") == 7);
  CHECK(seconds(retry, "0") == 0);
  CHECK(seconds(retry, "99999999999999999999") == 21600);
  CHECK(seconds(retry, std::string(5000, '9')) == 21600);
  CHECK(seconds(retry, in(-1)) == 0);
  CHECK(seconds(retry, in(30)) == 21600);
  CHECK(seconds(Retry{.retry_after_max = 2s}, "60") == 2);
  for (const char* junk : {"", " ", "-5", "abc", "1.5", "5, 6", "1e3", "+5", "0x10"})
    CHECK(text_of<requests::InvalidHeader>([&] { retry.parse_retry_after(junk); }) ==
          std::string("Invalid Retry-After header: ") + junk);
}

TEST_CASE("the waits double, up to their limit") {
  const Retry retry{.backoff_factor = 0.1};
  const std::vector<double> waits{0, 0, 0.2, 0.4, 0.8, 1.6};
  for (int errors = 0; errors < 6; ++errors)
    CHECK(retry.get_backoff_time(errors).count() ==
          doctest::Approx(waits[static_cast<std::size_t>(errors)]));
  CHECK(retry.get_backoff_time(1'000'000).count() == 120);
  CHECK(Retry{.backoff_factor = -1}.get_backoff_time(3).count() == 0);
  const Retry random{.backoff_factor = 1, .backoff_jitter = 0.5};
  for (int i = 0; i < 100; ++i) {
    const double wait = random.get_backoff_time(2).count();
    CHECK(wait >= 2);
    CHECK(wait <= 2.5);
  }
}

TEST_CASE("is_retry tells which statuses and methods are asked for again") {
  const Retry retry{.total = 1, .status_forcelist = {500}};
  CHECK(retry.is_retry("get", 500));
  CHECK_FALSE(retry.is_retry("POST", 500));
  CHECK_FALSE(retry.is_retry("GET", 502));
  CHECK_FALSE(retry.is_retry("GET", 503));
  CHECK(retry.is_retry("GET", 503, true));
  CHECK_FALSE(retry.is_retry("POST", 503, true));
  CHECK_FALSE(Retry{.total = 0}.is_retry("GET", 503, true));
}

TEST_CASE("the longest prefix has the adapter") {
  HttpServer server;
  requests::Session session;
  session.mount(server.url("/a"), {.max_retries = Retry{.total = 1, .status_forcelist = {503}}});
  server.answer_in_turn("/a/b", {status(503), status(200)});
  server.answer_in_turn("/c", {status(503), status(200)});
  CHECK(session.get(server.url("/a/b")).status_code == 200);
  CHECK(session.get(server.url("/c")).status_code == 503);
  CHECK(session.get_adapter("HTTP://127.0.0.1:" + std::to_string(server.port()) + "/A")
            .max_retries.retry());
  CHECK(text_of<requests::InvalidSchema>([&] { session.get_adapter("ftp://x"); }) ==
        "No connection adapters were found for 'ftp://x'");
}

TEST_CASE("a body that is read while it is sent goes out again if it can") {
  HttpServer server;
  auto session = session_with({.total = 1, .status_forcelist = {503}});
  server.answer_in_turn("/file", {status(503), status(200)});
  CHECK(session.put(server.url("/file"), {.data = std::istringstream("the body")}).ok());
  CHECK(server.received().back().ends_with("\r\n\r\nthe body"));
  server.answer_in_turn("/function", {status(503), status(200)});
  const auto pieces = [i = 0]() mutable { return i++ == 0 ? std::string("piece") : std::string(); };
  CHECK(text_of<requests::UnrewindableBodyError>([&] {
          session.put(server.url("/function"), {.data = pieces});
        }) == "Unable to rewind request body for redirect or another try.");
}
