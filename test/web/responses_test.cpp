#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/events.hpp"
#include "support/folder.hpp"
#include "support/lines.hpp"
#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace http = fiber::http;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::Folder;
using support::text;
using support::with_app;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;

struct Value {
  std::string dump() const { return "{\"a\":1}"; }
};

}  // namespace

TEST_CASE("responses say what they are") {
  web::Application app;
  app.router().add_get("/text", [](web::Request&) { return web::Response({.text = "\u20AC"}); });
  app.router().add_get("/body", [](web::Request&) {
    return web::Response({.body = "b", .status = 201, .reason = "Made", .headers = {{"X-A", "1"}}});
  });
  app.router().add_get("/json", [](web::Request&) { return web::json_response(Value()); });
  app.router().add_get("/empty", [](web::Request&) { return web::Response({.status = 204}); });
  app.router().add_get("/cookies", [](web::Request& request) {
    web::Response response({.text = request.cookies().get("a", "none")});
    response.set_cookie("a", "1 2", {.max_age = 60s, .httponly = true, .samesite = "Lax"});
    response.del_cookie("b");
    CHECK_THROWS_AS(response.set_cookie("a b", "1"), fiber::ValueError);
    CHECK_THROWS_AS(response.set_cookie("a", "1", {.path = "/\r\n"}), fiber::ValueError);
    return response;
  });
  app.router().add_get("/coroutine", [](web::Request&) {
    return asyncio::Coroutine<web::Response>([] {
      await(asyncio::sleep(1s));
      return web::Response({.text = "awaited"});
    });
  });
  CHECK_THROWS_AS(web::Response({.body = "a", .text = "b"}), fiber::ValueError);
  with_app(app, [](TestClient& client) {
    const auto euro = await(client.get("/text"));
    CHECK(euro.headers["Content-Type"] == "text/plain; charset=utf-8");
    CHECK(euro.headers["Content-Length"] == "3");
    CHECK(euro.headers.contains("Date"));
    const auto body = await(client.get("/body"));
    CHECK(body.status == 201);
    CHECK(body.reason == "Made");
    CHECK(body.headers["Content-Type"] == "application/octet-stream");
    CHECK(body.headers["x-a"] == "1");
    const auto json = await(client.get("/json"));
    CHECK(json.text() == "{\"a\":1}");
    CHECK(json.headers["Content-Type"] == "application/json; charset=utf-8");
    const auto empty = await(client.get("/empty"));
    CHECK(empty.status == 204);
    CHECK_FALSE(empty.headers.contains("Content-Length"));
    const auto cookies = await(client.get("/cookies"));
    CHECK(cookies.headers.getall("Set-Cookie") ==
          Events{"a=\"1 2\"; HttpOnly; Max-Age=60; Path=/; SameSite=Lax",
                 "b=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"});
    CHECK(await(client.get("/cookies")).text() == "1 2");
    CHECK(await(client.get("/coroutine")).text() == "awaited");
  });
}

TEST_CASE("a text is sent in the charset that is named") {
  const auto bytes_of = [](web::ResponseOptions options) {
    return web::Response(std::move(options)).body();
  };
  CHECK(bytes_of({.text = "a\u00e4\u00ff", .charset = "Latin-1"}) == "a\xE4\xFF");
  CHECK(bytes_of({.text = "\u00e4", .headers = {{"Content-Type", "a/b; charset=iso-8859-1"}}}) ==
        "\xE4");
  CHECK(bytes_of({.text = "\u20ac", .charset = "UTF8"}) == "\u20ac");
  CHECK(bytes_of({.text = "abc", .charset = "koi8-r"}) == "abc");
  for (const char* charset : {"latin-1", "us-ascii", "koi8-r"})
    CHECK_THROWS_AS(bytes_of({.text = "\u20ac", .charset = charset}), fiber::ValueError);
  CHECK_THROWS_AS(bytes_of({.text = "a", .charset = "utf-16"}), fiber::ValueError);
  CHECK_THROWS_AS(bytes_of({.text = "\xC3", .charset = "latin-1"}), fiber::ValueError);
  const web::Response changed({.text = "a", .charset = "latin-1"});
  changed.text("\u00e4");
  CHECK(changed.body() == "\xE4");
  CHECK(changed.charset() == "latin-1");
  CHECK_THROWS_AS(changed.text("\u20ac"), fiber::ValueError);
  CHECK(changed.body() == "\xE4");
}

