// Bodies of aiohttp's requests that are read while they are sent: FormData, files, functions.

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_bodies.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using fiber::asyncio::await;
using support::body_of;
using support::has;
using support::HttpServer;
using support::text_of;
using support::with_session;

TEST_CASE("a form of texts is urlencoded, and one with a file has parts") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto sent = [&](const aiohttp::FormData& form) {
      CHECK(await(session.post(server.url("/fixed"), {.data = form})).ok());
      return server.received().back();
    };
    aiohttp::FormData texts({{"a", "1 2"}, {"b", "\u00e4"}});
    CHECK_FALSE(texts.is_multipart());
    CHECK(body_of(sent(texts)) == "a=1+2&b=%C3%A4");
    CHECK(has(sent(texts), "Content-Type: application/x-www-form-urlencoded"));

    aiohttp::FormData form;
    form.add_field("a", "text");
    form.add_field("f", std::istringstream("data"),
                   {.content_type = "text/csv", .filename = "n\"a\r\nm e\u00e4.txt"});
    form.add_field("q\"\\x", "v");
    form.add_field("io", std::istringstream("x"));
    form.add_field("n\r\n\u00e4", "v");
    CHECK(form.is_multipart());
    const std::string request = sent(form);
    CHECK(body_of(request) ==
          "--B\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Disposition: form-data; name=\"a\"\r\n\r\ntext\r\n"
          "--B\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"f\"; "
          "filename=\"n%22a%0D%0Am%20e%C3%A4.txt\"\r\n\r\ndata\r\n"
          "--B\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Disposition: form-data; name=\"q\\\"\\\\x\"\r\n\r\nv\r\n"
          "--B\r\nContent-Type: application/octet-stream\r\n"
          "Content-Disposition: form-data; name=\"io\"; filename=\"io\"\r\n\r\nx\r\n"
          "--B\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Disposition: form-data; name*=utf-8''n%0D%0A%C3%A4\r\n\r\nv\r\n--B--\r\n");
    CHECK(request.find("\r\nContent-Length: ") != request.npos);
    CHECK(body_of(sent(form)) == body_of(request));
  });
}

TEST_CASE("what is not quoted stays within its line all the same") {
  aiohttp::FormData form({}, {.quote_fields = false});
  form.add_field("q\"\\\u00e4", "v", {.filename = "a\"\u00e4 b"});
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    await(session.post(server.url("/fixed"), {.data = form}));
    CHECK(body_of(server.received().back())
              .find("form-data; name=\"q\\\"\\\\\u00e4\"; filename=\"a\\\"\u00e4 b\"\r\n") !=
          std::string::npos);
  });
  const std::string injection =
      "Newline or carriage return detected in headers. Potential header injection attack.";
  CHECK(text_of<fiber::ValueError>([&] { form.add_field("a", "b", {.content_type = "x\r\ny"}); }) ==
        injection);
  form.add_field("a", "b", {.filename = "x\r\nContent-Type: y"});
  CHECK(text_of<fiber::ValueError>([&] { form(); }) == injection);
}

TEST_CASE("a stream is sent with its length, pieces without") {
  HttpServer server;
  const std::string large = HttpServer::body(1'000'000);
  with_session([&](aiohttp::ClientSession& session) {
    const auto sent = [&](aiohttp::Body body) {
      CHECK(await(session.put(server.url("/fixed"), {.data = std::move(body)})).ok());
      return server.received().back();
    };
    CHECK(has(sent(std::istringstream(large)), "Content-Length: 1000000"));
    CHECK(body_of(server.received().back()) == large);
    CHECK(has(server.received().back(), "Content-Type: application/octet-stream"));
    CHECK(has(sent(std::istringstream("")), "Content-Length: 0"));
    CHECK(body_of(sent(std::vector<std::string>{"a", "", "b"})) == "ab");
    CHECK(has(server.received().back(), "Transfer-Encoding: chunked"));
    CHECK(body_of(sent(fiber::Generator<std::string>([&](auto& self) {
            self.yield("one ");
            self.yield(large);
          }))) == "one " + large);
    CHECK(body_of(sent([] { return std::string(); })) == "");
  });
}

TEST_CASE("a function may await while its body is sent, and others run meanwhile") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    asyncio::Queue<std::string> queue;
    auto feeder = asyncio::create_task(asyncio::Coroutine<void>([&] {
      for (const char* piece : {"one ", "two ", "three", ""}) {
        await(asyncio::sleep(2ms));
        await(queue.put(piece));
      }
    }));
    await(session.post(server.url("/fixed"), {.data = [&] { return await(queue.get()); }}));
    await(feeder);
    CHECK(body_of(server.received().back()) == "one two three");
  });
}

