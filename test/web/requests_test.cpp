#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/http/compression.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace http = fiber::http;
namespace web = fiber::aiohttp::web;
using aiohttp::test_utils::TestClient;
using asyncio::await;
using support::with_app;
using namespace std::chrono_literals;

namespace {

web::Handler says(std::string text) {
  return [text](web::Request&) { return web::Response({.text = text}); };
}

}  // namespace

TEST_CASE("the first resource with path and method answers") {
  web::Application app;
  app.router().add_get("/", says("root"));
  app.router().add_get("/users/{name}", says("user"));
  app.router().add_get("/users/me", says("never"));
  app.router().add_get("/ids/{id:\\d+}", says("id"));
  app.router().add_post("/ids/{id}", [](web::Request& request) {
    return web::Response({.text = "post " + request.match_info()["id"]});
  });
  app.router().add_route("*", "/any", says("any"));
  app.router().add_get("/files/{path:.*}.{kind:txt|md}", [](web::Request& request) {
    return web::Response(
        {.text = request.match_info()["path"] + "|" + request.match_info()["kind"]});
  });
  app.router().add_get("/a b/{x}", [](web::Request& request) {
    return web::Response({.text = request.match_info()["x"] + "|" + std::string(request.path())});
  });
  with_app(app, [](TestClient& client) {
    const auto text = [&](const char* path) { return await(client.get(path)).text(); };
    CHECK(text("/") == "root");
    CHECK(text("/users/me") == "user");
    CHECK(text("/%75sers/me") == "user");
    CHECK(text("/users/") == "404: Not Found");
    CHECK(text("/users/a/b") == "404: Not Found");
    CHECK(text("/ids/12") == "id");
    CHECK(text("/ids/x") == "405: Method Not Allowed");
    CHECK(await(client.post("/ids/x")).text() == "post x");
    CHECK(await(client.delete_("/any")).text() == "any");
    CHECK(text("/files/a/b.c.md") == "a/b.c|md");
    CHECK(text("/a%20b/%2Fc%25") == "/c%|/a b//c%");
    const auto refused = await(client.delete_("/ids/7"));
    CHECK(refused.status == 405);
    CHECK(refused.headers["Allow"] == "GET,HEAD,POST");
    const auto head = await(client.head("/"));
    CHECK(head.status == 200);
    CHECK(head.headers["Content-Length"] == "4");
    CHECK(head.body.empty());
  });
}