TEST_CASE("a response's own Server, and a type without a charset") {
  web::Application app;
  app.router().add_get("/", [](web::Request&) {
    return web::Response(
        {.text = "\u00e4", .headers = {{"Server", "mine"}, {"Content-Type", "text/html"}}});
  });
  app.router().add_get("/told", [](web::Request&) {
    return web::Response({.text = "x", .headers = {{"Content-Type", "a/b; charset=ascii"}}});
  });
  with_app(app, [](TestClient& client) {
    const auto answer = await(client.get("/"));
    CHECK(answer.headers.getall("Server") == std::vector<std::string>{"mine"});
    CHECK(answer.headers["Content-Type"] == "text/html; charset=utf-8");
    CHECK(await(client.get("/told")).headers["Content-Type"] == "a/b; charset=ascii");
  });
}

TEST_CASE("a handler's status is a final one") {
  for (const int status : {99, 100, 103, 199, 1000})
    CHECK_THROWS_AS(web::Response({.status = status}), fiber::ValueError);
  const web::Response response({.status = 200});
  CHECK_THROWS_AS(response.set_status(100), fiber::ValueError);
}

TEST_CASE("streams are sent in chunks, by length, or up to the connection's end") {
  web::Application app;
  const auto stream = [](web::Request& request, std::optional<std::uint64_t> length) {
    web::StreamResponse response;
    response.content_length(length);
    CHECK_THROWS_AS(await(response.write("early")), fiber::RuntimeError);
    await(response.prepare(request));
    CHECK_THROWS_AS(response.set_status(404), fiber::RuntimeError);
    for (const char* piece : {"one,", "", "two,"}) await(response.write(piece));
    await(response.write_eof("three"));
    CHECK_THROWS_AS(await(response.write("late")), fiber::RuntimeError);
    return response;
  };
  app.router().add_get("/chunks", [&](web::Request& r) { return stream(r, std::nullopt); });
  app.router().add_get("/length", [&](web::Request& r) { return stream(r, 13); });
  app.router().add_get("/more", [&](web::Request& r) { return stream(r, 5); });
  app.router().add_get("/less", [&](web::Request& r) { return stream(r, 100); });
  with_app(app, [](TestClient& client) {
    const auto chunks = await(client.get("/chunks"));
    CHECK(chunks.text() == "one,two,three");
    CHECK(chunks.headers["Transfer-Encoding"] == "chunked");
    CHECK(await(client.get("/length")).text() == "one,two,three");
    CHECK(await(client.get("/more")).text() == "one,t");
    CHECK_THROWS_AS(await(client.get("/less")), fiber::ConnectionError);
    const std::string old = await(client.raw("GET /chunks HTTP/1.0\r\n\r\n"));
    CHECK(old.starts_with("HTTP/1.0 200 OK\r\n"));
    CHECK(old.find("Transfer-Encoding") == std::string::npos);
    CHECK(old.ends_with("\r\n\r\none,two,three"));
    CHECK(await(client.raw("HEAD /chunks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
              .ends_with("\r\n\r\n"));
  });
}

TEST_CASE("an answer to HEAD may tell the length of a body that was not made") {
  web::Application app;
  app.router().add_head("/option", [](web::Request&) {
    const web::Response response;
    response.content_length(100);
    return response;
  });
  const auto with_field = [](web::Request&) {
    return web::Response({.headers = {{"Content-Length", "100"}}});
  };
  app.router().add_get("/field", with_field);
  app.router().add_head("/odd", [](web::Request&) {
    return web::Response({.headers = {{"Content-Length", "1x"}}});
  });
  app.router().add_head("/body", [](web::Request&) {
    return web::Response({.text = "abc", .headers = {{"Content-Length", "100"}}});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.head("/option")).headers["Content-Length"] == "100");
    CHECK(await(client.head("/field")).headers["Content-Length"] == "100");
    CHECK(await(client.get("/field")).headers["Content-Length"] == "0");
    CHECK(await(client.head("/odd")).headers["Content-Length"] == "0");
    CHECK(await(client.head("/body")).headers["Content-Length"] == "3");
  });
}

