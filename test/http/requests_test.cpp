#include <fiber/requests.hpp>

#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <atomic>
#include <chrono>
#include <fstream>
#include <ranges>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace requests = fiber::requests;
using namespace std::chrono_literals;
using support::EnvironmentVariable;
using support::HttpServer;
using support::text_of;

static_assert(std::ranges::input_range<fiber::http::Chunks>);

TEST_CASE("get returns the status, the headers, the body and where they came from") {
  HttpServer server;
  const auto response = requests::get(server.url("/fixed"));
  CHECK(response.status_code == 200);
  CHECK(response.reason == "OK");
  CHECK(response.ok());
  CHECK(response.content == "hello");
  CHECK(response.text() == "hello");
  CHECK(response.headers["content-TYPE"] == "text/plain");
  CHECK(response.headers["Content-Length"] == "5");
  CHECK(response.encoding == "ISO-8859-1");
  CHECK(response.url == server.url("/fixed"));
  CHECK(response.elapsed > 0us);
  CHECK_FALSE(response.is_redirect());
  CHECK_NOTHROW(response.raise_for_status());
  std::ostringstream out;
  out << response;
  CHECK(out.str() == "<Response [200]>");
}

TEST_CASE("parameters are appended to the query, quoted as urlencode quotes them") {
  HttpServer server;
  const auto response =
      requests::get(server.url("/echo?b=1#part"), {.params = {{"q", "\u00e4 b&"}, {"e", "~"}}});
  CHECK(response.content.starts_with("GET /echo?b=1&q=%C3%A4+b%26&e=~\r\n"));
  CHECK(response.url == server.url("/echo?b=1&q=%C3%A4+b%26&e=~#part"));
  CHECK(requests::get(server.url("/echo/a b")).content.starts_with("GET /echo/a%20b\r\n"));
  CHECK(requests::get(server.url("/echo#part?no=query"), {.params = {{"q", "1"}}})
            .content.starts_with("GET /echo?q=1\r\n"));
}

TEST_CASE("an interim answer is not the response") {
  HttpServer server;
  const auto response = requests::get(server.url("/continue"));
  CHECK(response.status_code == 200);
  CHECK(response.reason == "OK");
  CHECK(response.content == "hello");
  CHECK_FALSE(response.headers.contains("X-Interim"));
}

TEST_CASE("headers are sent over the session's own, and an empty one is sent too") {
  HttpServer server;
  const auto echo =
      requests::get(server.url("/echo"),
                    {.headers = {{"X-One", "1"}, {"user-agent", "mine"}, {"X-Empty", ""}}})
          .content;
  CHECK(echo.find("X-One: 1\r\n") != echo.npos);
  CHECK(echo.find("User-Agent: mine\r\n") != echo.npos);
  CHECK(echo.find("X-Empty:\r\n") != echo.npos);
  CHECK(echo.find("Accept: */*\r\n") != echo.npos);
}

TEST_CASE("each method goes out under its name, with its body") {
  HttpServer server;
  const std::string url = server.url("/echo");
  const auto ends_in = [](const requests::Response& response, std::string_view end) {
    return response.content.ends_with(end);
  };
  const auto posted = requests::post(url, {.data = "a\0b"});
  CHECK(posted.content.starts_with("POST /echo\r\n"));
  CHECK(posted.content.find("Content-Type") == posted.content.npos);
  CHECK(ends_in(requests::post(url, {.data = std::string("a\0b", 3)}), {"\r\n\r\na\0b", 7}));
  CHECK(ends_in(requests::put(url, {.data = "new"}), "\r\n\r\nnew"));
  CHECK(requests::put(url, {.data = "new"}).content.starts_with("PUT "));
  CHECK(requests::patch(url).content.find("Content-Length: 0\r\n") != std::string::npos);
  CHECK(requests::delete_(url).content.starts_with("DELETE "));
  CHECK(requests::options(url).content.starts_with("OPTIONS "));
  CHECK(requests::request("BREW", url).content.starts_with("BREW "));
  const auto form = requests::post(url, {.data = requests::Params{{"a", "1 2"}, {"b", "="}}});
  CHECK(form.content.find("Content-Type: application/x-www-form-urlencoded\r\n") !=
        std::string::npos);
  CHECK(ends_in(form, "\r\n\r\na=1+2&b=%3D"));
  const auto large = requests::post(url, {.data = HttpServer::body(3'000'000)});
  CHECK(ends_in(large, HttpServer::body(3'000'000)));
}

