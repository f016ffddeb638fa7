// Server-sent events, from the server's side to the client's, on the virtual clock.
#include <fiber/aiohttp/eventsource.hpp>
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/aiohttp/web_sse.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/clock.hpp"
#include "support/lines.hpp"
#include "support/log.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using aiohttp::EventSource;
using aiohttp::MessageEvent;
using aiohttp::ReadyState;
using aiohttp::test_utils::TestServer;
using asyncio::await;
using support::Clock;
using support::text;
using namespace std::chrono_literals;

namespace {

using Events = std::vector<std::string>;
using Handler = std::function<web::StreamResponse(web::Request&)>;

std::string show(const MessageEvent& event) {
  return event.type + "|" + event.data + "|" + event.last_event_id;
}

// `body(url, session)` beside a server with this handler at /events.
template <class Body>
void with_events(Handler handler, Body body) {
  asyncio::testing::run_test([&] {
    web::Application app;
    app.router().add_get("/events", handler);
    asyncio::with(TestServer(app), [&](TestServer& server) {
      asyncio::with(aiohttp::ClientSession(), [&](aiohttp::ClientSession& session) {
        body(server.make_url("/events"), session);
      });
    });
  });
}

}  // namespace

TEST_CASE("events go from send() to the loop over a source; 204 ends it") {
  int requests = 0;
  Events events;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        if (++requests == 2) return web::Response({.status = 204});
        CHECK(request.headers().get("Accept") == "text/event-stream");
        CHECK(request.headers().get("Cache-Control") == "no-store");
        return asyncio::with(web::sse_response(request), [](web::EventSourceResponse& response) {
          CHECK(response.is_connected());
          CHECK(response.last_event_id() == "");
          await(response.send("a"));
          await(response.send("b\nc\r\nd\re", {.id = "1", .event = "type"}));
          await(response.send(""));
          await(response.send("f", {.id = "two\nlines", .event = "x\ry", .retry = 7s}));
          return response;
        });
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        asyncio::with(EventSource(session, url), [&](EventSource& source) {
          CHECK(source.ready_state() == ReadyState::open);
          for (const MessageEvent& event : source) {
            CHECK(event.origin == url.substr(0, url.rfind('/')));
            events.push_back(show(event));
          }
          CHECK(source.ready_state() == ReadyState::closed);
          CHECK(source.last_event_id() == "twolines");
          CHECK(source.reconnection_time() == 7s);
          CHECK_FALSE(await(source.receive()));
        });
      });
  CHECK(text(events) == text({"message|a|", "type|b\nc\nd\ne|1", "message||1", "xy|f|twolines"}));
  CHECK(requests == 2);
}

TEST_CASE("a loop over a source goes on with it, whatever the variable is given meanwhile") {
  Events events;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        return asyncio::with(web::sse_response(request), [](web::EventSourceResponse& response) {
          await(response.send("a"));
          await(response.send("b"));
          await(asyncio::sleep(60s));
          return response;
        });
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        EventSource source(session, url);
        for (const MessageEvent& event : source) {
          events.push_back(show(event));
          if (events.size() == 2) break;
          source = EventSource(session, url + "?other");
        }
        source.close();
      });
  CHECK(text(events) == text({"message|a|", "message|b|"}));
}

TEST_CASE("the head of a stream of events, and its bytes") {
  with_events(
      [](web::Request& request) -> web::StreamResponse {
        return asyncio::with(
            web::sse_response(request, {.headers = {{"X-Own", "1"}}, .sep = "\n"}),
            [](web::EventSourceResponse& response) {
              await(response.send("a\nb", {.id = "1", .event = "e", .retry = 5ms}));
              return response;
            });
      },
      [](const std::string& url, aiohttp::ClientSession& session) {
        auto response = await(session.get(url));
        CHECK(response.headers["Content-Type"] == "text/event-stream");
        CHECK(response.headers["Cache-Control"] == "no-cache");
        CHECK(response.headers["X-Accel-Buffering"] == "no");
        CHECK(response.headers["X-Own"] == "1");
        CHECK(await(response.text()) == "id: 1\nevent: e\ndata: a\ndata: b\nretry: 5\n\n");
      });
}

TEST_CASE("a stream that ends or breaks is asked for again, with the id of the last event") {
  int requests = 0;
  Events events;
  support::Log log;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        events.push_back("request " + std::string(request.headers().get("Last-Event-ID", "none")));
        if (++requests == 4) return web::Response({.status = 204});
        web::EventSourceResponse response;
        await(response.prepare(request));
        if (requests == 1) await(response.send("a", {.id = "1"}));
        if (requests == 2) await(response.send("b", {.retry = 20s}));
        if (requests == 3) {
          await(response.send("c", {.id = "3"}));
          await(response.write("data: cut short"));
          throw fiber::RuntimeError("the handler fails");
        }
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        const Clock clock;
        EventSource source(
            session, url,
            {.reconnection_jitter = 0,
             .on_open = [&] { events.push_back("open " + clock.now()); },
             .on_error =
                 [&](std::exception_ptr error) { events.push_back(error ? "broken" : "ended"); }});
        for (const MessageEvent& event : source) events.push_back(show(event));
        events.push_back("over " + clock.now());
      });
  CHECK(text(events) == text({"request none", "open 0s", "message|a|1", "ended", "request 1",
                              "open 5s", "message|b|1", "ended", "request 1", "open 25s",
                              "message|c|3", "broken", "request 3", "over 45s"}));
}