TEST_CASE("a response is sent once") {
  web::Application app;
  asyncio::testing::run_test([&] {
    const web::Response kept({.text = "kept"});
    app.router().add_get("/", [kept](web::Request&) { return kept; });
    asyncio::with(TestClient(app), [&](TestClient& client) {
      CHECK(await(client.get("/")).text() == "kept");
      CHECK(await(client.get("/")).status == 500);
    });
  });
}

TEST_CASE("exceptions are responses") {
  web::Application app;
  app.router().add_get("/found",
                       [](web::Request&) -> web::Response { throw web::HTTPFound("/there"); });
  app.router().add_get("/there", [](web::Request&) { return web::Response({.text = "there"}); });
  app.router().add_get("/teapot", [](web::Request&) -> web::Response {
    throw web::HTTPConflict({.headers = {{"X", "y"}}, .text = "no", .content_type = "text/x"});
  });
  app.router().add_get("/none", [](web::Request&) -> web::Response { throw web::HTTPNoContent(); });
  app.router().add_get("/typed", [](web::Request&) -> web::Response {
    throw web::HTTPBadRequest({.headers = {{"Content-Type", "text/html"}}, .text = "\u00e4"});
  });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.get("/found")).text() == "there");
    const auto moved = await(client.get("/found", {.allow_redirects = false}));
    CHECK(moved.status == 302);
    CHECK(moved.headers["Location"] == "/there");
    CHECK(moved.text() == "302: Found");
    const auto conflict = await(client.get("/teapot"));
    CHECK(conflict.status == 409);
    CHECK(conflict.headers["X"] == "y");
    CHECK(conflict.headers["Content-Type"] == "text/x; charset=utf-8");
    CHECK(await(client.get("/none")).status == 204);
    CHECK(await(client.get("/typed")).headers["Content-Type"] == "text/html; charset=utf-8");
  });
  CHECK_THROWS_AS(web::HTTPFound(""), fiber::ValueError);
  CHECK(web::HTTPFound("/a b\r\n").headers()["Location"] == "/a%20b%0D%0A");
  CHECK_THROWS_AS(web::HTTPOk({.reason = "a\nb"}), fiber::ValueError);
}