TEST_CASE("head brings the headers and no body, and stays where it is") {
  HttpServer server;
  const auto response = requests::head(server.url("/fixed"));
  CHECK(response.headers["Content-Length"] == "5");
  CHECK(response.content.empty());
  CHECK(requests::head(server.url("/redirect/1")).status_code == 302);
  CHECK(requests::head(server.url("/redirect/1"), {.allow_redirects = true}).status_code == 200);
}

TEST_CASE("an error status is a response until raise_for_status is asked") {
  HttpServer server;
  const auto missing = requests::get(server.url("/status/404"));
  CHECK_FALSE(missing.ok());
  CHECK(missing.content == "status 404");
  CHECK(text_of<requests::HTTPError>([&] { missing.raise_for_status(); }) ==
        "404 Client Error: Not Found for url: " + server.url("/status/404"));
  CHECK(text_of<fiber::OSError>([&] {
          requests::get(server.url("/status/503")).raise_for_status();
        }) == "503 Server Error: Service Unavailable for url: " + server.url("/status/503"));
  try {
    missing.raise_for_status();
  } catch (const requests::RequestException& error) {
    REQUIRE(error.response());
    CHECK(error.response()->status_code == 404);
    CHECK(error.response()->content == "status 404");
  }
}

TEST_CASE("redirects are followed to the end, unless they are not wanted") {
  HttpServer server;
  const auto followed = requests::get(server.url("/redirect/3"));
  CHECK(followed.status_code == 200);
  CHECK(followed.content == "hello");
  CHECK(followed.url == server.url("/fixed"));
  CHECK_FALSE(followed.headers.contains("Location"));

  const auto first = requests::get(server.url("/redirect/3"), {.allow_redirects = false});
  CHECK(first.status_code == 302);
  CHECK(first.is_redirect());
  CHECK(first.headers["Location"] == "/redirect/2");
  CHECK(first.content == "elsewhere");
}

TEST_CASE("a redirect keeps or changes the method as in Python") {
  HttpServer server;
  const auto method = [&](const char* sent, int status, requests::Body body = {}) {
    const auto answer = requests::request(
        sent, server.url("/redirect-as/" + std::to_string(status) + "?/echo"), {.data = body});
    return answer.content.substr(0, answer.content.find(' ')) +
           (answer.content.ends_with("\r\n\r\nbody") ? " body" : "");
  };
  CHECK(method("POST", 301, "body") == "GET");
  CHECK(method("POST", 302, "body") == "GET");
  CHECK(method("POST", 303, "body") == "GET");
  CHECK(method("POST", 307, "body") == "POST body");
  CHECK(method("POST", 308, "body") == "POST body");
  CHECK(method("PUT", 301, "body") == "PUT");
  CHECK(method("PUT", 302, "body") == "GET");
  CHECK(method("PUT", 303, "body") == "GET");
  CHECK(method("PUT", 307, "body") == "PUT body");
  CHECK(method("DELETE", 303) == "GET");
  CHECK(method("DELETE", 307) == "DELETE");
}

TEST_CASE("a compressed body arrives decompressed, and a broken one is an error") {
  HttpServer server;
  CHECK(requests::get(server.url("/gzip")).content == HttpServer::gzip_text());
  CHECK_THROWS_AS(requests::get(server.url("/bad-gzip")), requests::ContentDecodingError);
}

TEST_CASE("a chunked body arrives whole, without its trailer") {
  HttpServer server;
  const auto response = requests::get(server.url("/chunked"));
  CHECK(response.content == "one two three");
  CHECK_FALSE(response.headers.contains("X-Trailer"));
}

TEST_CASE("repeated header fields are joined, as in Python") {
  HttpServer server;
  CHECK(requests::get(server.url("/header-twice")).headers["x-twice"] == "1, 2");
}

TEST_CASE("basic authentication is sent when it is asked for") {
  HttpServer server;
  const std::string field = "Authorization: Basic dXNlcjpwYXNz\r\n";
  const auto echo =
      requests::get(server.url("/echo"), {.auth = requests::HTTPBasicAuth{"user", "pass"}});
  CHECK(echo.content.find(field) != std::string::npos);
  requests::Session session;
  session.auth = {"user", "pass"};
  CHECK(session.get(server.url("/echo")).content.find(field) != std::string::npos);
}

