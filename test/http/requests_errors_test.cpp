#include <fiber/requests.hpp>

#include "support/full_listener.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <netdb.h>

namespace requests = fiber::requests;
using namespace std::chrono_literals;
using support::HttpServer;
using support::text_of;

// Gives the name two.example two addresses of this machine.
extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** found) {
  static const auto system =
      reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (host == nullptr || std::string(host) != "two.example")
    return system(host, service, hints, found);
  const int error = system("127.0.0.2", service, hints, found);
  return error != 0 ? error : system("127.0.0.1", service, hints, &(*found)->ai_next);
}

static_assert(std::is_nothrow_copy_constructible_v<requests::HTTPError>);
static_assert(std::is_nothrow_copy_constructible_v<requests::ConnectTimeout>);

TEST_CASE("a redirect loop ends in TooManyRedirects") {
  HttpServer server;
  CHECK(text_of<requests::TooManyRedirects>([&] { requests::get(server.url("/loop")); }) ==
        "Exceeded 30 redirects.");
  requests::Session session;
  session.max_redirects = 2;
  CHECK(session.get(server.url("/redirect/2")).ok());
  CHECK_THROWS_AS(session.get(server.url("/redirect/3")), requests::TooManyRedirects);
}

TEST_CASE("a redirect leads to http and https only") {
  HttpServer server;
  CHECK_THROWS_AS(requests::get(server.url("/redirect-as/302?file:///etc/passwd")),
                  requests::InvalidSchema);
}

TEST_CASE("a connection dropped in the body is a ChunkedEncodingError") {
  HttpServer server;
  CHECK_THROWS_AS(requests::get(server.url("/dropped")), requests::ChunkedEncodingError);
  CHECK_THROWS_AS(requests::get(server.url("/dropped-chunk")), requests::ChunkedEncodingError);
}

TEST_CASE("no connection, and one without an answer, are ConnectionErrors") {
  HttpServer server;
  const std::string nobody = "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()) + "/";
  const auto refused = text_of<requests::ConnectionError>([&] { requests::get(nobody); });
  CHECK(refused.find("Connection refused") != refused.npos);
  CHECK(refused.ends_with("for url: " + nobody));
  // Too long for a label of a host name: no resolver is asked.
  CHECK_THROWS_AS(requests::get("http://" + std::string(64, 'x') + ".invalid/"),
                  requests::ConnectionError);
  CHECK_THROWS_AS(requests::get(server.url("/no-answer")), requests::ConnectionError);
  CHECK_THROWS_AS(requests::get(server.url("/garbage")), requests::ConnectionError);
}

TEST_CASE("a server that speaks no TLS is an SSLError") {
  HttpServer server;
  const std::string url = "https" + server.url("/fixed").substr(4);
  CHECK_THROWS_AS(requests::get(url), requests::SSLError);
  CHECK_THROWS_AS(requests::get(url, {.verify = false}), requests::SSLError);
}

TEST_CASE("the environment names the certificates, unless the caller does or does not trust it") {
  HttpServer server;
  const std::string url = "https" + server.url("/fixed").substr(4);
  const support::EnvironmentVariable bundle("REQUESTS_CA_BUNDLE", "/named/by/environment");
  const std::string refusal = "Could not find a suitable TLS CA certificate bundle, invalid path: ";
  requests::Session session;
  CHECK(text_of<fiber::OSError>([&] { session.get(url); }) == refusal + "/named/by/environment");
  CHECK(text_of<fiber::OSError>([&] { session.get(url, {.verify = "/named/by/caller"}); }) ==
        refusal + "/named/by/caller");
  CHECK_THROWS_AS(session.get(url, {.verify = false}), requests::SSLError);  // the server's fault
  session.trust_env = false;
  CHECK_THROWS_AS(session.get(url), requests::SSLError);
}