TEST_CASE("files: ranges, conditions, types, and what lies outside") {
  const Folder folder;
  folder.make("a.txt", "0123456789");
  folder.make("big.bin", std::string(3'000'000, 'b'));
  folder.make("page.html", "plain");
  folder.make("page.html.gz", "packed");
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("/etc/passwd", folder / "link");
  std::filesystem::create_symlink("a.txt", folder / "inner");
  web::Application app;
  app.router().add_static("/s", folder.path());
  app.router().add_static("/i", folder.path(), {.show_index = true});
  app.router().add_get("/one", [&](web::Request&) { return web::FileResponse(folder / "a.txt"); });
  app.router().add_get("/missing", [](web::Request&) { return web::FileResponse("/none/x"); });
  CHECK_THROWS_AS(app.router().add_static("/n", "/none"), fiber::ValueError);
  with_app(app, [&](TestClient& client) {
    const auto get = [&](const char* path, http::Headers headers = {}) {
      return await(client.get(path, {.headers = std::move(headers)}));
    };
    const auto whole = get("/s/a.txt");
    CHECK(whole.text() == "0123456789");
    CHECK(whole.headers["Content-Type"] == "text/plain");
    CHECK(whole.headers["Accept-Ranges"] == "bytes");
    const std::string etag = whole.headers["ETag"];
    const std::string date = whole.headers["Last-Modified"];
    const auto range = [&](const char* wanted) {
      const auto response = get("/s/a.txt", {{"Range", wanted}});
      return std::to_string(response.status) + " " + response.text() + " " +
             response.headers.get("Content-Range");
    };
    CHECK(range("bytes=2-4") == "206 234 bytes 2-4/10");
    CHECK(range("bytes=7-") == "206 789 bytes 7-9/10");
    CHECK(range("bytes=-3") == "206 789 bytes 7-9/10");
    CHECK(range("bytes=-30") == "206 0123456789 bytes 0-9/10");
    CHECK(range("bytes=8-99") == "206 89 bytes 8-9/10");
    CHECK(range("bytes=10-") == "416  bytes */10");
    CHECK(range("bytes=4-2") == "416  bytes */10");
    CHECK(range("lines=1-2") == "416  bytes */10");
    CHECK(get("/s/a.txt", {{"If-None-Match", "\"x\", " + etag}}).status == 304);
    CHECK(get("/s/a.txt", {{"If-None-Match", "\"x\""}, {"If-Modified-Since", date}}).status == 200);
    CHECK(get("/s/a.txt", {{"If-Modified-Since", date}}).status == 304);
    CHECK(get("/s/a.txt", {{"If-Match", "\"x\""}}).status == 412);
    CHECK(get("/s/a.txt", {{"If-Match", etag}}).status == 200);
    CHECK(get("/s/a.txt", {{"If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}}).status ==
          412);
    CHECK(get("/s/a.txt", {{"Range", "bytes=1-1"}, {"If-Range", etag}}).text() == "1");
    CHECK(get("/s/a.txt", {{"Range", "bytes=1-1"}, {"If-Range", "\"x\""}}).status == 200);
    CHECK(get("/s/big.bin").body == std::string(3'000'000, 'b'));
    CHECK(get("/s/page.html").text() == "plain");
    const auto packed = get("/s/page.html", {{"Accept-Encoding", "gzip"}});
    CHECK(packed.text() == "packed");
    CHECK(packed.headers["Content-Encoding"] == "gzip");
    CHECK(packed.headers["Content-Type"] == "text/html");
    const auto head = await(client.head("/s/a.txt"));
    CHECK(head.headers["Content-Length"] == "10");
    CHECK(get("/one").text() == "0123456789");
    CHECK(get("/missing").status == 404);
    CHECK(get("/s/none").status == 404);
    CHECK(get("/s/sub").status == 403);
    CHECK(get("/s/../a.txt").status == 403);
    CHECK(get("/s/%2e%2e/a.txt").status == 403);
    CHECK(get("/s/%2Fetc/passwd").status == 403);
    CHECK(get("/s/a.txt%00").status == 403);
    CHECK(get("/s/link").status == 404);
    CHECK(get("/s/inner").status == 200);
    const auto index = get("/i");
    CHECK(index.text().find("<a href=\"/i/a.txt\">a.txt</a>") != std::string::npos);
  });
}

TEST_CASE("middlewares, sub applications and signals, in their order") {
  Events events;
  const auto noted = [&](std::string name) -> web::Middleware {
    return [&events, name](web::Request& request, const web::Handler& handler) {
      events.push_back(name + " in");
      try {
        const web::StreamResponse response = handler(request);
        events.push_back(name + " out");
        return response;
      } catch (const web::HTTPException& exception) {
        events.push_back(name + " " + std::to_string(exception.status()));
        throw;
      }
    };
  };
  const auto context = [&](std::string name) {
    return [&events, name](web::Application&) -> fiber::Generator<int> {
      return [&events, name](auto& self) {
        events.push_back(name + " begins");
        self.yield(0);
        events.push_back(name + " ends");
      };
    };
  };
  web::Application app({.middlewares = {noted("a"), noted("b")}});
  web::Application sub({.middlewares = {noted("sub")}});
  const web::AppKey<int> number{"number"};
  app[number] = 7;
  app.router().add_get("/", [&](web::Request& request) {
    return web::Response({.text = std::to_string(request.app()[number])});
  });
  sub.router().add_get("/x/{n}", [&](web::Request& request) {
    events.push_back(request.app() == sub ? "in sub" : "elsewhere");
    return web::Response({.text = request.match_info()["n"]});
  });
  app.add_subapp("/sub/", sub);
  app.on_startup().append([&](web::Application&) { events.push_back("startup"); });
  sub.on_startup().append([&](web::Application&) { events.push_back("sub startup"); });
  app.on_shutdown().append([&](web::Application&) { events.push_back("shutdown"); });
  app.on_cleanup().append([&](web::Application&) { events.push_back("cleanup"); });
  app.cleanup_ctx().append(context("one"));
  app.cleanup_ctx().append(context("two"));
  app.on_response_prepare().append([&](web::Request&, web::StreamResponse& response) {
    response.headers().set("X-Prepared", "yes");
  });
  with_app(app, [&](TestClient& client) {
    CHECK(text(events) == text({"one begins", "two begins", "sub startup", "startup"}));
    events.clear();
    CHECK_THROWS_AS(app.router().add_get("/late", [](web::Request&) { return web::Response(); }),
                    fiber::RuntimeError);
    const auto root = await(client.get("/"));
    CHECK(root.text() == "7");
    CHECK(root.headers["X-Prepared"] == "yes");
    CHECK(await(client.get("/sub/x/9")).text() == "9");
    CHECK(await(client.get("/sub/none")).status == 404);
    CHECK(await(client.get("/none")).status == 404);
    CHECK(text(events) == text({"a in",    "b in",    "b out", "a out", "a in", "b in",  "sub in",
                                "in sub",  "sub out", "b out", "a out", "a in", "b in",  "sub in",
                                "sub 404", "b 404",   "a 404", "a in",  "b in", "b 404", "a 404"}));
    events.clear();
  });
  CHECK(text(events) == text({"shutdown", "two ends", "one ends", "cleanup"}));
}

TEST_CASE("paths are made normal by a middleware") {
  web::Application app({.middlewares = {web::normalize_path_middleware()}});
  app.router().add_get("/a/b/", [](web::Request&) { return web::Response({.text = "slash"}); });
  app.router().add_get("/c", [](web::Request&) { return web::Response({.text = "c"}); });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.get("/a/b")).text() == "slash");
    CHECK(await(client.get("/a//b?x=1")).text() == "slash");
    CHECK(await(client.get("/c")).text() == "c");
    CHECK(await(client.get("//c", {.allow_redirects = false})).headers["Location"] == "/c");
    CHECK(await(client.get("/none")).status == 404);
  });
}

