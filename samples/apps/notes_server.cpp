// notes_server: a small web application with a page, live changes and an access log.
//
// Notes are kept as JSON-like text. The changes go over a WebSocket, and there are a middleware and
// a clean-up, too.
//
//   notes_server [port]
//
//   curl localhost:8080/notes -d 'buy milk'
//   curl localhost:8080/notes
//   curl -X DELETE localhost:8080/notes/1
//
// Ctrl-C ends the server: running requests are finished, WebSockets are closed with a reason.
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;

namespace {

struct Notes {
  std::map<int, std::string> texts;
  int last = 0;
  std::map<int, web::WebSocketResponse> watchers;
  int last_watcher = 0;

  // Sends a change to all watchers. A slow watcher must not delay the others for long.
  void announce(const std::string& change) {
    const auto all = watchers;
    for (const auto& [number, watcher] : all) {
      try {
        await(asyncio::wait_for(watcher.send_str(change), std::chrono::seconds(1)));
      } catch (const std::exception&) {
        watchers.erase(number);
      }
    }
  }
};

constexpr std::string_view kPage = R"(<!doctype html>
<title>Notes</title>
<h1>Notes</h1>
<form method="post" action="/notes"><input name="text"><button>Add</button></form>
<ul id="changes"></ul>
<script>
  const socket = new WebSocket("ws://" + location.host + "/changes");
  socket.onmessage = event => {
    const item = document.createElement("li");
    item.textContent = event.data;
    document.getElementById("changes").append(item);
  };
</script>
)";

web::Response page(web::Request&) {
  return web::Response({.text = std::string(kPage), .content_type = "text/html"});
}

web::Application make_app(Notes& notes) {
  // Puts the time that a request took into its response.
  const web::Middleware timed = [](web::Request& request, const web::Handler& handler) {
    const auto start = std::chrono::steady_clock::now();
    const web::StreamResponse response = handler(request);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (!response.prepared())
      response.headers().set("X-Milliseconds", std::to_string(took.count()));
    return response;
  };
  web::Application app({.middlewares = {timed}, .client_max_size = 10'000});
  app.router().add_get("/", page);
  app.router().add_get("/notes", [&](web::Request&) {
    std::string list;
    for (const auto& [number, text] : notes.texts)
      list += std::to_string(number) + " " + text + "\n";
    return web::Response({.text = list});
  });
  app.router().add_post("/notes", [&](web::Request& request) {
    // A form of the page, or the text itself.
    std::string text = await(request.text());
    const bool form = text.starts_with("text=");
    if (form) {
      const web::Form& fields = await(request.post());
      if (!fields.contains("text"))
        throw web::HTTPUnsupportedMediaType({.text = "text=... is sent as a form\n"});
      text = fields["text"].text();
    }
    if (text.empty()) throw web::HTTPBadRequest({.text = "a note has a text\n"});
    const int number = ++notes.last;
    notes.texts[number] = text;
    notes.announce("+ " + std::to_string(number) + " " + text);
    if (form) throw web::HTTPSeeOther("/");
    return web::Response({.status = 201, .text = std::to_string(number) + "\n"});
  });
  app.router().add_delete("/notes/{number:\\d{1,9}}", [&](web::Request& request) {
    const std::string& number = request.match_info()["number"];
    if (notes.texts.erase(std::stoi(number)) == 0) throw web::HTTPNotFound();
    notes.announce("- " + number);
    return web::Response({.status = 204});
  });
  app.router().add_get("/changes", [&](web::Request& request) {
    const web::WebSocketResponse socket({.heartbeat = std::chrono::seconds(30)});
    await(socket.prepare(request));
    const int number = ++notes.last_watcher;
    notes.watchers.emplace(number, socket);
    for (const aiohttp::WSMessage& message : socket)
      if (message.type == aiohttp::WSMsgType::error) break;
    notes.watchers.erase(number);
    return socket;
  });
  app.on_shutdown().append([&](web::Application&) {
    const auto all = notes.watchers;
    for (const auto& [number, watcher] : all) await(watcher.close(1001, "the server ends"));
  });
  return app;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view given = argc > 1 ? argv[1] : "8080";
  int port = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), port);
  if (error != std::errc() || end != given.data() + given.size()) {
    std::fprintf(stderr, "notes_server [PORT]: '%s' is no port\n", argv[1]);
    return 2;
  }
  Notes notes;
  web::ServerOptions server;
  server.access_log = [](std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stdout);  // also a file shows it at once
  };
  try {
    web::run_app(make_app(notes), {.host = "127.0.0.1", .port = port, .server = server});
  } catch (const fiber::OSError& failure) {  // the port is in use, ...
    std::fprintf(stderr, "notes_server: %s\n", failure.what());
    return 1;
  }
}