TEST_CASE("paths that are malformed are refused, names give paths") {
  web::Application app;
  for (const char* bad : {"x", "/{", "/}", "/{1}", "/{a:}", "/{a}/{a}", "/{a:(}"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(app.router().add_get(bad, says("")), fiber::ValueError);
  }
  app.router().add_get("/u/{name}/p", says(""), {.name = "user"});
  CHECK(app.router()["user"].url_for({{"name", "a b/c"}}) == "/u/a%20b%2Fc/p");
  CHECK_THROWS_AS(app.router()["user"].url_for(), fiber::LookupError);
  CHECK_THROWS_AS(app.router()["none"], fiber::LookupError);
  CHECK_THROWS_AS(app.router().add_get("/other", says(""), {.name = "user"}), fiber::ValueError);
  CHECK_THROWS_AS(app.router().add_get("/u/{name}/p", says(""), {.name = "user"}),
                  fiber::RuntimeError);
  CHECK(app.router().add_static("/st", "/").url_for({{"filename", "a b.txt"}}) == "/st/a%20b.txt");
  app.router().add_get("/get/{path:.*}", says(""), {.name = "path"});
  CHECK(app.router()["path"].url_for({{"path", "a b/c"}}) == "/get/a%20b/c");
  app.router().add_get("/day/{month:[^/]+}/{path:.+}", says(""), {.name = "two"});
  CHECK(app.router()["two"].url_for({{"month", "1/2"}, {"path", "1/2"}}) == "/day/1%2F2/1/2");
  for (const char* name : {"a b", "1a", "a.", ".a", "a..b", "a/b"})
    CHECK_THROWS_AS(app.router().add_get("/named", says(""), {.name = name}), fiber::ValueError);
  app.router().add_get("/named", says(""), {.name = "a.b:c-d_1"});
}

TEST_CASE("a request has its parts as the client has sent them, and a place for state") {
  web::Application app;
  std::vector<std::string> seen;
  app.router().add_get("/q", [&](web::Request& request) {
    seen = {std::string(request.method()),
            std::string(request.query_string()),
            request.query()["a"],
            request.query().get("none", "-"),
            std::to_string(request.query().getall("b").size()),
            request.cookies()["c"],
            std::string(request.headers()["x-one"]),
            request.remote(),
            std::string(request.scheme()),
            request.content_type(),
            request.keep_alive() ? "keeps" : "closes"};
    request["user"] = std::string("me");
    seen.push_back(std::any_cast<std::string&>(request["user"]));
    CHECK_THROWS_AS(request.query()["none"], fiber::LookupError);
    CHECK_FALSE(request.body_exists());
    CHECK(await(request.read()).empty());
    return web::Response();
  });
  with_app(app, [&](TestClient& client) {
    await(client.get("/q", {.params = {{"a", "x y"}, {"b", "1"}, {"b", "2"}},
                            .headers = {{"X-One", "1"}},
                            .cookies = {{"c", "3"}}}));
    CHECK(seen == std::vector<std::string>{"GET", "a=x%20y&b=1&b=2", "x y", "-", "2", "3", "1",
                                           "127.0.0.1", "http", "application/octet-stream", "keeps",
                                           "me"});
  });
}

TEST_CASE("cookies come back as they were set") {
  const std::string value = "x;y, \"z\" \\ \u00E9 end";
  web::Application app;
  app.router().add_get("/set", [&](web::Request&) {
    const web::Response response({.text = "set"});
    response.set_cookie("a", value);
    return response;
  });
  app.router().add_get("/get", [](web::Request& request) {
    return web::Response({.text = request.cookies()["a"]});
  });
  with_app(app, [&](TestClient& client) {
    await(client.get("/set"));
    CHECK(await(client.get("/get")).text() == value);
  });
}

TEST_CASE("a TestClient quotes its paths") {
  web::Application app;
  app.router().add_get("/{tail:.*}", [](web::Request& request) {
    return web::Response({.text = std::string(request.raw_path())});
  });
  with_app(app, [](TestClient& client) {
    const auto text = [&](const std::string& path) { return await(client.get(path)).text(); };
    CHECK(text("/a b?c d#e") == "/a%20b?c%20d");
    CHECK(text("/\xC3\xA9/%41") == "/%C3%A9/%41");
    CHECK(text("a/b") == "/a/b");
    CHECK(text("") == "/");
    CHECK(text("?x=1:2") == "/?x=1:2");
    CHECK(await(client.get("/a b#f", {.params = {{"c", "d e"}}})).text() == "/a%20b?c=d%20e");
  });
}

TEST_CASE("targets of every form") {
  web::Application app;
  app.router().add_get("/{name}", [](web::Request& request) {
    return web::Response({.text = request.match_info()["name"] + "|" + std::string(request.path()) +
                                  "|" + request.url()});
  });
  with_app(app, [](TestClient& client) {
    const auto ask = [&](const std::string& target) {
      const std::string answer =
          await(client.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      return answer.substr(answer.find("\r\n\r\n") + 4);
    };
    CHECK(ask("/a?b#c") == "a|/a|http://x/a?b#c");
    CHECK(ask("/a#c") == "a|/a|http://x/a#c");
    CHECK(ask("http://other:99/a?b") == "a|/a|http://other:99/a?b");
    CHECK(ask("/\xE9") == "\uFFFD|/\uFFFD|http://x/\xE9");
    CHECK(ask("/\u00E9") == "\u00E9|/\u00E9|http://x/\u00E9");
  });
}

TEST_CASE("ranges of any size") {
  web::Application app;
  app.router().add_get("/", [](web::Request& request) {
    const web::HttpRange range = request.http_range();
    const auto shown = [](std::optional<std::int64_t> at) {
      return at ? std::to_string(*at) : std::string("none");
    };
    return web::Response({.text = shown(range.start) + " " + shown(range.stop)});
  });
  with_app(app, [](TestClient& client) {
    const auto range = [&](const char* wanted) {
      return await(client.get("/", {.headers = {{"Range", wanted}}})).text();
    };
    const std::string most = std::to_string(std::numeric_limits<std::int64_t>::max());
    const std::string below = std::to_string(std::numeric_limits<std::int64_t>::max() - 1);
    CHECK(range("bytes=0-9223372036854775806") == "0 " + most);
    CHECK(range("bytes=0-9223372036854775807") == "0 " + most);
    CHECK(range("bytes=0-99999999999999999999") == "0 " + most);
    CHECK(range("bytes=99999999999999999999-") == below + " none");
    CHECK(range("bytes=-99999999999999999999") == "-" + below + " none");
  });
}

TEST_CASE("bodies are read whole, in pieces, by lines, or not at all") {
  web::Application app({.client_max_size = 1000});
  app.router().add_post("/read", [](web::Request& request) {
    return web::Response({.body = await(request.read()) + await(request.text())});
  });
  app.router().add_post("/lines", [](web::Request& request) {
    std::string all;
    for (const std::string& line : request.content().iter_lines()) all += "[" + line + "]";
    return web::Response({.text = all});
  });
  app.router().add_post("/count", [](web::Request& request) {
    std::size_t size = 0;
    for (const std::string& piece : request.content().iter_chunked(1000)) size += piece.size();
    return web::Response({.text = std::to_string(size)});
  });
  app.router().add_post("/ignore", says("ignored"));
  with_app(app, [](TestClient& client) {
    CHECK(await(client.post("/read", {.data = "ab"})).text() == "abab");
    CHECK(await(client.post("/lines", {.data = "a\nb\nc"})).text() == "[a\n][b\n][c]");
    CHECK(await(client.post("/count", {.data = std::string(3'000'000, 'x')})).text() == "3000000");
    CHECK(await(client.post("/ignore", {.data = std::string(300'000, 'x')})).text() == "ignored");
    const auto large = await(client.post("/read", {.data = std::string(1001, 'x')}));
    CHECK(large.status == 413);
    CHECK(large.text() == "Maximum request body size 1000 exceeded, actual body size 1001");
    CHECK(await(client.raw("POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
              .ends_with("\r\n\r\nabcabc"));
  });
}

TEST_CASE("compressed bodies are decompressed, a bounded piece at a time") {
  const auto pack = [](const std::string& text, http::Wrapping wrapping) {
    std::string packed;
    http::Compressor compressor(wrapping);
    compressor.feed(text, packed);
    compressor.finish(packed);
    return packed;
  };
  web::Application app({.client_max_size = 100'000});
  app.router().add_post(
      "/", [](web::Request& request) { return web::Response({.body = await(request.read())}); });
  with_app(app, [&](TestClient& client) {
    const auto post = [&](std::string data, const char* coding) {
      return await(
          client.post("/", {.data = std::move(data), .headers = {{"Content-Encoding", coding}}}));
    };
    CHECK(post(pack("hello", http::Wrapping::gzip), "gzip").text() == "hello");
    CHECK(post(pack("hello", http::Wrapping::zlib), "deflate").text() == "hello");
    CHECK(post(pack("hello", http::Wrapping::raw), "deflate").text() == "hello");
    CHECK(post(pack(std::string(50'000'000, 'a'), http::Wrapping::gzip), "gzip").status == 413);
    CHECK(post("nonsense", "gzip").status == 400);
    const std::string cut = pack("hello", http::Wrapping::gzip);
    CHECK(post(cut.substr(0, cut.size() - 3), "gzip").status == 400);
    CHECK(post("as it is", "unknown").text() == "as it is");
  });
}

TEST_CASE("forms of both kinds") {
  web::Application app;
  app.router().add_post("/", [](web::Request& request) {
    std::string all;
    for (const auto& [name, field] : await(request.post()))
      all += name + "=" +
             (field.is_file() ? field.file().filename + ":" + field.file().file + ":" +
                                    field.file().content_type
                              : field.text()) +
             ";";
    return web::Response({.text = all});
  });
  app.router().add_post("/parts", [](web::Request& request) {
    std::string all;
    const web::MultipartReader reader = await(request.multipart());
    while (auto part = await(reader.next())) {
      all += part->name + "(";
      for (;;) {
        const std::string chunk = await(part->read_chunk(3));
        if (chunk.empty()) break;
        all += chunk + ",";
      }
      all += ")";
    }
    return web::Response({.text = all});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.post("/", {.data = http::Params{{"a", "1 &"}, {"b", ""}}})).text() ==
          "a=1 &;b=;");
    // A file as an editor leaves it, by `curl --data-binary @file`.
    const http::Headers urlencoded{{"Content-Type", "application/x-www-form-urlencoded"}};
    const auto form = [&](const std::string& body) {
      return await(client.post("/", {.data = body, .headers = urlencoded})).text();
    };
    CHECK(form("a=1&b=2\r\n") == "a=1;b=2;");
    CHECK(form("a= 1\nb%20 \n\n") == "a= 1\nb ;");
    CHECK(form(" \n").empty());
    const std::string parts =
        "preamble\r\n--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--x\r\n"
        "--B\r\nContent-Disposition: form-data; name=f; filename=\"n \\\" m\"\r\n"
        "Content-Type: text/x\r\n\r\n\r\n--B\r\nContent-Disposition: form-data; name=c\r\n\r\n"
        "abcdefg\r\n--B--\r\nepilogue";
    const http::Headers type{{"Content-Type", "multipart/form-data; boundary=\"B\""}};
    CHECK(await(client.post("/", {.data = parts, .headers = type})).text() ==
          "a=one\r\n--x;f=n \" m::text/x;c=abcdefg;");
    CHECK(await(client.post("/parts", {.data = parts, .headers = type})).text() ==
          "a(one,\r\n-,-x,)f()c(abc,def,g,)");
    // The boundary behind an empty part, in pieces of any size.
    const std::string empty =
        "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n--B\r\n"
        "Content-Disposition: form-data; name=b\r\n\r\n-\r\n--B\r\n"
        "Content-Disposition: form-data; name=c\r\n\r\n\r\n--B--";
    for (const std::size_t size : {1U, 2U, 1000U}) {
      std::string request =
          "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
          "Content-Type: multipart/form-data; boundary=B\r\n\r\n";
      for (std::size_t at = 0; at < empty.size(); at += size) {
        const std::string piece = empty.substr(at, size);
        char length[20];
        std::snprintf(length, sizeof length, "%zx\r\n", piece.size());
        request += length + piece + "\r\n";
      }
      CHECK(await(client.raw(request + "0\r\n\r\n")).ends_with("\r\n\r\na=;b=-;c=;"));
    }
    CHECK(await(client.post("/", {.data = "--B\r\nno end", .headers = type})).status == 400);
    CHECK(await(client.post("/parts", {.data = "x"})).status == 500);  // no multipart
  });
}

TEST_CASE("forms in ISO-8859-1, and forms that are none") {
  web::Application app;
  app.router().add_post("/", [](web::Request& request) {
    std::string all;
    for (const auto& [name, field] : await(request.post()))
      all += name + "=" + (field.is_file() ? field.file().filename : field.text()) + ";";
    return web::Response({.text = all});
  });
  with_app(app, [](TestClient& client) {
    const auto post = [&](const char* type, std::string data) {
      return await(
          client.post("/", {.data = std::move(data), .headers = {{"Content-Type", type}}}));
    };
    CHECK(
        post("application/x-www-form-urlencoded; charset=ISO-8859-1", "a=%e9+\xE9&b=%zz").text() ==
        "a=\u00E9 \u00E9;b=%zz;");
    const std::string parts =
        "--B\r\nContent-Disposition: form-data; name=a\r\n"
        "Content-Type: text/plain; charset=ISO-8859-1\r\n\r\n\xE9\r\n"
        "--B\r\nContent-Disposition: form-data; name=b; filename*=ISO-8859-1''%e9.txt\r\n\r\n\r\n"
        "--B\r\nContent-Disposition: form-data; name=c; filename*=UTF-8''%c3%a9.txt\r\n\r\n\r\n"
        "--B\r\nContent-Disposition: form-data; name=x; name*=utf-8''%c3%a9\r\n\r\nd\r\n"
        "--B--\r\n";
    CHECK(post("multipart/form-data; boundary=B", parts).text() ==
          "a=\u00E9;b=\u00E9.txt;c=\u00E9.txt;\u00E9=d;");
    // The bytes of a part that is no text are not changed.
    const std::string bytes =
        "--B\r\nContent-Disposition: form-data; name=a\r\n"
        "Content-Type: application/octet-stream\r\n\r\n\xE9\xFF\r\n"
        "--B\r\nContent-Disposition: form-data; name=b\r\n\r\n\xFF\r\n--B--\r\n";
    CHECK(post("multipart/form-data; boundary=B", bytes).text() == "a=\xE9\xFF;b=\uFFFD;");
    CHECK(post("multipart/form-data", parts).status == 400);
    // None of many fields is lost without a word.
    std::string fields;
    for (int i = 0; i < 10'000; ++i) fields += "a&";
    CHECK(post("application/x-www-form-urlencoded", fields).text().size() == 30'000);
    CHECK(post("application/x-www-form-urlencoded", fields + "b").status == 400);
    const std::string longest = "multipart/form-data; boundary=" + std::string(71, 'B');
    CHECK(post(longest.c_str(), parts).status == 400);
  });
}

TEST_CASE("a client that expects 100 is told to go on, or not") {
  web::Application app;
  app.router().add_post(
      "/", [](web::Request& request) { return web::Response({.body = await(request.read())}); });
  with_app(app, [](TestClient& client) {
    const std::string fields = "Host: x\r\nConnection: close\r\nContent-Length: 2\r\n";
    const std::string answer =
        await(client.raw("POST / HTTP/1.1\r\n" + fields + "Expect: 100-continue\r\n\r\nab"));
    CHECK(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with("\r\n\r\nab"));
    CHECK(await(client.raw("POST / HTTP/1.1\r\n" + fields + "Expect: magic\r\n\r\nab"))
              .starts_with("HTTP/1.1 417 "));
    CHECK(await(client.raw("POST / HTTP/1.1\r\n" + fields + "Expect:\r\n\r\nab"))
              .starts_with("HTTP/1.1 200 "));
    CHECK(await(client.raw("POST /none HTTP/1.1\r\n" + fields + "Expect: 100-continue\r\n\r\n"))
              .starts_with("HTTP/1.1 404 "));
  });
}

TEST_CASE("a target with a host of its own takes the place of the field Host") {
  web::Application app;
  app.router().add_get("/p", [](web::Request& request) {
    return web::Response({.text = std::string(request.host()) + "|" + request.url()});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.raw("GET /p HTTP/1.0\r\n\r\n")).ends_with("127.0.0.1|http://127.0.0.1/p"));
    const auto answer = [&](const std::string& target) {
      const std::string all = await(
          client.raw("GET " + target + " HTTP/1.1\r\nHost: y:1\r\nConnection: close\r\n\r\n"));
      return all.substr(all.find("\r\n\r\n") + 4);
    };
    CHECK(answer("/p") == "y:1|http://y:1/p");
    CHECK(answer("http://h:2/p") == "h|http://h:2/p");
  });
}

TEST_CASE("a body that was asked for and is not read ends no connection; one not asked for does") {
  web::Application app;
  app.router().add_route("*", "/", says("unread"));
  with_app(app, [](TestClient& client) {
    const std::string last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const auto answers = [&](const std::string& request) {
      const std::string all = await(client.raw(request + "ab" + last));
      std::string lines;
      for (std::size_t at = 0; (at = all.find("HTTP/1.1 ", at)) != all.npos; at += 9)
        lines += all.substr(at + 9, 3) + " ";
      return lines + (all.find("Connection: close") != all.npos ? "closes" : "");
    };
    const std::string fields = "Host: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    CHECK(answers("POST / HTTP/1.1\r\n" + fields) == "100 200 200 closes");
    CHECK(answers("POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + fields) ==
          "200 closes");  // the first answer is one of HTTP/1.0
    CHECK(answers("POST /none HTTP/1.1\r\n" + fields) == "404 closes");
  });
}

TEST_CASE("requests that come together are answered in order") {
  web::Application app;
  app.router().add_get("/{n}", [](web::Request& request) {
    const int n = std::stoi(request.match_info()["n"]);
    await(asyncio::sleep(std::chrono::seconds(9 - n)));
    return web::Response({.text = "<" + std::to_string(n) + ">"});
  });
  with_app(app, [](TestClient& client) {
    std::string requests;
    for (int n = 0; n < 9; ++n)
      requests += "GET /" + std::to_string(n) + " HTTP/1.1\r\nHost: x\r\n" +
                  (n == 8 ? "Connection: close\r\n" : "") + "\r\n";
    const std::string answers = await(client.raw(requests));
    std::string order;
    for (std::size_t at = 0; (at = answers.find('<', at)) != std::string::npos; ++at)
      order += answers[at + 1];
    CHECK(order == "012345678");
  });
}

TEST_CASE("context variables that a handler sets do not reach the next request") {
  static const fiber::contextvars::ContextVar<int> var("var", 0);
  web::Application app;
  app.router().add_get("/", [](web::Request&) {
    const int before = var.get();
    var.set(1);
    return web::Response({.text = std::to_string(before)});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.get("/")).text() == "0");
    CHECK(await(client.get("/")).text() == "0");
  });
}

TEST_CASE(
    "the client of tests keeps cookies by path and time, and follows its server's redirects") {
  web::Application app;
  app.router().add_get("/set", [](web::Request&) {
    web::Response response;
    response.set_cookie("all", "1");
    response.set_cookie("inner", "1", {.path = "/in"});
    response.set_cookie("tls", "1", {.secure = true});
    response.set_cookie("past", "1", {.expires = "Thu, 01 Jan 1970 00:00:00 GMT"});
    response.set_cookie("here", "Max-Age=0");
    return response;
  });
  const auto say = [](web::Request& request) {
    return web::Response({.text = std::string(request.method()) + " " +
                                  std::string(request.raw_path()) + " " +
                                  std::string(request.headers().get("Cookie", "none"))});
  };
  app.router().add_route("*", "/in/{name}", say);
  app.router().add_route("*", "/out", say);
  app.router().add_route("*", "/go/{status:\\d+}", [](web::Request& request) {
    return web::Response({.status = std::stoi(request.match_info()["status"]),
                          .headers = {{"Location", request.query()["to"]}}});
  });
  with_app(app, [](TestClient& client) {
    const auto text = [&](const std::string& path, const std::string& method = "GET") {
      return await(client.request(method, path)).text();
    };
    text("/set");
    CHECK(text("/in/x") == "GET /in/x all=1; inner=1; here=Max-Age=0");
    CHECK(text("/out") == "GET /out all=1; here=Max-Age=0");
    CHECK(await(client.get("/out", {.cookies = {{"all", "2"}}})).text() ==
          "GET /out here=Max-Age=0; all=2");
    CHECK(text("/go/302?to=../out%3Fa").starts_with("GET /out?a "));
    CHECK(text("/go/302?to=" + client.server().make_url("/in/y")).starts_with("GET /in/y "));
    CHECK(text("/go/302?to=/out", "PUT").starts_with("PUT /out "));
    CHECK(text("/go/303?to=/out", "PUT").starts_with("GET /out "));
    CHECK(await(client.get("/go/302?to=http://other.test/out")).status == 302);
  });
}
