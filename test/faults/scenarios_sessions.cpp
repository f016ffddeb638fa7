// A session of the client at an application of the server, in one loop: connections that go on.
#include "harness.hpp"

#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/eventsource.hpp>
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/aiohttp/web_sse.hpp>
#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>

using namespace std::chrono_literals;
using namespace fiber;
namespace web = fiber::aiohttp::web;
using aiohttp::WSMessage;
using aiohttp::WSMsgType;
using asyncio::await;
using faults::require;

namespace {

// Three events, of which a client that comes back gets those that are left.
web::StreamResponse events(web::Request& request) {
  return asyncio::with(web::sse_response(request, {.ping_interval = 1ms}),
                       [](web::EventSourceResponse& response) {
                         const std::string& last = response.last_event_id();
                         for (int i = last.empty() ? 1 : std::stoi(last) + 1; i <= 3; ++i) {
                           await(response.send("event", {.id = std::to_string(i)}));
                           await(asyncio::sleep(3ms));  // pings go out meanwhile
                         }
                         await(response.wait());
                         return response;
                       });
}

web::StreamResponse echo(web::Request& request) {
  web::WebSocketResponse ws;
  await(ws.prepare(request));
  for (const WSMessage& message : ws) {
    if (message.type == WSMsgType::text) await(ws.send_str(message.data));
    if (message.type == WSMsgType::binary) await(ws.send_bytes(message.data));
    if (message.type == WSMsgType::error) break;
  }
  return ws;
}

// `body(session, server)` beside a server of both.
template <class Body>
void with_server(Body body) {
  asyncio::run([&] {
    web::Application app;
    app.router().add_get("/events", events);
    app.router().add_get("/echo", echo);
    asyncio::with(aiohttp::test_utils::TestServer(app), [&](auto& server) {
      asyncio::with(aiohttp::ClientSession(), [&](auto& session) { body(session, server); });
    });
  });
}

// A side without memory ends the connection: that is no fault of the library.
void expect(const WSMessage& message, WSMsgType type, const std::string& data) {
  if (message.type != type) throw RuntimeError("the WebSocket has ended");
  require(message.data == data, "an echo of a message");
}

}  // namespace

FAULTS_SCENARIO(event_sources) {
  with_server([](aiohttp::ClientSession& session, aiohttp::test_utils::TestServer& server) {
    const aiohttp::EventSourceOptions options{.reconnection_time = 1ms};
    asyncio::with(aiohttp::EventSource(session, server.make_url("/events"), options),
                  [](auto& source) {
                    for (int next = 1; next <= 3; ++next) {
                      const auto event = await(source.receive());
                      require(event && event->data == "event", "an event");
                      require(event->last_event_id == std::to_string(next), "one after the other");
                    }
                    require(source.last_event_id() == "3", "the last one");
                  });
  });
}

FAULTS_SCENARIO(websockets) {
  with_server([](aiohttp::ClientSession& session, aiohttp::test_utils::TestServer& server) {
    aiohttp::WsConnectOptions options;
    options.websocket = {.heartbeat = 5s, .compress = true};
    asyncio::with(session.ws_connect(server.make_url("/echo"), options), [](auto& ws) {
      await(ws.send_str("hello"));
      expect(await(ws.receive()), WSMsgType::text, "hello");
      await(ws.ping());
      const std::string much(100'000, 'x');
      await(ws.send_bytes(much));
      expect(await(ws.receive()), WSMsgType::binary, much);
    });
  });
}
