// A server in several threads, each with a loop and an application of its own, at one port; and
// clients in several threads. With ThreadSanitizer it tells about data that they share by mistake.
#include <fiber/aiohttp.hpp>
#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/eventsource.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/aiohttp/web_sse.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "ssl/tls.hpp"
#include "support/folder.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using support::Folder;

namespace {

constexpr int kThreads = 3;
constexpr int kRounds = 5;

// Used by all threads.
class Tally {
 public:
  void add(const std::string& what) {
    const std::lock_guard guard(mutex_);
    ++counts_[what];
  }
  int operator[](const std::string& what) {
    const std::lock_guard guard(mutex_);
    return counts_[what];
  }
  // "a: 3, b: 4"
  std::string text() {
    const std::lock_guard guard(mutex_);
    std::string all;
    for (const auto& [what, count] : counts_)
      all += (all.empty() ? "" : ", ") + what + ": " + std::to_string(count);
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> counts_;
};

web::Application make_app(const std::string& folder, Tally& tally) {
  web::Application app;
  app.router().add_get("/hello/{name:[a-z]+}", [](web::Request& request) {
    return web::Response({.text = "Hello, " + request.match_info()["name"]});
  });
  app.router().add_post("/form", [](web::Request& request) {
    const auto form = await(request.post());
    web::Response response({.text = std::to_string(form.size())});
    response.enable_compression();
    return response;
  });
  app.router().add_get("/ws", [](web::Request& request) -> web::StreamResponse {
    web::WebSocketResponse ws;
    await(ws.prepare(request));
    for (const aiohttp::WSMessage& message : ws) await(ws.send_str(message.data + "!"));
    return ws;
  });
  app.router().add_get("/events", [](web::Request& request) -> web::StreamResponse {
    return asyncio::with(web::sse_response(request), [](web::EventSourceResponse& response) {
      response.ping_interval(std::chrono::milliseconds(50));  // finds out that the client has gone
      for (int i = 0; i < 3; ++i) await(response.send("event", {.id = std::to_string(i)}));
      await(response.wait());
      return response;
    });
  });
  app.router().add_static("/files", folder);
  app.on_startup().append([&tally](web::Application&) { tally.add("startup"); });
  app.on_cleanup().append([&tally](web::Application&) { tally.add("cleanup"); });
  return app;
}

// One server of several; run() is for a thread of its own.
class Server {
 public:
  Server(int port, const std::string& folder, Tally& tally, bool secure)
      : thread_([this, port, folder, &tally, secure] { run(port, folder, tally, secure); }) {
    port_ = listening_.get_future().get();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    if (loop_) loop_->call_soon_threadsafe([this] { stopped_.set(); });
    thread_.join();
  }
  int port() const { return port_; }

 private:
  void run(int port, const std::string& folder, Tally& tally, bool secure) {
    try {
      asyncio::run([&] {
        web::RunnerOptions options;
        options.server.access_log = [&tally](std::string_view line) {
          tally.add(std::string(line.substr(line.rfind(' ') + 1)));
        };
        options.server.access_log_format = "%s";
        const web::AppRunner runner(make_app(folder, tally), options);
        await(runner.setup());
        web::SiteOptions its{.reuse_port = true};
        if (secure) its.ssl_context = support::server_context();
        const web::TCPSite site(runner, "127.0.0.1", port, its);
        await(site.start());
        loop_ = asyncio::get_running_loop();
        listening_.set_value(site.port());
        await(stopped_.wait());
        await(runner.cleanup());
      });
    } catch (const std::exception& error) {
      tally.add(std::string("server: ") + error.what());
      if (!loop_) listening_.set_value(0);
    }
  }

  std::optional<asyncio::EventLoop> loop_;
  asyncio::Event stopped_;
  std::promise<int> listening_;
  std::thread thread_;
  int port_ = 0;
};

// Everything once, over connections of its own.
void use(aiohttp::ClientSession& session, const std::string& base, Tally& tally) {
  const auto count = [&](bool good, const char* what) {
    tally.add(good ? what : std::string("wrong ") + what);
  };
  asyncio::with(session.get(base + "/hello/you"),
                [&](auto& response) { count(await(response.text()) == "Hello, you", "hello"); });
  asyncio::with(session.get(base + "/none"),
                [&](auto& response) { count(response.status == 404, "none"); });
  asyncio::with(session.get(base + "/files/numbers"), [&](auto& response) {
    count(await(response.text()) == support::numbers(100'000), "file");
  });
  asyncio::with(session.post(base + "/form", {.data = aiohttp::Params{{"a", "1"}, {"b", "2"}}}),
                [&](auto& response) { count(await(response.text()) == "2", "form"); });
  asyncio::with(session.ws_connect(base + "/ws", {.websocket = {.compress = true}}), [&](auto& ws) {
    await(ws.send_str("hello"));
    count(await(ws.receive_str()) == "hello!", "message");
  });
  asyncio::with(aiohttp::EventSource(session, base + "/events"), [&](auto& source) {
    for (int i = 0; i < 3; ++i) count(await(source.receive())->data == "event", "event");
  });
}

void run_client(const std::string& base, bool secure, Tally& tally) {
  try {
    asyncio::run([&] {
      for (int round = 0; round < kRounds; ++round) {
        aiohttp::SessionOptions options;
        if (secure) options.connector = {.ssl = support::certificates()("authority.pem")};
        asyncio::with(aiohttp::ClientSession(options), [&](aiohttp::ClientSession& session) {
          asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
            for (int i = 0; i < 2; ++i) (void)group.create_task([&] { use(session, base, tally); });
          });
        });
      }
    });
  } catch (const std::exception& error) {
    tally.add(std::string("client: ") + error.what());
  }
}

}  // namespace

TEST_CASE("a loop in each thread: servers at one port, and clients") {
  bool secure = false;
  SUBCASE("plain") {}
  SUBCASE("TLS") { secure = true; }
  const Folder folder;
  folder.make("numbers", support::numbers(100'000));
  Tally tally;
  static_cast<void>(support::certificates());  // made before others ask for them
  {
    std::vector<std::unique_ptr<Server>> servers;
    int port = 0;
    for (int i = 0; i < kThreads; ++i) {
      servers.push_back(std::make_unique<Server>(port, folder.path(), tally, secure));
      port = servers.back()->port();
    }
    REQUIRE(port != 0);
    const std::string base =
        (secure ? "https://localhost:" : "http://127.0.0.1:") + std::to_string(port);
    std::vector<std::jthread> clients;
    for (int i = 0; i < kThreads; ++i)
      clients.emplace_back([&] { run_client(base, secure, tally); });
  }
  // Each of 3 clients has used everything 2 times in each of 5 rounds.
  CHECK(tally.text() ==
        "101: 30, 200: 120, 404: 30, cleanup: 3, event: 90, file: 30, form: 30, hello: 30, "
        "message: 30, none: 30, startup: 3");
}