TEST_CASE("an id that cannot stand in a head does not end the stream") {
  int requests = 0;
  Events events;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        events.push_back("request " + std::string(request.headers().get("Last-Event-ID", "none")));
        if (++requests == 4) return web::Response({.status = 204});
        web::EventSourceResponse response;
        await(response.prepare(request));
        const char* const ids[] = {"  7 ", "a\x01", "\u00E9"};
        await(response.send("x", {.id = ids[requests - 1]}));
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        const EventSource source(session, url);
        for (const MessageEvent& event : source) events.push_back(show(event));
      });
  CHECK(text(events) == text({"request none", "message|x|  7 ", "request 7", "message|x|a\x01",
                              "request none", "message|x|\u00E9", "request \u00E9"}));
}

TEST_CASE("failures in a row are waited for twice as long each, and then thrown") {
  Events events;
  bool works = false;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        if (!works) throw web::HTTPServiceUnavailable();
        web::EventSourceResponse response;
        await(response.prepare(request));
        await(response.send("at last"));
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        const Clock clock;
        aiohttp::EventSourceOptions options;
        options.reconnection_time = 10s;
        options.max_reconnection_time = 60s;
        options.reconnection_jitter = 0;
        options.on_error = [&](std::exception_ptr) { events.push_back("failure " + clock.now()); };
        const EventSource source(session, url, options);
        try {
          await(source.receive());
        } catch (const aiohttp::ClientResponseError& error) {
          events.push_back(std::to_string(error.status()) + " " + clock.now());
        }
        CHECK(source.ready_state() == ReadyState::closed);
        options.on_error = [&](std::exception_ptr) { works = true; };
        const EventSource another(session, url, options);
        events.push_back(show(*await(another.receive())));
      });
  CHECK(text(events) == text({"failure 0s", "failure 10s", "failure 30s", "failure 70s",
                              "failure 130s", "503 190s", "message|at last|"}));
}

TEST_CASE("a random share of the time is waited in addition, another one each time") {
  std::vector<asyncio::nanoseconds> times;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        times.push_back(asyncio::get_running_loop().time());
        if (times.size() == 40) return web::Response({.status = 204});
        web::EventSourceResponse response;
        await(response.prepare(request));
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        CHECK_THROWS_AS(EventSource(session, url, {.reconnection_jitter = -1}), fiber::ValueError);
        const EventSource source(session, url,
                                 {.reconnection_time = 1000s,
                                  .max_reconnection_time = 100s,
                                  .reconnection_jitter = 0.25});
        CHECK_FALSE(await(source.receive()));
      });
  REQUIRE(times.size() == 40);
  std::set<std::int64_t> different;
  for (std::size_t i = 1; i < times.size(); ++i) {
    const asyncio::nanoseconds waited = times[i] - times[i - 1];
    CHECK(waited >= 100s);
    CHECK(waited < 126s);  // a real second goes to the request itself
    different.insert(waited / 1s);
  }
  // Of 25 whole seconds.
  CHECK(different.size() >= 5);
}

TEST_CASE("an answer that is no stream of events is an error at once") {
  const auto error_of = [](const Handler& handler) {
    std::string error = "nothing";
    with_events(handler, [&](const std::string& url, aiohttp::ClientSession& session) {
      const EventSource source(session, url);
      try {
        await(source.connect());
      } catch (const std::exception&) {
        error = fiber::repr(std::current_exception());
        error = error.substr(0, error.find(", url"));
      }
      CHECK(source.ready_state() == ReadyState::closed);
    });
    return error;
  };
  CHECK(error_of([](web::Request&) -> web::StreamResponse {
          throw web::HTTPNotFound();
        }).find("404") != std::string::npos);
  CHECK(error_of([](web::Request&) {
          return web::Response({.text = "data: 1\n\n"});
        }).find("unexpected mimetype: text/plain") != std::string::npos);
}

TEST_CASE("an event that is too large ends the source") {
  with_events(
      [](web::Request& request) -> web::StreamResponse {
        web::EventSourceResponse response;
        await(response.prepare(request));
        await(response.send("fits"));
        await(response.send(std::string(1001, 'x')));
        await(response.wait());
        return response;
      },
      [](const std::string& url, aiohttp::ClientSession& session) {
        const EventSource source(session, url, {.max_event_size = 1000});
        CHECK(await(source.receive())->data == "fits");
        CHECK_THROWS_AS(await(source.receive()), aiohttp::ClientPayloadError);
        CHECK(source.ready_state() == ReadyState::closed);
      });
}

