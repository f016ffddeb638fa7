#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/http/compression.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/folder.hpp"
#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace http = fiber::http;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::Folder;
using support::with_app;
using namespace std::chrono_literals;

namespace {

#if !defined(FIBER_ASAN)  // UndefinedBehaviorSanitizer needs a pipe for its first look at a class
// No file can be opened while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(0);
    REQUIRE(next >= 0);
    ::close(next);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(next);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};
#endif

// Sends the file compressed.
web::Handler packed(const std::string& path) {
  return [path](web::Request&) {
    const web::FileResponse response(path);
    response.enable_compression();
    return response;
  };
}

std::string unpacked(std::string_view data) {
  std::string text;
  http::Decompressor decompressor(http::Wrapping::gzip);
  CHECK(decompressor.feed(data, text, 10'000'000) == http::Decompressor::Result::end);
  return text;
}

}  // namespace

TEST_CASE("others run while a file is compressed, however fast its reader is") {
  const Folder folder;
  folder.make("zeros", std::string(20'000'000, '\0'));
  web::Application app;
  app.router().add_get("/", packed(folder / "zeros"));
  with_app(app, [&](TestClient& client) {
    int turns = 0;
    const auto other = asyncio::create_task([&] {
      for (;; ++turns) await(asyncio::sleep(0));
    });
    // As it comes: taking it apart would give turns, too.
    const std::string answer = await(client.raw(
        "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"));
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(answer.size() < 1'000'000);
    CHECK(turns > 50);
    other.cancel();
  });
}