TEST_CASE("shutdown: requests are finished or cancelled, and no connection is accepted") {
  Events events;
  web::Application app;
  app.router().add_get("/{seconds}", [&](web::Request& request) {
    const std::string& seconds = request.match_info()["seconds"];
    try {
      await(asyncio::sleep(std::chrono::seconds(std::stoi(seconds))));
      events.push_back(seconds + " finished");
    } catch (const asyncio::CancelledError&) {
      events.push_back(seconds + " cancelled");
      throw;
    }
    return web::Response({.text = seconds});
  });
  app.on_shutdown().append([&](web::Application&) { events.push_back("shutdown"); });
  app.on_cleanup().append([&](web::Application&) { events.push_back("cleanup"); });
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app, {.shutdown_timeout = 10s});
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    CHECK(site.name() == "http://127.0.0.1:" + std::to_string(site.port()));
    const auto ask = [&](const char* target) {
      return asyncio::create_task([&, target] {
        auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", site.port()));
        writer.write(std::string("GET ") + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
        const std::string answer = await(reader.read());
        events.push_back(std::string(target) + (answer.empty() ? " nothing" : " answered"));
      });
    };
    const auto quick = ask("/5");
    const auto slow = ask("/50");
    auto [idle, idle_writer] = await(asyncio::open_connection("127.0.0.1", site.port()));
    await(asyncio::sleep(1s));
    await(runner.cleanup());
    CHECK(await(idle.read()).empty());
    await(quick);
    await(slow);
    CHECK_THROWS_AS(await(asyncio::open_connection("127.0.0.1", site.port())),
                    fiber::ConnectionRefusedError);
  });
  CHECK(text(events) ==
        text({"shutdown", "5 finished", "/5 answered", "50 cancelled", "cleanup", "/50 nothing"}));
}