TEST_CASE("a server that sends nothing for too long is a ReadTimeout") {
  HttpServer server;
  const auto text = text_of<requests::ReadTimeout>(
      [&] { requests::get(server.url("/silent"), {.timeout = 50ms}); });
  CHECK(text == "Read timed out. (read timeout=0.05) for url: " + server.url("/silent"));
  CHECK_THROWS_AS(requests::get(server.url("/stalled"), {.timeout = {10s, 50ms}}),
                  requests::Timeout);
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("the read timeout counts silence, not the length of the whole") {
  HttpServer server;
  CHECK(requests::get(server.url("/slow/300"), {.timeout = 1s}).content.size() == 300);
}

TEST_CASE("a connection that does not come about in time is a ConnectTimeout") {
  const support::FullListener listener;
  const std::string url = listener.url();
  CHECK_THROWS_AS(requests::get(url, {.timeout = {100ms, {}}}), requests::ConnectTimeout);
  CHECK_THROWS_AS(requests::get(url, {.timeout = {100ms, {}}}), requests::ConnectionError);
  CHECK_THROWS_AS(requests::get(url, {.timeout = {100ms, {}}}), requests::Timeout);
}

TEST_CASE("an address that does not answer leaves time for the next one") {
  HttpServer server;  // at 127.0.0.1
  const support::FullListener silent("127.0.0.2", server.port());
  const std::string url = "http://two.example:" + std::to_string(server.port()) + "/fixed";
  CHECK(requests::get(url, {.timeout = {2s, {}}}).content == "hello");
}

TEST_CASE("a timeout that is not above zero is a ValueError") {
  CHECK(text_of<fiber::ValueError>([] { requests::get("http://localhost/", {.timeout = 0s}); }) ==
        "Attempted to set connect timeout to 0, but the timeout cannot be set to a value less than "
        "or equal to 0.");
  CHECK_THROWS_AS(requests::get("http://localhost/", {.timeout = {{}, -1s}}), fiber::ValueError);
}

TEST_CASE("URLs that cannot be fetched are refused in Python's words") {
  const auto get = [](std::string_view url) { return [url] { requests::get(url); }; };
  CHECK(text_of<requests::MissingSchema>(get("foo")) ==
        "Invalid URL 'foo': No scheme supplied. Perhaps you meant https://foo?");
  CHECK(text_of<requests::MissingSchema>(get("")) ==
        "Invalid URL '': No scheme supplied. Perhaps you meant https://?");
  CHECK(text_of<requests::InvalidSchema>(get("localhost:80/x")) ==
        "No connection adapters were found for 'localhost:80/x'");
  CHECK(text_of<requests::InvalidSchema>(get("file:///etc/passwd")) ==
        "No connection adapters were found for 'file:///etc/passwd'");
  CHECK(text_of<requests::InvalidURL>(get("http://")) == "Invalid URL 'http://': No host supplied");
  CHECK(text_of<requests::InvalidURL>(get("http:///x")) ==
        "Invalid URL 'http:///x': No host supplied");
  CHECK(text_of<requests::InvalidURL>(get("http://[::1/")) == "Failed to parse: http://[::1/");
  CHECK(text_of<requests::InvalidURL>(get("http://x:99999/")) ==
        "Failed to parse: http://x:99999/");
  CHECK_THROWS_AS(requests::get({"http://x/\0y", 11}), requests::InvalidURL);
}

TEST_CASE("headers, methods and cookies cannot smuggle in lines of their own") {
  const char* url = "http://127.0.0.1:1/";
  CHECK_THROWS_AS(requests::get(url, {.headers = {{"X", "1\r\nY: 2"}}}), requests::InvalidHeader);
  CHECK_THROWS_AS(requests::get(url, {.headers = {{"X: 1\r\nY", "2"}}}), requests::InvalidHeader);
  CHECK_THROWS_AS(requests::get(url, {.cookies = {{"a", "b\nc"}}}), requests::InvalidHeader);
  CHECK_THROWS_AS(requests::request("GET / HTTP/1.1\r\nX: 1", url), requests::InvalidHeader);
}

TEST_CASE("every exception of requests is an OSError and a std::exception") {
  CHECK_THROWS_AS(requests::get("foo"), fiber::OSError);
  CHECK_THROWS_AS(requests::get("foo"), fiber::Exception);
  CHECK_THROWS_AS(requests::get("foo"), std::exception);
  CHECK_THROWS_AS(throw requests::ConnectTimeout("text"), std::exception);
  CHECK(fiber::repr(std::make_exception_ptr(requests::ConnectTimeout("text"))) ==
        "ConnectTimeout('text')");
}