TEST_CASE("a session keeps its connection, its cookies and its headers") {
  HttpServer server;
  requests::Session session;
  session.headers.set("X-Session", "yes");
  session.params = {{"key", "1"}};
  session.get(server.url("/set-cookie?a=b"));
  const auto echo = session.get(server.url("/echo"), {.cookies = {{"c", "d"}}}).content;
  CHECK(echo.starts_with("GET /echo?key=1\r\n"));
  CHECK(echo.find("X-Session: yes\r\n") != echo.npos);
  CHECK(echo.find("a=b") != echo.npos);
  CHECK(echo.find("c=d") != echo.npos);
  CHECK(session.get(server.url("/echo")).content.find("c=d") == std::string::npos);
  CHECK(server.connections() == 1);
  session.close();
  CHECK(session.get(server.url("/echo")).ok());
  CHECK(server.connections() == 2);
  // The set-cookie request carried ?key=1 after its own query.
  CHECK(session.cookies() == requests::Params{{"a", "b&key=1"}});
}

TEST_CASE("a session's cookies may be set and cleared, and its own fields erased") {
  HttpServer server;
  requests::Session session;
  const auto echo = [&] { return session.get(server.url("/echo")).content; };
  session.set_cookie("a", "1");
  session.set_cookie("b", "2", {.domain = "127.0.0.1", .path = "/echo"});
  session.set_cookie("c", "3", {.domain = "elsewhere.example"});
  session.set_cookie("d", "4", {.domain = ".example"});
  CHECK(echo().find("Cookie: b=2; a=1\r\n") != std::string::npos);
  CHECK(session.cookies().size() == 4);
  CHECK_THROWS_AS(session.set_cookie("a b", "1"), fiber::ValueError);
  CHECK_THROWS_AS(session.set_cookie("a", "1;2"), fiber::ValueError);
  session.clear_cookies();
  CHECK(echo().find("Cookie:") == std::string::npos);
  CHECK(echo().find("Accept: */*\r\n") != std::string::npos);
  session.headers.clear();
  CHECK(echo().find("Accept: ") == std::string::npos);
}

TEST_CASE("a request's own cookie is sent instead of the session's for every host") {
  HttpServer server;
  requests::Session session;
  session.set_cookie("a", "session");
  session.set_cookie("a", "path", {.path = "/echo"});
  session.set_cookie("b", "session");
  const auto echo = session.get(server.url("/echo"), {.cookies = {{"a", "request"}}}).content;
  CHECK(echo.find("Cookie: a=path; b=session; a=request\r\n") != echo.npos);
  CHECK(session.cookies() == requests::Params{{"a", "session"}, {"a", "path"}, {"b", "session"}});
}

TEST_CASE("a bundle and a body that are no files are refused before a connection is made") {
  requests::Session session;
  session.verify = "/nowhere/bundle.pem";
  CHECK(text_of<fiber::OSError>([&] { session.get("https://127.0.0.1:1/"); }) ==
        "Could not find a suitable TLS CA certificate bundle, invalid path: /nowhere/bundle.pem");
  HttpServer server;
  CHECK(session.get(server.url("/fixed")).ok());  // without TLS nobody asks
  CHECK(text_of<fiber::OSError>([&] {
          session.post(server.url("/echo"), {.data = std::ifstream("/")});
        }) == "[Errno 21] Is a directory: The stream to send");
}

TEST_CASE("parameters of a request replace those of its session") {
  HttpServer server;
  requests::Session session;
  session.params = {{"a", "1"}, {"b", "2"}};
  const auto line = [&](const requests::Params& params) {
    const std::string echo = session.get(server.url("/echo"), {.params = params}).content;
    return echo.substr(0, echo.find('\r'));
  };
  CHECK(line({}) == "GET /echo?a=1&b=2");
  CHECK(line({{"a", "9"}, {"c", "3"}}) == "GET /echo?a=9&b=2&c=3");
  CHECK(line({{"b", "8"}, {"b", "7"}}) == "GET /echo?a=1&b=8&b=7");
}