TEST_CASE("the access log") {
  Events lines;
  web::Application app;
  app.router().add_get("/a", [](web::Request&) { return web::Response({.text = "four"}); });
  web::ServerOptions options;
  options.access_log = [&](std::string_view line) { lines.emplace_back(line); };
  app.router().add_get("/own", [](web::Request&) {
    return web::Response({.body = "{}", .headers = {{"Content-Type", "a/b"}, {"X-Own", "1"}}});
  });
  app.router().add_get("/empty", [](web::Request&) { return web::Response({.status = 204}); });
  app.router().add_get("/chunks", [](web::Request& request) {
    const web::StreamResponse response;
    await(response.prepare(request));
    await(response.write("piece"));
    return response;
  });
  options.access_log_format =
      "%a \"%r\" %s %b %{X}i %{content-type}o %{Content-Length}o %{X-Own}o %%";
  with_app(
      app,
      [](TestClient& client) {
        await(client.get("/a?b", {.headers = {{"X", "\"y"}}}));
        await(client.get("/none"));
        await(client.get("/own"));
        await(client.get("/empty"));
        await(client.get("/chunks"));
      },
      options);
  const std::string text_plain = "text/plain; charset=utf-8";
  CHECK(lines ==
        Events{"127.0.0.1 \"GET /a?b HTTP/1.1\" 200 4 \\x22y " + text_plain + " 4 - %",
               "127.0.0.1 \"GET /none HTTP/1.1\" 404 14 - " + text_plain + " 14 - %",
               "127.0.0.1 \"GET /own HTTP/1.1\" 200 2 - a/b 2 1 %",
               "127.0.0.1 \"GET /empty HTTP/1.1\" 204 0 - - - - %",
               "127.0.0.1 \"GET /chunks HTTP/1.1\" 200 5 - application/octet-stream - - %"});
  options.access_log_format = "%q";
  CHECK_THROWS_AS(web::Server([](web::Request&) { return web::Response(); }, options),
                  fiber::ValueError);
}

TEST_CASE("a site that was stopped may start again") {
  asyncio::run([] {
    web::Application app;
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    CHECK_THROWS_AS(await(site.start()), fiber::RuntimeError);
    const asyncio::SocketAddress first = runner.addresses().at(0);
    await(site.stop());
    CHECK(runner.addresses().empty());
    CHECK_THROWS_AS(await(asyncio::open_connection("127.0.0.1", first.port())),
                    fiber::ConnectionRefusedError);
    await(site.start());
    CHECK(runner.addresses().size() == 1);
    await(runner.cleanup());
  });
}

TEST_CASE("a generator of cleanup_ctx without a yield is an error") {
  web::Application app;
  app.cleanup_ctx().append([](web::Application&) -> fiber::Generator<int> { return [](auto&) {}; });
  asyncio::run([&] {
    const web::AppRunner runner(app);
    CHECK(support::thrown_by([&] { await(runner.setup()); }) ==
          "RuntimeError(\"a generator of cleanup_ctx has ended without a 'yield'\")");
    await(runner.cleanup());
  });
}

TEST_CASE("a site closes the descriptor that it cannot serve") {
  web::Application app;
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const int datagrams = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(datagrams >= 0);
    {
      const web::SockSite site(runner, datagrams);
      CHECK_THROWS_AS(await(site.start()), fiber::ValueError);
      CHECK_THROWS_AS(await(site.start()), fiber::ValueError);
      CHECK(::fcntl(datagrams, F_GETFD) >= 0);
    }
    CHECK(::fcntl(datagrams, F_GETFD) < 0);
    await(runner.cleanup());
  });
}

TEST_CASE("a signal that throws for every response is told, and the connection ends") {
  support::Log log;
  web::Application app;
  app.on_response_prepare().append(
      [](web::Request&, web::StreamResponse&) { throw fiber::ValueError("no"); });
  with_app(app, [](TestClient& client) {
    CHECK(await(client.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == "");
  });
  const std::string told = log.take();
  CHECK(told.find("ValueError('no')") != std::string::npos);
  CHECK(told.find("Unhandled") == std::string::npos);
}