TEST_CASE("an event whose end does not come ends the source, comments may come without end") {
  bool ended = false;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        web::EventSourceResponse response;
        await(response.prepare(request));
        for (int i = 0; i < 30; ++i) await(response.write(":" + std::string(99, 'x') + "\n"));
        await(response.send("fits"));
        for (int i = 0; i < 30; ++i) await(response.write("data: " + std::string(94, 'x') + "\n"));
        await(response.wait());
        ended = true;
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        const EventSource source(session, url, {.max_event_size = 1000});
        CHECK(await(source.receive())->data == "fits");
        CHECK_THROWS_AS(await(source.receive()), aiohttp::ClientPayloadError);
        CHECK(source.ready_state() == ReadyState::closed);
        CHECK_FALSE(await(source.receive()));
        await(asyncio::sleep(60s));
      });
  CHECK(ended);  // by a ping
}

TEST_CASE("close() ends a wait for an event, for an answer and for the next try") {
  bool answers = true;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        if (!answers) await(asyncio::sleep(1h));
        web::EventSourceResponse response;
        await(response.prepare(request));
        await(response.wait());
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        const auto closed_after = [&](const EventSource& source) {
          const Clock clock;
          const auto receiver = asyncio::create_task([&] { return await(source.receive()); });
          await(asyncio::sleep(2s));
          source.close();
          CHECK_FALSE(await(receiver));
          return clock.now();
        };
        CHECK(closed_after(EventSource(session, url)) == "2s");
        answers = false;
        CHECK(closed_after(EventSource(session, url)) == "2s");
        CHECK(closed_after(EventSource(session, "http://127.0.0.1:1/")) == "2s");
      });
}

TEST_CASE("pings go out while nothing else does; a client that is gone ends the stream") {
  Events events;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        web::EventSourceResponse response({.ping_interval = 10s});
        await(response.prepare(request));
        CHECK_THROWS_AS(response.ping_interval(0s), fiber::ValueError);
        await(response.wait());
        events.push_back(response.is_connected() ? "connected" : "gone");
        try {
          await(response.send("x"));
        } catch (const fiber::ConnectionResetError&) {
          events.push_back("reset");
        }
        return response;
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        auto response = await(session.get(url));
        for (int i = 0; i < 4; ++i) {
          const std::string line = await(response.content.readline());
          events.push_back(line.substr(0, line.find('\r')));
        }
        response.release();
        await(asyncio::sleep(60s));
      });
  CHECK(text(events) == text({": ping", "", ": ping", "", "gone", "reset"}));
}

TEST_CASE("other tasks send events, and learn that the request is over") {
  std::vector<web::EventSourceResponse> listeners;
  support::Log log;
  Events events;
  with_events(
      [&](web::Request& request) -> web::StreamResponse {
        web::EventSourceResponse response;
        await(response.prepare(request));
        listeners.push_back(response);
        await(asyncio::sleep(10s));
        throw fiber::RuntimeError("the handler fails");
      },
      [&](const std::string& url, aiohttp::ClientSession& session) {
        auto response = await(session.get(url));
        await(listeners.at(0).send("from outside"));
        events.push_back(await(response.content.readline()));
        await(asyncio::sleep(20s));
        CHECK_FALSE(listeners.at(0).is_connected());
        CHECK_THROWS_AS(await(listeners.at(0).send("late")), fiber::ConnectionResetError);
        await(listeners.at(0).wait());
      });
  CHECK(text(events) == text({"data: from outside\r\n"}));
}

TEST_CASE("a source is never empty, and needs a session that was not moved away") {
  EventSource source("http://127.0.0.1/");
  const EventSource other(std::move(source));
  CHECK(source.url() == other.url());
  CHECK(source.ready_state() == ReadyState::connecting);
  aiohttp::ClientSession session;
  const aiohttp::ClientSession taken(std::move(session));
  CHECK_THROWS_AS(EventSource(session, "http://127.0.0.1/"), fiber::ValueError);
}

TEST_CASE("arguments of events that cannot be sent are refused") {
  CHECK_THROWS_AS(web::EventSourceResponse({.sep = "x"}), fiber::ValueError);
  CHECK_THROWS_AS(web::EventSourceResponse({.ping_interval = 0s}), fiber::ValueError);
  const web::EventSourceResponse fresh;
  CHECK_THROWS_AS(fresh.last_event_id(), fiber::RuntimeError);
  CHECK_THROWS_AS(fresh.stop_streaming(), fiber::RuntimeError);
  CHECK_FALSE(fresh.is_connected());
  with_events(
      [](web::Request& request) -> web::StreamResponse {
        web::EventSourceResponse response;
        CHECK_THROWS_AS(await(response.send("x")), fiber::RuntimeError);
        await(response.prepare(request));
        CHECK_THROWS_AS(await(response.send("x", {.id = std::string("1\0", 2)})),
                        fiber::ValueError);
        CHECK_THROWS_AS(await(response.send("x", {.retry = -1ms})), fiber::ValueError);
        return response;
      },
      [](const std::string& url, aiohttp::ClientSession& session) {
        CHECK(await(await(session.get(url)).text()) == "");
      });
}
