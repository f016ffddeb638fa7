// How applications begin and end, in the order of Python's.
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/lines.hpp"
#include "support/log.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::text;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;

// Functions that note their names; the one whose name is `broken` throws.
struct Notes {
  Events events;
  std::string broken;

  void note(const std::string& what) {
    events.push_back(what);
    if (what == broken) throw std::runtime_error(what + " fails");
  }
  auto function(std::string what) {
    return [this, what](web::Application&) { note(what); };
  }
  auto context(std::string name) {
    return [this, name](web::Application&) -> fiber::Generator<int> {
      return [this, name](auto& self) {
        note("enter " + name);
        self.yield(0);
        note("leave " + name);
      };
    };
  }
  void add_all(const web::Application& app, const std::string& name) {
    app.on_startup().append(function("startup " + name));
    app.on_shutdown().append(function("shutdown " + name));
    app.on_cleanup().append(function("cleanup " + name));
    app.cleanup_ctx().append(context(name + " 1"));
    app.cleanup_ctx().append(context(name + " 2"));
  }
};

// An application with two below it, one in the other.
web::Application nested(Notes& notes) {
  web::Application app, sub, inner;
  notes.add_all(sub, "sub");
  sub.add_subapp("/inner", inner);
  notes.add_all(inner, "inner");
  app.on_startup().append(notes.function("startup first"));
  app.add_subapp("/sub", sub);
  notes.add_all(app, "app");
  return app;
}

std::string outcome(const web::AppRunner& runner, bool begin) {
  try {
    if (begin)
      await(runner.setup());
    else
      await(runner.cleanup());
    return "";
  } catch (const web::CleanupError& error) {
    std::string all = error.what();
    for (const std::exception_ptr& one : error.exceptions()) all += "; " + fiber::str(one);
    return all;
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("contexts come first, then functions and sub applications as they were added") {
  Notes notes;
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(nested(notes));
    await(runner.setup());
    CHECK(text(notes.events) ==
          text({"enter app 1", "enter app 2", "startup first", "enter sub 1", "enter sub 2",
                "startup sub", "enter inner 1", "enter inner 2", "startup inner", "startup app"}));
    notes.events.clear();
    await(runner.cleanup());
    CHECK(text(notes.events) ==
          text({"shutdown sub", "shutdown inner", "shutdown app", "leave app 2", "leave app 1",
                "leave sub 2", "leave sub 1", "cleanup sub", "leave inner 2", "leave inner 1",
                "cleanup inner", "cleanup app"}));
    notes.events.clear();
    await(runner.cleanup());
    CHECK(notes.events.empty());
  });
}

TEST_CASE("after a start that has failed the contexts are left, and nothing else is done") {
  for (const char* broken : {"startup sub", "enter inner 2"}) {
    CAPTURE(std::string(broken));
    Notes notes;
    notes.broken = broken;
    asyncio::testing::run_test([&] {
      const web::AppRunner runner(nested(notes));
      CHECK(outcome(runner, true) == std::string(broken) + " fails");
      CHECK(notes.events.back() == broken);
      notes.events.clear();
      CHECK(outcome(runner, false).empty());
      Events left = {"leave app 2", "leave app 1", "leave sub 2", "leave sub 1"};
      if (notes.broken == "enter inner 2") left.push_back("leave inner 1");
      CHECK(text(notes.events) == text(left));
    });
  }
  Notes notes;
  notes.broken = "startup app";
  CHECK_THROWS_AS(web::run_app(nested(notes), {.print = [](std::string_view) {}}),
                  std::runtime_error);
  CHECK(notes.events.back() == "leave inner 1");
}

