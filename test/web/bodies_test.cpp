// The body of a request in the hands of a task that goes on after the handler.
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/events.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::with_app;
using namespace std::chrono_literals;

namespace {

const std::string kAnswered = "PayloadAccessError('the request was answered already')";

// Serves requests whose handler gives its body to a task, and returns what the tasks have got.
std::vector<std::string> told(const std::function<std::function<void()>(web::Request&)>& handler,
                              const std::function<void(TestClient&)>& client) {
  std::vector<std::string> all;
  std::vector<asyncio::Task<void>> tasks;
  web::Application app;
  app.router().add_post("/", [&](web::Request& request) {
    tasks.push_back(asyncio::create_task(
        [&, read = handler(request)] { all.push_back(support::thrown_by(read)); }));
    await(asyncio::sleep(1s));
    return web::Response({.text = "done"});
  });
  with_app(app, [&](TestClient& its_client) {
    client(its_client);
    for (const auto& task : tasks) await(task);
  });
  return all;
}

std::string request(const std::string& body, const std::string& fields = "") {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace

TEST_CASE("a body that is read after its request belongs to no other one") {
  const auto late = [](web::Request& request) -> std::function<void()> {
    return [content = request.content()] {
      await(asyncio::sleep(10s));
      CHECK(content.at_eof() == false);
      await(content.read());
    };
  };
  // The connection is gone, or has another request.
  const std::string body(200'000, 'b');
  CHECK(told(late, [&](TestClient& client) {
          CHECK(await(client.raw(request(body, "Connection: close\r\n"))).ends_with("done"));
        }) == std::vector<std::string>{kAnswered});
  CHECK(told(late, [&](TestClient& client) {
          CHECK(await(client.raw(request(body) + request(body, "Connection: close\r\n")))
                    .ends_with("done"));
        }) == std::vector<std::string>{kAnswered, kAnswered});
}

TEST_CASE("parts of a body that are read after the request was answered are refused") {
  const std::string body = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" +
                           std::string(200'000, 'a') + "\r\n--B--\r\n";
  const std::string fields =
      "Connection: close\r\nContent-Type: multipart/form-data; boundary=B\r\n";
  const auto late = [](web::Request& request) -> std::function<void()> {
    const web::MultipartReader reader = await(request.multipart());
    return [reader, part = await(reader.next())] {
      await(asyncio::sleep(10s));
      CHECK(support::thrown_by([&] { await(reader.next()); }) == kAnswered);
      await(part->read());
    };
  };
  CHECK(told(late, [&](TestClient& client) {
          CHECK(await(client.raw(request(body, fields))).ends_with("done"));
        }) == std::vector<std::string>{kAnswered});
}

TEST_CASE("a task that waits for the body while the request is answered gets an exception") {
  const auto during = [](web::Request& request) -> std::function<void()> {
    return [content = request.content()] { await(content.read()); };
  };
  CHECK(told(during, [&](TestClient& client) {
          const std::string answer =
              await(client.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome"));
          CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
          CHECK(answer.ends_with("done"));
        }) == std::vector<std::string>{kAnswered});
}