TEST_CASE("a file is framed as its response is: by a length, in chunks, compressed") {
  const Folder folder;
  const std::string content(100'000, 'f');
  folder.make("file.txt", content);
  const std::string path = folder / "file.txt";
  web::Application app;
  app.router().add_get("/chunks", [&](web::Request&) {
    const web::FileResponse response(path);
    response.enable_chunked_encoding();
    return response;
  });
  app.router().add_get("/packed", packed(path));
  app.router().add_get("/coded", [&](web::Request&) {
    const web::FileResponse response(path);
    response.headers().set("Content-Encoding", "own");
    response.enable_compression();
    return response;
  });
  with_app(app, [&](TestClient& client) {
    const auto chunks = await(client.get("/chunks"));
    CHECK(chunks.headers["Transfer-Encoding"] == "chunked");
    CHECK(chunks.body == content);
    const auto part = await(client.get("/chunks", {.headers = {{"Range", "bytes=1-3"}}}));
    CHECK(part.status == 206);
    CHECK(part.body == "fff");
    // A client that knows no compression gets the file as it is.
    const auto plain = await(client.get("/packed"));
    CHECK_FALSE(plain.headers.contains("Content-Encoding"));
    CHECK(plain.headers["Content-Length"] == std::to_string(content.size()));
    CHECK(plain.body == content);
    const auto packed = await(client.get("/packed", {.headers = {{"Accept-Encoding", "gzip"}}}));
    CHECK(packed.headers["Content-Encoding"] == "gzip");
    CHECK(packed.headers["Transfer-Encoding"] == "chunked");
    CHECK(unpacked(packed.body) == content);
    // The compressed bytes are others: no part of them continues the file.
    CHECK(packed.headers["ETag"].starts_with("W/\""));
    CHECK_FALSE(packed.headers.contains("Accept-Ranges"));
    CHECK(plain.headers["ETag"].starts_with("\""));
    const auto range = await(
        client.get("/packed", {.headers = {{"Accept-Encoding", "gzip"}, {"Range", "bytes=1-3"}}}));
    CHECK(range.status == 200);
    CHECK(unpacked(range.body) == content);
    const auto fresh = await(client.get(
        "/packed",
        {.headers = {{"Accept-Encoding", "gzip"}, {"If-None-Match", packed.headers["ETag"]}}}));
    CHECK(fresh.status == 304);
    CHECK(fresh.headers["ETag"] == packed.headers["ETag"]);
    CHECK(await(client.get("/coded")).body == content);
    for (const char* target : {"/packed", "/chunks"}) {
      const std::string old = await(client.raw(std::string("GET ") + target + " HTTP/1.0\r\n\r\n"));
      CHECK(old.ends_with("\r\n\r\n" + content));
    }
    const std::string head =
        await(client.raw("HEAD /packed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    CHECK(head.find("\r\nContent-Length: 100000\r\n") != std::string::npos);
    CHECK(head.ends_with("\r\n\r\n"));
  });
}

TEST_CASE("a range may end far behind the file") {
  const Folder folder;
  folder.make("file", "0123456789");
  web::Application app;
  app.router().add_static("/s", folder.path());
  with_app(app, [](TestClient& client) {
    const auto range = [&](const char* wanted) {
      const auto response = await(client.get("/s/file", {.headers = {{"Range", wanted}}}));
      return std::to_string(response.status) + " " + response.text() + " " +
             response.headers.get("Content-Range");
    };
    CHECK(range("bytes=8-9223372036854775807") == "206 89 bytes 8-9/10");
    CHECK(range("bytes=8-99999999999999999999") == "206 89 bytes 8-9/10");
    CHECK(range("bytes=-99999999999999999999") == "206 0123456789 bytes 0-9/10");
    CHECK(range("bytes=99999999999999999999-") == "416  bytes */10");
    CHECK(range("bytes=-0") == "416  bytes */10");
    CHECK(range("bytes=0-0") == "206 0 bytes 0-0/10");
    CHECK(range("bytes=9223372036854775807-9223372036854775807") == "416  bytes */10");
  });
}

TEST_CASE("small files, which leave with their heads, and those of more than one piece") {
  const Folder folder;
  web::Application app;
  app.router().add_static("/s", folder.path());
  app.router().add_static("/all", "/");
  with_app(app, [&](TestClient& client) {
    for (const std::size_t size : {0, 1, 4096, 32 * 1024, 32 * 1024 + 1, 70'000}) {
      CAPTURE(size);
      std::string content;
      for (std::size_t i = 0; i < size; ++i) content += static_cast<char>('a' + i % 23);
      folder.make("file", content);
      const auto whole = await(client.get("/s/file"));
      CHECK(whole.status == 200);
      CHECK(whole.headers["Content-Length"] == std::to_string(size));
      CHECK((whole.body == content));
      const auto head = await(client.head("/s/file"));
      CHECK(head.headers["Content-Length"] == std::to_string(size));
      CHECK(head.body.empty());
      if (size < 2) continue;
      const auto part = await(client.get("/s/file", {.headers = {{"Range", "bytes=1-"}}}));
      CHECK(part.status == 206);
      CHECK((part.body == content.substr(1)));
      CHECK(await(client.get("/all" + folder / "file")).body == content);
    }
    CHECK(await(client.get("/all/none")).status == 404);
    CHECK(await(client.get("/all/")).status == 403);
  });
}

#if !defined(FIBER_ASAN)
TEST_CASE("a server without descriptors is at fault, not the client") {
  const Folder folder;
  folder.make("file", "0123456789");
  web::Application app;
  app.router().add_static("/s", folder.path());
  app.router().add_get("/one", [&](web::Request&) { return web::FileResponse(folder / "file"); });
  const support::Log log;
  with_app(app, [](TestClient& client) {
    const auto status = [](const support::Peer& peer, const std::string& path) {
      peer.streams.second.write("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
      return await(peer.streams.first.readuntil("\r\n\r\n")).substr(9, 3);
    };
    for (const char* path : {"/s/file", "/one"}) {
      CAPTURE(std::string(path));
      const support::Peer peer(client);
      await(asyncio::sleep(1s));
      std::string answer;
      {
        const NoDescriptors none;
        answer = status(peer, path);
      }
      CHECK(answer == "500");
    }
    CHECK(await(client.get("/s/file")).status == 200);
  });
}
#endif

TEST_CASE("an index lists links in a circle, links to nothing and names that are no UTF-8") {
  const Folder folder;
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("loop", folder / "loop");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  std::filesystem::create_symlink("sub", folder / "link");
  folder.make("a<b", "");
  folder.make("c\xFF", "");
  web::Application app;
  app.router().add_static("/i", folder.path(), {.show_index = true});
  with_app(app, [](TestClient& client) {
    const auto index = await(client.get("/i"));
    CHECK(index.status == 200);
    const std::string page = index.text();
    const std::size_t begin = page.find("<ul>\n") + 5;
    CHECK(page.substr(begin, page.find("</ul>") - begin) ==
          "<li><a href=\"/i/link\">link/</a></li>\n"
          "<li><a href=\"/i/sub\">sub/</a></li>\n"
          "<li><a href=\"/i/a%3Cb\">a&lt;b</a></li>\n"
          "<li><a href=\"/i/c%FF\">c\uFFFD</a></li>\n"
          "<li><a href=\"/i/dangling\">dangling</a></li>\n"
          "<li><a href=\"/i/loop\">loop</a></li>\n");
  });
}

TEST_CASE("the type of a file that a link leads to is that of its own name") {
  const Folder folder;
  folder.make("page-1.html", "plain");
  folder.make("page-1.html.gz", "packed");
  std::filesystem::create_symlink("page-1.html", folder / "current");
  web::Application app;
  app.router().add_static("/s", folder.path());
  app.router().add_static("/l", folder.path(), {.follow_symlinks = true});
  with_app(app, [](TestClient& client) {
    for (const char* path : {"/s/current", "/l/current"}) {
      const auto plain = await(client.get(path));
      CHECK(plain.headers["Content-Type"] == "text/html");
      CHECK(plain.text() == "plain");
      const auto packed = await(client.get(path, {.headers = {{"Accept-Encoding", "gzip"}}}));
      CHECK(packed.text() == "packed");
    }
  });
  CHECK(web::guess_type("a/film.mov") == "video/quicktime");
  CHECK(web::guess_type("app.webmanifest") == "application/manifest+json");
  CHECK(web::guess_type("a.mov/film").empty());
}

TEST_CASE("clients that go away while a file is sent raise no signal") {
  const Folder folder;
  folder.make("file", std::string(20'000'000, 'x'));
  web::Application app;
  app.router().add_static("/s", folder.path());
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const std::string path = folder / "socket";
    const web::UnixSite site(runner, path);
    await(site.start());
    // The clients have a thread of their own, and leave after more and more bytes: some of them
    // between two steps of the server's.
    await(asyncio::to_thread([&path] {
      const auto to = asyncio::SocketAddress::from_path(path);
      std::vector<char> block(64 * 1024);
      for (std::size_t count = 0; count < 400; ++count) {
        const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(client, to.data(), to.size()) == 0);
        constexpr std::string_view kRequest = "GET /s/file HTTP/1.1\r\nHost: x\r\n\r\n";
        REQUIRE(::send(client, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(kRequest.size()));
        for (std::size_t left = count * 9'000; left > 0;) {
          const ssize_t got = ::recv(client, block.data(), std::min(left, block.size()), 0);
          if (got <= 0) break;
          left -= static_cast<std::size_t>(got);
        }
        ::close(client);
      }
    }));
    await(runner.cleanup());
  });
}