TEST_CASE("a signal ends run_app in order, the second one at once, also a startup that waits") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto events_of = [&](const std::string& waits, int signals) {
      Notes notes;
      web::Application app;
      const auto function = [&](const std::string& name) {
        return [&notes, waits, signals, signal, name](web::Application&) {
          notes.note(name);
          if (name == "startup")
            for (int i = 0; i < signals; ++i)
              asyncio::get_running_loop().call_later((i + 1) * 5ms, [=] { ::raise(signal); });
          if (name != waits) return;
          await(asyncio::sleep(signals > 1 ? 60s : 20ms));
          notes.note(name + " has waited");
        };
      };
      app.cleanup_ctx().append(notes.context("context"));
      app.on_startup().append(function("startup"));
      app.on_shutdown().append(function("shutdown"));
      app.on_cleanup().append(function("cleanup"));
      web::run_app(app, {.host = "127.0.0.1", .port = 0, .print = [](std::string_view) {}});
      return text(notes.events);
    };
    CHECK(events_of("startup", 1) == text({"enter context", "startup", "leave context"}));
    CHECK(events_of("shutdown", 1) == text({"enter context", "startup", "shutdown",
                                            "shutdown has waited", "leave context", "cleanup"}));
    CHECK(events_of("shutdown", 2) == text({"enter context", "startup", "shutdown"}));
    CHECK(events_of("cleanup", 2) ==
          text({"enter context", "startup", "shutdown", "leave context", "cleanup"}));
  }
}

TEST_CASE("all of a clean-up is done, whatever parts of it throw") {
  Notes notes;
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(nested(notes));
    await(runner.setup());
    notes.events.clear();
    notes.broken = "leave sub 2";
    CHECK(outcome(runner, false) == "leave sub 2 fails");
    CHECK(notes.events.size() == 12);
  });
  struct Several : Notes {
    auto failing(std::string what) {
      return [this, what](web::Application&) {
        events.push_back(what);
        throw std::runtime_error(what);
      };
    }
  } several;
  asyncio::testing::run_test([&] {
    const web::Application app, sub;
    sub.on_cleanup().append(several.failing("one"));
    sub.on_cleanup().append(several.failing("two"));
    app.add_subapp("/sub", sub);
    app.on_cleanup().append(several.failing("three"));
    const web::AppRunner runner(app);
    await(runner.setup());
    CHECK(outcome(runner, false) == "Multiple errors on cleanup stage; one; two; three");
  });
}

TEST_CASE("a task that a clean-up cancels and awaits does not end the clean-up") {
  Events events;
  const auto end_of = [&events](const char* name) {
    events.push_back(name);
    const auto task = asyncio::create_task([] { await(asyncio::sleep(1h)); });
    task.cancel();
    await(task);
  };
  web::Application app;
  for (const char* name : {"first", "second"})
    app.cleanup_ctx().append([&, name](web::Application&) -> fiber::Generator<int> {
      return [&, name](auto& self) {
        self.yield(0);
        end_of(name);
      };
    });
  app.on_shutdown().append([&](web::Application&) { end_of("shutdown"); });
  app.on_cleanup().append([&](web::Application&) { events.push_back("cleanup"); });
  asyncio::testing::run_test([&] {
    const web::AppRunner runner(app);
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    CHECK_THROWS_AS(await(runner.cleanup()), web::CleanupError);
    CHECK(runner.addresses().empty());
  });
  CHECK(text(events) == text({"shutdown", "second", "first", "cleanup"}));
}

TEST_CASE("after a shutdown that has failed everything is closed and cleaned up") {
  Notes notes;
  notes.broken = "shutdown app";
  asyncio::testing::run_test([&] {
    const web::Application app = nested(notes);
    app.router().add_get("/", [&](web::Request&) {
      try {
        await(asyncio::sleep(1h));
      } catch (const asyncio::CancelledError&) {
        notes.note("cancel the handler");
        throw;
      }
      return web::Response();
    });
    app.on_cleanup().append([](web::Application&) { throw std::runtime_error("cleanup fails"); });
    const web::AppRunner runner(app, {.shutdown_timeout = 1s});
    await(runner.setup());
    const web::TCPSite site(runner, "127.0.0.1", 0);
    await(site.start());
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", site.port()));
    writer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (runner.server().requests_count() == 0) await(asyncio::sleep(0s));
    notes.events.clear();
    CHECK(outcome(runner, false) ==
          "Multiple errors on cleanup stage; shutdown app fails; cleanup fails");
    CHECK(text(notes.events) ==
          text({"shutdown sub", "shutdown inner", "shutdown app", "cancel the handler",
                "leave app 2", "leave app 1", "leave sub 2", "leave sub 1", "cleanup sub",
                "leave inner 2", "leave inner 1", "cleanup inner", "cleanup app"}));
    CHECK(await(reader.read()).empty());
    CHECK(runner.sites().empty());
  });
}

