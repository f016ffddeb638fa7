#include <fiber/aiohttp/test_utils.hpp>

#include <fiber/aiohttp/receive_head.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/quoting.hpp>

#include <map>
#include <utility>
#include <vector>

namespace fiber::aiohttp::test_utils {

using asyncio::await;

// --- the server ---------------------------------------------------------------------------------

TestServer::TestServer(const web::Application& app, web::RunnerOptions options)
    : runner_(web::AppRunner(app, std::move(options))) {}
TestServer::TestServer(const web::Server& server) : runner_(web::ServerRunner(server)) {}

void TestServer::start() const {
  if (*port_ != 0) return;
  await(runner_.setup());
  const web::TCPSite site(runner_, host(), 0);
  await(site.start());
  *port_ = site.port();
}
void TestServer::end() const { await(runner_.cleanup()); }
std::string TestServer::make_url(std::string_view path) const {
  return "http://" + host() + ":" + std::to_string(port()) + std::string(path);
}

// --- the client ---------------------------------------------------------------------------------

namespace detail {

struct Wire {
  asyncio::StreamReader reader;
  asyncio::StreamWriter writer;
  std::string held = {};
};

struct ClientObject {
  explicit ClientObject(TestServer its_server) : server(std::move(its_server)) {}

  Wire connect() {
    auto [reader, writer] = await(asyncio::open_connection(server.host(), server.port()));
    return {reader, writer};
  }
  bool more(Wire& wire) {
    const std::string piece = await(wire.reader.read(64 * 1024));
    wire.held += piece;
    return !piece.empty();
  }
  TestResponse read(Wire& wire, const std::string& method, bool& keep) {
    http::MessageParser parser(http::MessageParser::Kind::response);
    http::Head head;
    for (;;) {
      const std::size_t size = aiohttp::detail::receive_head(wire.reader, wire.held);
      if (size == 0) throw ConnectionResetError("Server disconnected");
      const std::string text = wire.held.substr(0, size);
      wire.held.erase(0, size);
      if (!parser.head(text, head, method == "HEAD")) throw ValueError(parser.fault().text);
      if (head.status / 100 == 1) continue;  // the final response follows
      TestResponse response{.status = head.status,
                            .reason = std::string(head.reason),
                            .headers = http::HeadersView(head.fields).copy()};
      const bool framed = head.content_length || head.chunked || method == "HEAD" ||
                          head.status == 204 || head.status == 304;
      keep = framed && !http::list_has(head.field("Connection"), "close") && head.version == 11;
      read_body(wire, parser, response.body);
      return response;
    }
  }
  void read_body(Wire& wire, http::MessageParser& parser, std::string& body) {
    while (!parser.done()) {
      http::BodyStep step;
      if (!parser.step(wire.held, step)) throw ValueError(parser.fault().text);
      body += step.data;
      wire.held.erase(0, step.consumed);
      if (step.data.empty() && step.need_more && !more(wire)) {
        if (!parser.finish()) throw ConnectionResetError("Response payload is not completed");
        return;
      }
    }
  }

  TestServer server;
  std::vector<Wire> idle;
  std::map<std::string, std::string> cookies;
};

namespace {

std::string message_of(const std::string& method, const std::string& target,
                       const TestRequestOptions& options, ClientObject& client) {
  std::string body;
  std::string type;
  if (options.json) {
    body = *options.json;
    type = "application/json";
  } else {
    body = options.data.bytes();
    if (options.data.is_form())
      type = "application/x-www-form-urlencoded";
    else if (!body.empty())
      type = "application/octet-stream";
  }
  std::string head = method + " " + target + " HTTP/1.1\r\n";
  const auto add = [&](std::string_view name, std::string_view value) {
    if (options.headers.contains(name)) return;
    ((head += name) += ": ") += value;
    head += "\r\n";
  };
  add("Host", client.server.host() + ":" + std::to_string(client.server.port()));
  add("Accept", "*/*");
  std::string cookies;
  for (const auto& [name, value] : client.cookies)
    cookies += (cookies.empty() ? "" : "; ") + name + "=" + value;
  for (const auto& [name, value] : options.cookies)
    cookies += (cookies.empty() ? "" : "; ") + name + "=" + value;
  if (!cookies.empty()) add("Cookie", cookies);
  if (!type.empty()) add("Content-Type", type);
  if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH")
    add("Content-Length", std::to_string(body.size()));
  for (const auto& [name, value] : options.headers) head += name + ": " + value + "\r\n";
  return head + "\r\n" + body;
}

void keep_cookies(ClientObject& client, const TestResponse& response) {
  for (const std::string& field : response.headers.getall("Set-Cookie")) {
    const std::string_view pair = std::string_view(field).substr(0, field.find(';'));
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string name(pair.substr(0, equals));
    if (field.find("Max-Age=0") != std::string::npos)
      client.cookies.erase(name);
    else
      client.cookies[name] = pair.substr(equals + 1);
  }
}

}  // namespace
}  // namespace detail

RequestData::RequestData(const http::Params& form)
    : bytes_(http::quote_form(form)), is_form_(true) {}

TestClient::TestClient(const TestServer& server)
    : object_(std::make_shared<detail::ClientObject>(server)) {}

const TestServer& TestClient::server() const noexcept { return object_->server; }

TestClient& TestClient::enter() {
  await(object_->server.start_server());
  return *this;
}
bool TestClient::exit(const std::exception_ptr&) {
  for (const detail::Wire& wire : object_->idle) wire.writer.close();
  object_->idle.clear();
  await(object_->server.close());
  return false;
}

TestResponse TestClient::send(const std::string& method, const std::string& path,
                              const TestRequestOptions& options) const {
  detail::ClientObject& client = *object_;
  std::string verb = method;
  std::string target = path;
  http::append_query(target, options.params);
  TestRequestOptions given = options;
  for (int redirects = 0;; ++redirects) {
    std::optional<detail::Wire> wire;
    while (!client.idle.empty() && !wire) {
      if (!client.idle.back().reader.at_eof()) wire = std::move(client.idle.back());
      client.idle.pop_back();
    }
    if (!wire) wire = client.connect();
    wire->writer.write(detail::message_of(verb, target, given, client));
    bool keep = false;
    TestResponse response = client.read(*wire, verb, keep);
    if (keep)
      client.idle.push_back(*wire);
    else
      wire->writer.close();
    detail::keep_cookies(client, response);
    response.redirects = redirects;
    const bool moves = response.status == 301 || response.status == 302 || response.status == 303 ||
                       response.status == 307 || response.status == 308;
    const std::string location = response.headers.get("Location");
    constexpr int kMost = 10;
    if (!moves || !options.allow_redirects || !location.starts_with('/') || redirects == kMost)
      return response;
    target = location;
    if (response.status < 307 && verb != "HEAD") {
      verb = "GET";
      given.data = {};
      given.json = {};
    }
  }
}

std::string TestClient::exchange(const std::string& bytes) const {
  detail::Wire wire = object_->connect();
  wire.writer.write(bytes);
  try {
    return await(wire.reader.read());
  } catch (const ConnectionError&) {
    return "reset";
  }
}

}  // namespace fiber::aiohttp::test_utils
