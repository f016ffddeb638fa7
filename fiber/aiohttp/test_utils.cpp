#include <fiber/aiohttp/test_utils.hpp>

#include <fiber/aiohttp/receive_head.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/http/compression.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <chrono>
#include <charconv>
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

struct Cookie {
  std::string name;
  std::string value;
  std::string path;
};

struct Wire {
  asyncio::StreamReader reader;
  asyncio::StreamWriter writer;
  std::string held = {};
};

struct ClientObject {
  explicit ClientObject(const TestServer& its_server) : server(its_server) {}

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
  std::vector<Cookie> cookies;
};

namespace {

// Returns the path as a target: quoted, from the root, without a fragment.
std::string quoted(std::string_view path) {
  path = path.substr(0, path.find('#'));
  std::string target = http::quote(path, "!\"$%&'()*+,/:;<=>?@[\\]^`{|}");
  const bool is_whole = target == "*" || target.find("://") < target.find_first_of("/?");
  return is_whole || target.starts_with('/') ? target : "/" + target;
}

std::optional<std::string> unpacked(std::string_view bytes, http::Wrapping wrapping) {
  using Result = http::Decompressor::Result;
  constexpr std::size_t kPiece = 64 * 1024;
  http::Decompressor decompressor(wrapping);
  std::string out;
  for (;;) {
    const Result result = decompressor.feed(bytes, out, kPiece);
    if (result == Result::end) return out;
    if (result != Result::more_output) return std::nullopt;
  }
}

// Returns the body without its coding. A server may call the raw format deflate, too.
std::optional<std::string> decompressed(const TestResponse& response) {
  const std::string coding = response.headers.get("Content-Encoding");
  if (response.body.empty()) return std::nullopt;
  if (http::equal_ignoring_case(coding, "gzip"))
    return unpacked(response.body, http::Wrapping::gzip);
  if (!http::equal_ignoring_case(coding, "deflate")) return std::nullopt;
  auto body = unpacked(response.body, http::Wrapping::zlib);
  return body ? body : unpacked(response.body, http::Wrapping::raw);
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

// Returns the path up to its last slash.
std::string_view folder_of(std::string_view target) {
  const std::string_view path = path_of(target);
  return path.substr(0, path.rfind('/') + 1);
}

bool path_matches(std::string_view path, std::string_view allowed) {
  return path.starts_with(allowed) &&
         (path.size() == allowed.size() || allowed.ends_with('/') || path[allowed.size()] == '/');
}

// The cookies for a path, and those of the request, which replace others of their names.
std::string cookie_field(const ClientObject& client, const std::string& target,
                         const TestRequestOptions& options) {
  std::string text;
  const auto add = [&](const std::string& name, const std::string& value) {
    text += (text.empty() ? "" : "; ") + name + "=" + value;
  };
  for (const Cookie& cookie : client.cookies) {
    const bool replaced = std::any_of(options.cookies.begin(), options.cookies.end(),
                                      [&](const auto& one) { return one.first == cookie.name; });
    if (!replaced && path_matches(path_of(target), cookie.path)) add(cookie.name, cookie.value);
  }
  for (const auto& [name, value] : options.cookies) add(name, value);
  return text;
}

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
  if (const auto cookies = cookie_field(client, target, options); !cookies.empty())
    add("Cookie", cookies);
  if (!type.empty()) add("Content-Type", type);
  if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH")
    add("Content-Length", std::to_string(body.size()));
  for (const auto& [name, value] : options.headers) head += name + ": " + value + "\r\n";
  return head + "\r\n" + body;
}

// Keeps a cookie, or forgets the one that it replaces. The server has no TLS: a secure cookie would
// never be sent.
void keep_cookie(ClientObject& client, const std::string& target, std::string_view field) {
  const auto take = [&field](char separator) {
    const std::size_t size = std::min(field.find(separator), field.size());
    const std::string_view part = http::strip(field.substr(0, size));
    field.remove_prefix(std::min(size + 1, field.size()));
    return part;
  };
  const auto split = [](std::string_view part) {
    const std::size_t equals = std::min(part.find('='), part.size());
    return std::pair(http::strip(part.substr(0, equals)),
                     http::strip(part.substr(std::min(equals + 1, part.size()))));
  };
  const std::string_view pair = take(';');
  if (pair.find('=') == std::string_view::npos) return;
  const auto [name, value] = split(pair);
  Cookie cookie{std::string(name), std::string(value), std::string(folder_of(target))};
  bool secure = false;
  std::optional<bool> ended_by_age;
  bool ended = false;
  while (!field.empty()) {
    const auto [key, text] = split(take(';'));
    if (http::equal_ignoring_case(key, "secure")) secure = true;
    if (http::equal_ignoring_case(key, "path") && text.starts_with('/')) cookie.path = text;
    if (http::equal_ignoring_case(key, "max-age")) {
      long long age = 1;
      std::from_chars(text.data(), text.data() + text.size(), age);
      ended_by_age = age <= 0;
    }
    if (http::equal_ignoring_case(key, "expires")) {
      const auto date = http::parse_date(text);
      const auto now = std::chrono::system_clock::now();
      ended = date && *date <= std::chrono::system_clock::to_time_t(now);
    }
  }
  std::erase_if(client.cookies, [&](const Cookie& one) {
    return one.name == cookie.name && one.path == cookie.path;
  });
  if (!secure && !ended_by_age.value_or(ended)) client.cookies.push_back(std::move(cookie));
}

// Returns the target that a Location of this server means, "" for any other.
std::string target_of(const TestServer& server, const std::string& target, std::string location) {
  location.resize(std::min(location.find('#'), location.size()));
  if (location.starts_with("//")) location.insert(0, "http:");
  const std::string origin = server.make_url("");
  if (location.starts_with(origin) &&
      (location.size() == origin.size() || location[origin.size()] == '/' ||
       location[origin.size()] == '?')) {
    location.erase(0, origin.size());
    return location.starts_with('/') ? location : "/" + location;
  }
  if (location.starts_with('/')) return location;
  const std::size_t mark = location.find_first_of(":/?");
  if (mark != std::string::npos && location[mark] == ':') return {};
  if (location.empty() || location.front() == '?') return std::string(path_of(target)) + location;
  std::string folder(folder_of(target));
  for (;;) {
    if (location.starts_with("./")) {
      location.erase(0, 2);
    } else if (location.starts_with("../")) {
      location.erase(0, 3);
      if (folder.size() > 1) folder.resize(folder.rfind('/', folder.size() - 2) + 1);
    } else {
      return folder + location;
    }
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
  std::string target = detail::quoted(path);
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
    for (const std::string& field : response.headers.getall("Set-Cookie"))
      detail::keep_cookie(client, target, field);
    response.redirects = redirects;
    response.decompressed = detail::decompressed(response);
    const bool moves = response.status == 301 || response.status == 302 || response.status == 303 ||
                       response.status == 307 || response.status == 308;
    constexpr int kMost = 10;
    if (!moves || !options.allow_redirects || !response.headers.contains("Location") ||
        redirects == kMost)
      return response;
    std::string next = detail::target_of(client.server, target, response.headers.get("Location"));
    if (next.empty()) return response;
    target = std::move(next);
    const bool changes = response.status == 303 ? verb != "HEAD" : verb == "POST";
    if (response.status < 307 && changes) {
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
