// Bodies that are compressed: with which coding, and with none.
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/http/compression.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/folder.hpp"
#include "support/web_peer.hpp"

namespace http = fiber::http;
namespace web = fiber::aiohttp::web;
using fiber::aiohttp::test_utils::TestClient;
using fiber::asyncio::await;
using support::Folder;
using support::with_app;

TEST_CASE("compression, with what the client has") {
  const std::string long_text(5000, 'x');
  web::Application app;
  app.router().add_get("/whole", [&](web::Request&) {
    const web::Response response({.text = long_text});
    response.enable_compression();
    return response;
  });
  app.router().add_get("/stream", [&](web::Request& request) {
    const web::StreamResponse response;
    response.enable_compression(web::ContentCoding::gzip);
    await(response.prepare(request));
    await(response.write(long_text));
    return response;
  });
  with_app(app, [&](TestClient& client) {
    const auto unpack = [](const std::string& body, http::Wrapping wrapping) {
      http::Decompressor decompressor(wrapping);
      std::string_view rest = body;
      std::string out;
      CHECK(decompressor.feed(rest, out, 100'000) == http::Decompressor::Result::end);
      return out;
    };
    CHECK(await(client.get("/whole")).text() == long_text);
    const auto gzip = await(client.get("/whole", {.headers = {{"Accept-Encoding", "gzip"}}}));
    CHECK(gzip.headers["Content-Encoding"] == "gzip");
    CHECK(gzip.headers["Content-Length"] == std::to_string(gzip.body.size()));
    CHECK(unpack(gzip.body, http::Wrapping::gzip) == long_text);
    CHECK(gzip.text() == long_text);
    const auto both =
        await(client.get("/whole", {.headers = {{"Accept-Encoding", "gzip, deflate"}}}));
    CHECK(both.headers["Content-Encoding"] == "deflate");
    CHECK(unpack(both.body, http::Wrapping::zlib) == long_text);
    CHECK(both.read() == long_text);
    const auto stream = await(client.get("/stream"));
    CHECK(unpack(stream.body, http::Wrapping::gzip) == long_text);
    CHECK(stream.text() == long_text);
  });
}

TEST_CASE("the coding that the client wants most, and none that it refuses") {
  const Folder folder;
  folder.make("a.txt", "plain");
  folder.make("a.txt.gz", "packed");
  web::Application app;
  app.router().add_static("/s", folder.path());
  app.router().add_get("/", [&](web::Request& request) {
    const web::Response response({.text = std::string(5000, 'x')});
    if (request.query().contains("vary")) response.headers().set("Vary", "*");
    response.enable_compression();
    return response;
  });
  with_app(app, [&](TestClient& client) {
    struct Case {
      std::vector<const char*> accepted;
      const char* whole;
      const char* file = "plain";
    };
    const Case cases[] = {
        {{}, "plain"},
        {{""}, "plain"},
        {{"gzip"}, "gzip", "packed"},
        {{"deflate"}, "deflate"},
        {{"GZip , DEFLATE"}, "deflate", "packed"},
        {{"gzip;q=0"}, "plain"},
        {{"gzip; Q=0.000"}, "plain"},
        {{"gzip;q=0, deflate"}, "deflate"},
        {{"gzip;q=0.8, deflate;q=0.7"}, "gzip", "packed"},
        {{"gzip;q=0.001"}, "gzip", "packed"},
        {{"br, gzip", "deflate;q=0.5"}, "gzip", "packed"},
        {{"*"}, "deflate", "packed"},
        {{"*;q=0"}, "plain"},
        {{"*;q=0, gzip"}, "gzip", "packed"},
        {{"gzip;q=0, *"}, "deflate"},
        {{"deflate;q=0, *;q=0.5"}, "gzip", "packed"},
        {{"identity"}, "plain"},
        {{"identity;q=0"}, "plain"},  // nothing else was asked for
        {{"identity;q=0, gzip;q=0.1"}, "gzip", "packed"},
        {{"identity, gzip;q=0.5"}, "plain"},
        {{"identity;q=0.5, gzip;q=0.5"}, "gzip", "packed"},
        {{"gzipped, x-deflate"}, "plain"},
        {{"gzip;q=1.001"}, "plain"},
        {{"gzip;q=x"}, "plain"},
        {{"gzip;q"}, "plain"},
        {{"gzip;level=9"}, "plain"},
        {{";q=1, gzip;q=0"}, "plain"},
    };
    for (const Case& one : cases) {
      http::Headers headers;
      std::string shown;
      for (const char* field : one.accepted) {
        headers.add("Accept-Encoding", field);
        shown += std::string(field) + " / ";
      }
      CAPTURE(shown);
      const auto whole = await(client.get("/", {.headers = headers}));
      CHECK(whole.headers.get("Content-Encoding", "plain") == one.whole);
      CHECK(whole.headers["Vary"] == "Accept-Encoding");
      CHECK(await(client.get("/s/a.txt", {.headers = headers})).text() == one.file);
    }
    CHECK(await(client.get("/?vary")).headers["Vary"] == "*");
    const auto packed = await(client.get("/s/a.txt", {.headers = {{"Accept-Encoding", "gzip"}}}));
    const auto same = await(client.get(
        "/s/a.txt",
        {.headers = {{"Accept-Encoding", "gzip"}, {"If-None-Match", packed.headers["ETag"]}}}));
    CHECK(same.status == 304);
    CHECK(same.headers["Vary"] == "Accept-Encoding");
  });
}