TEST_CASE("an exception of a body's source is the request's exception") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    CHECK(text_of<std::logic_error>([&] {
            await(session.post(server.url("/fixed"), {.data = [i = 0]() mutable -> std::string {
                                 if (i++) throw std::logic_error("no more");
                                 await(asyncio::sleep(1ms));
                                 return "first";
                               }}));
          }) == "no more");
    CHECK(await(session.get(server.url("/fixed"))).ok());
  });
}

TEST_CASE("a request that is cancelled, or timed out, leaves no task behind") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto never = [] {
      await(asyncio::get_running_loop().create_future<void>());
      return std::string();
    };
    CHECK_THROWS_AS(
        await(session.post(server.url("/fixed"),
                           {.data = never, .timeout = aiohttp::ClientTimeout{.total = 20ms}})),
        fiber::TimeoutError);
    auto task = asyncio::create_task(asyncio::Coroutine<void>(
        [&] { await(session.post(server.url("/fixed"), {.data = never})); }));
    await(asyncio::sleep(5ms));
    task.cancel();
    CHECK_THROWS_AS(await(task), asyncio::CancelledError);
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    CHECK(asyncio::all_tasks().size() == 1);
  });
}

TEST_CASE("a redirect that keeps the body reads it once more, or says that it cannot") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const std::string url = server.url("/redirect-as/307?/echo");
    const std::string large = HttpServer::body(500'000);
    auto response = await(session.post(url, {.data = std::istringstream(large)}));
    CHECK(response.ok());
    CHECK(body_of(server.received().back()) == large);
    CHECK(text_of<aiohttp::ClientPayloadError>([&] {
            await(session.post(url, {.data = std::vector<std::string>{"a"}}));
          }).starts_with("Cannot follow redirect with a consumed request body."));
    auto see_other = await(session.post(server.url("/redirect-as/303?/echo"),
                                        {.data = std::vector<std::string>{"a"}}));
    CHECK(see_other.ok());
    CHECK(body_of(server.received().back()) == "");
    CHECK(server.received().back().find("chunked") == std::string::npos);
  });
}

TEST_CASE("an answer may come before the body has gone out") {
  HttpServer server;
  asyncio::run([&] {
    auto early = await(asyncio::start_server(
        [](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          await(reader.readuntil("\r\n\r\n"));
          writer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
          for (int i = 0; i < 3; ++i) {
            await(reader.readuntil("\r\n"));
            const std::string piece = await(reader.readuntil("\r\n"));
            writer.write("3\r\n" + piece);
          }
          await(reader.readuntil("\r\n\r\n"));
          writer.write("0\r\n\r\n");
          await(writer.drain());
          writer.close();
        },
        "127.0.0.1", 0));
    const std::string url =
        "http://127.0.0.1:" + std::to_string(early.sockets()[0].getsockname().port()) + "/";
    asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
      asyncio::Queue<std::string> queue;
      auto response = await(session.post(url, {.data = [&] { return await(queue.get()); }}));
      CHECK(response.status == 200);
      std::string echo;
      for (const char* piece : {"one", "two", "end"}) {
        await(queue.put(piece));
        echo += await(response.content.readexactly(3)) + " ";
      }
      CHECK(echo == "one two end ");
      await(queue.put(""));
      CHECK(await(response.read()) == "");
    });
    early.close();
  });
}

TEST_CASE("a server that wants no more of the body is heard") {
  asyncio::run([&] {
    auto refusing = await(asyncio::start_server(
        [](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          await(reader.readuntil("\r\n\r\n"));
          writer.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
          while (!await(reader.read(65536)).empty()) {
          }
          writer.close();
        },
        "127.0.0.1", 0));
    const std::string url =
        "http://127.0.0.1:" + std::to_string(refusing.sockets()[0].getsockname().port()) + "/";
    asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
      const auto endless = [i = 0]() mutable {
        if (i++) await(asyncio::get_running_loop().create_future<void>());
        return std::string("piece");
      };
      auto response = await(session.post(url, {.data = endless}));
      CHECK(response.status == 413);
      CHECK(await(response.text()) == "no");
    });
    refusing.close();
  });
}

TEST_CASE("a source that never waits stops neither the loop nor its time limit") {
  asyncio::run([&] {
    auto taking = await(asyncio::start_server(
        [](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          const std::string head = await(reader.readuntil("\r\n\r\n"));
          while (head.starts_with("POST /all") && !await(reader.read(65536)).empty()) {
          }
          writer.close();
        },
        "127.0.0.1", 0));
    const std::string url =
        "http://127.0.0.1:" + std::to_string(taking.sockets()[0].getsockname().port());
    asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
      const auto endless = [] { return std::string(65536, 'x'); };
      CHECK_THROWS_AS(await(session.post(url + "/none", {.data = endless})), aiohttp::ClientError);
      CHECK_THROWS_AS(
          await(session.post(url + "/all",
                             {.data = endless, .timeout = aiohttp::ClientTimeout{.total = 50ms}})),
          fiber::TimeoutError);
    });
    taking.close();
  });
}