TEST_CASE("functions of on_startup may add routes, handlers may not") {
  web::Application app;
  app.on_startup().append([](web::Application& its) {
    its.router().add_get("/", [](web::Request& request) {
      request.app().router().add_get("/late", [](web::Request&) { return web::Response(); });
      return web::Response();
    });
    CHECK_FALSE(its.frozen());
  });
  const support::Log log;
  support::with_app(app, [&](TestClient& client) {
    CHECK(app.frozen());
    CHECK(await(client.get("/")).status == 500);
    CHECK(await(client.get("/late")).status == 404);
  });
}

TEST_CASE("handles are never empty: moving one is copying it") {
  web::Application app;
  web::Application other(std::move(app));
  CHECK(app == other);
  app.router().add_get("/", [](web::Request&) {
    web::Response response({.text = "text"});
    web::StreamResponse taken(std::move(response));
    CHECK(response.text() == "text");
    return taken;
  });
  web::AppRunner runner(app);
  web::AppRunner second(std::move(runner));
  CHECK(runner.sites().empty());
  CHECK_THROWS_AS(runner.server(), fiber::RuntimeError);
  web::TCPSite site(runner);
  web::TCPSite third(std::move(site));
  CHECK(site.name() == third.name());
  web::Server server([](web::Request&) { return web::Response(); });
  web::Server fourth(std::move(server));
  CHECK(server.connections() == 0);
  asyncio::testing::run_test([&] {
    asyncio::with(TestClient(app), [&](TestClient& client) {
      TestClient fifth(std::move(client));
      CHECK(await(client.get("/")).text() == "text");
      CHECK(client.server().port() == fifth.server().port());
    });
  });
}

TEST_CASE("request.app() is the application whose code asks, and its state is there") {
  Events events;
  const web::AppKey<std::string> name{"name"};
  const auto shown = [&](web::Request& request) { return request.app()[name]; };
  const auto middleware = [&](web::Request& request, const web::Handler& handler) {
    events.push_back(shown(request) + " in");
    try {
      const web::StreamResponse response = handler(request);
      events.push_back(shown(request) + " out");
      return response;
    } catch (const web::HTTPException&) {
      events.push_back(shown(request) + " error");
      throw;
    }
  };
  web::Application app({.middlewares = {middleware}}), sub({.middlewares = {middleware}}), inner;
  app[name] = "app";
  sub[name] = "sub";
  inner[name] = "inner";
  const auto handler = [&](web::Request& request) {
    events.push_back(shown(request) + " handler");
    return web::Response();
  };
  app.router().add_get("/", handler);
  sub.router().add_get("/", handler);
  inner.router().add_get("/", handler);
  sub.add_subapp("/inner", inner);
  app.add_subapp("/sub", sub);
  support::with_app(app, [&](TestClient& client) {
    const auto events_of = [&](const char* path) {
      events.clear();
      await(client.get(path));
      std::string all;
      for (const std::string& event : events) all += event + ", ";
      return all;
    };
    CHECK(events_of("/") == "app in, app handler, app out, ");
    CHECK(events_of("/sub/") == "app in, sub in, sub handler, sub out, app out, ");
    CHECK(events_of("/sub/inner/") == "app in, sub in, inner handler, sub out, app out, ");
    CHECK(events_of("/sub/none") == "app in, sub in, sub error, app error, ");
  });
}