TEST_CASE("a session that was moved from says so, and may be assigned to") {
  HttpServer server;
  requests::Session session;
  requests::Session other(std::move(session));
  const auto told = [](auto call) { return text_of<fiber::ValueError>(call); };
  const std::string moved = "this Session was moved from";
  CHECK(told([&] { session.get(server.url("/fixed")); }) == moved);
  CHECK(told([&] { session.cookies(); }) == moved);
  CHECK(told([&] { session.get_adapter("http://a"); }) == moved);
  CHECK(told([&] { session.mount("http://", {}); }) == moved);
  CHECK(told([&] { session.close(); }) == moved);
  session = std::move(other);
  CHECK(session.get(server.url("/fixed")).content == "hello");
  // HTTPDigestAuth is never empty: its moves are copies.
  requests::HTTPDigestAuth auth("user", "password");
  const requests::HTTPDigestAuth taken(std::move(auth));
  CHECK(auth.answer("none", "GET", "http://a/").empty());
}

TEST_CASE("a streamed response is read in pieces, and holds only a few of them") {
  HttpServer server;
  constexpr std::size_t size = 32 * 1024 * 1024;
  auto response = requests::get(server.url("/bytes/" + std::to_string(size)), {.stream = true});
  CHECK(response.content.empty());
  std::size_t total = 0;
  bool right = true, first = true;
  for (const std::string& piece : response.iter_content(100'000)) {
    if (std::exchange(first, false)) {
      std::this_thread::sleep_for(50ms);
      CHECK(server.sent() < size);  // the server has to wait for us
    }
    right = right && (piece.size() == 100'000 || total + piece.size() == size);
    for (std::size_t i = 0; i < piece.size(); i += 997)
      right = right && piece[i] == HttpServer::body_byte(total + i);
    total += piece.size();
  }
  CHECK(right);
  CHECK(total == size);
}

TEST_CASE("a streamed response may be given up, and may outlive its session") {
  HttpServer server;
  auto response = [&] {
    requests::Session session;
    return session.get(server.url("/bytes/50000000"), {.stream = true});
  }();
  auto chunks = response.iter_content(10);
  CHECK(*chunks.begin() == HttpServer::body(10));
  chunks = fiber::http::Chunks([] { return std::string(); });
  response.close();
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("a drop in the middle of a streamed response is thrown after what had arrived") {
  HttpServer server;
  auto response = requests::get(server.url("/dropped"), {.stream = true});
  std::string got;
  CHECK_THROWS_AS(
      [&] {
        for (const auto& piece : response.iter_content(0)) got += piece;
      }(),
      requests::ChunkedEncodingError);
  CHECK(got == "hello");
}

TEST_CASE("stream_to gets the body of a success, and content that of an error") {
  HttpServer server;
  std::string got;
  const auto to_got = [&](std::string_view piece) { got += piece; };
  const auto response = requests::get(server.url("/bytes/2000000"), {.stream_to = to_got});
  CHECK(response.content.empty());
  CHECK(got == HttpServer::body(2'000'000));
  got.clear();
  CHECK(requests::get(server.url("/status/404"), {.stream_to = to_got}).content == "status 404");
  CHECK(got.empty());
}

TEST_CASE("an exception of stream_to leaves the call and ends the transfer") {
  HttpServer server;
  const auto full = [](std::string_view) { throw fiber::OSError(ENOSPC, "a.png"); };
  CHECK(text_of<fiber::OSError>([&] {
          requests::get(server.url("/bytes/9000000"), {.stream_to = full});
        }) == "[Errno 28] No space left on device: a.png");
  CHECK(server.wait_until([&] { return server.open() == 0; }));
}

TEST_CASE("a proxy of the environment is not asked for addresses of this machine") {
  const EnvironmentVariable proxy("http_proxy",
                                  "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()));
  HttpServer server;
  CHECK(requests::get(server.url("/fixed")).content == "hello");
  CHECK_THROWS_AS(requests::get("http://example.com/"), requests::ConnectionError);
}

TEST_CASE("a proxy of the environment is used for other addresses") {
  HttpServer server;
  const std::string elsewhere(64, 'x');  // no host of that name can exist
  const EnvironmentVariable proxy("http_proxy", server.url(""));
  CHECK(requests::get("http://" + elsewhere + "/echo").content == "no such page");
  const EnvironmentVariable exception("no_proxy", elsewhere);
  CHECK_THROWS_AS(requests::get("http://" + elsewhere + "/echo"), requests::ConnectionError);
}

TEST_CASE("proxies are found as Python finds them") {
  HttpServer server;
  const std::string host(64, 'x');  // no host of that name can exist
  const std::string url = "http://" + host + ".example.com/fixed";
  const auto through = [&] {
    const int before = server.requests();
    try {
      requests::get(url);
    } catch (const requests::ConnectionError&) {
    }
    return server.requests() > before;
  };
  CHECK_FALSE(through());
  {
    const EnvironmentVariable proxy("HTTP_PROXY", server.url(""));
    CHECK(through());
    const EnvironmentVariable cgi("REQUEST_METHOD", "GET");
    CHECK_FALSE(through());
  }
  {
    const EnvironmentVariable proxy("ALL_PROXY", server.url(""));
    CHECK(through());
    const EnvironmentVariable empty("http_proxy", "");
    CHECK(through());
  }
  const EnvironmentVariable proxy("http_proxy", server.url("").substr(7));
  CHECK(through());
  for (const char* exception :
       {"example.com", ".example.com", " other, example.com ", "*", "EXAMPLE.com"}) {
    const EnvironmentVariable no("NO_PROXY", exception);
    CHECK_FALSE(through());
  }
  for (const char* exception : {"example.org", "example.com.org", "10.0.0.0/8", ","}) {
    const EnvironmentVariable no("no_proxy", exception);
    CHECK(through());
  }
}

TEST_CASE("a proxy that does not answer is a ProxyError") {
  const EnvironmentVariable proxy("http_proxy",
                                  "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()));
  CHECK_THROWS_AS(requests::get("http://192.0.2.1/"), requests::ProxyError);
}

TEST_CASE("many threads may use the free functions and one session at the same time") {
  HttpServer server;
  requests::Session session;
  std::atomic<int> right{0};
  {
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          const auto one = requests::get(server.url("/bytes/1000"));
          const auto other = session.get(server.url("/set-cookie?a=b"));
          if (one.content == HttpServer::body(1000) && other.ok()) ++right;
        }
      });
    for (auto& thread : threads) thread.join();
  }
  CHECK(right == 80);
  CHECK(session.cookies() == requests::Params{{"a", "b"}});
}

TEST_CASE("get can be handed on like a function") {
  HttpServer server;
  const auto call = [](auto function, const std::string& url) { return function(url); };
  CHECK(call(requests::get, server.url("/fixed")).content == "hello");
}

TEST_CASE("text decodes the charset that the server names") {
  requests::Response response;
  response.content = "gr\xfc\xdf";
  response.encoding = "ISO-8859-1";
  CHECK(response.text() == "gr\u00fc\u00df");
  response.encoding = "utf-8";
  CHECK(response.text() == "gr\ufffd\ufffd");
  response.encoding = "no-such-charset";
  CHECK(response.text() == "gr\ufffd\ufffd");
  response.content = "cut \xe2\x82";
  response.encoding = "";
  CHECK(response.text() == "cut \ufffd");
  response.content = std::string(10'000, 'x');
  CHECK(response.text() == response.content);
}

TEST_CASE("iter_content works on a body that is there already") {
  requests::Response response;
  response.content = "abcdefg";
  std::vector<std::string> pieces;
  for (const auto& piece : response.iter_content(3)) pieces.push_back(piece);
  CHECK(pieces == std::vector<std::string>{"abc", "def", "g"});
}

TEST_CASE("header dictionaries ignore case and keep order and spelling") {
  requests::CaseInsensitiveDict headers{{"Accept", "a"}, {"X-Token", "1"}, {"accept", "b"}};
  CHECK(headers.size() == 2);
  CHECK(headers["ACCEPT"] == "b");
  CHECK(headers.begin()->first == "Accept");
  CHECK(headers.get("missing", "default") == "default");
  CHECK_THROWS_AS(headers["missing"], fiber::LookupError);
  headers.add("x-token", "2");
  CHECK(headers.getall("X-TOKEN") == std::vector<std::string>{"1", "2"});
  headers.set("X-Token", "3");
  CHECK(headers.getall("X-TOKEN") == std::vector<std::string>{"3"});
  CHECK(headers == requests::CaseInsensitiveDict{{"ACCEPT", "b"}, {"X-TOKEN", "3"}});
  requests::CaseInsensitiveDict twice{{"x-token", "4"}};
  twice.add("X-Token", "5");
  headers.update(twice);
  headers.update(headers);
  CHECK(headers.getall("X-TOKEN") == std::vector<std::string>{"4", "5"});
  CHECK(headers.begin()->first == "Accept");
  CHECK(headers.size() == 3);
  CHECK(headers.erase("accept"));
  CHECK_FALSE(headers.contains("Accept"));
}
