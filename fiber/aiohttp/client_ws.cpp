#include <fiber/aiohttp/client_ws.hpp>

#include <fiber/aiohttp/receive_head.hpp>
#include <fiber/aiohttp/websocket_object.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/random.hpp>
#include <fiber/http/websocket.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

namespace fiber::aiohttp {

using asyncio::await;

bool ClientWebSocketResponse::exit(const std::exception_ptr&) {
  await(close());
  return false;
}

namespace detail {
namespace {

struct Address {
  bool secure = false;
  std::string host;
  int port = 80;
  std::string authority;  // the field Host
  std::string target;
  std::optional<http::BasicAuth> auth;
};

// Removes user name and password from the authority of a URL.
std::optional<http::BasicAuth> take_credentials(std::string& authority) {
  const std::size_t at = authority.rfind('@');
  if (at == std::string::npos) return std::nullopt;
  const std::string user = authority.substr(0, at);
  authority.erase(0, at + 1);
  const std::size_t colon = std::min(user.find(':'), user.size());
  http::BasicAuth auth{http::unquote_to_bytes(user.substr(0, colon)),
                       http::unquote_to_bytes(user.substr(std::min(colon + 1, user.size())))};
  if (auth.username.empty() && auth.password.empty()) return std::nullopt;
  return auth;
}

// The credentials of the URL or the argument, of which only one may be given.
std::optional<http::BasicAuth> credentials(const Address& address,
                                           const WsConnectOptions& options) {
  if (address.auth && options.auth)
    throw ValueError("Cannot combine AUTH argument with credentials encoded in URL");
  if (options.auth && options.auth->username.find(':') != std::string::npos)
    throw ValueError("A \":\" is not allowed in login (RFC 1945#section-11.1)");
  const auto& auth = address.auth ? address.auth : options.auth;
  if (auth && options.headers.contains("Authorization"))
    throw ValueError(
        "Cannot combine AUTHORIZATION header with AUTH argument or credentials encoded in URL");
  return auth;
}

Address parse_url(const std::string& url, const http::Params& params) {
  const std::size_t mark = std::min(url.find("://"), url.size());
  const std::string scheme = http::lower(std::string_view(url).substr(0, mark));
  Address address;
  address.secure = scheme == "wss" || scheme == "https";
  if (!address.secure && scheme != "ws" && scheme != "http")
    throw ValueError("'" + url + "' does not begin with ws://, wss://, http:// or https://");
  if (address.secure) address.port = 443;
  std::string_view rest = std::string_view(url).substr(std::min(mark + 3, url.size()));
  const std::size_t path = std::min(rest.find_first_of("/\\?#"), rest.size());
  address.authority = rest.substr(0, path);
  address.auth = take_credentials(address.authority);
  std::string_view target = rest.substr(path);
  target = target.substr(0, target.find('#'));
  address.target = (target.starts_with('/') ? "" : "/") + http::quote(target, "/?[]@!$&'()*+,;=:%");
  http::append_query(address.target, params);
  std::string_view host = address.authority;
  const std::size_t bracket = host.find(']');
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    constexpr int kMost = 65535;
    if (error != std::errc() || end != port.data() + port.size() || address.port < 0 ||
        address.port > kMost)
      throw ValueError("'" + url + "' has no valid port");
    if (address.port == (address.secure ? 443 : 80))
      address.authority.resize(colon);  // where `host` begins, too
    host = std::string_view(address.authority).substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || !http::is_field_value(address.authority))
    throw ValueError("'" + url + "' has no valid host");
  address.host = host;
  return address;
}

std::string random_key() {
  char bytes[16];
  http::fill_randomly(bytes);
  return http::base64({bytes, sizeof bytes});
}

std::string request_head(const Address& address, const http::Headers& headers) {
  std::string head = "GET " + address.target + " HTTP/1.1\r\n";
  for (const auto& [name, value] : headers) ((head += name) += ": ") += value + "\r\n";
  return head + "\r\n";
}

}  // namespace

WsHandshake::WsHandshake(const WsConnectOptions& options)
    : websocket_(options.websocket), key_(random_key()) {
  const auto check = [](std::string_view name, std::string_view value) {
    if (!http::is_token(name) || !http::is_field_value(value))
      throw ValueError("the header '" + std::string(name) + "' cannot be sent");
  };
  const auto set = [&](std::string_view name, std::string_view value) {
    check(name, value);
    headers_.set(name, value);
  };
  for (const auto& [name, value] : options.headers) {
    check(name, value);
    headers_.add(name, value);
  }
  set("Upgrade", "websocket");
  set("Connection", "Upgrade");
  set("Sec-WebSocket-Version", "13");
  set("Sec-WebSocket-Key", key_);
  std::string list;
  for (const std::string& protocol : websocket_.protocols)
    list += (list.empty() ? "" : ",") + protocol;
  if (!list.empty()) set("Sec-WebSocket-Protocol", list);
  if (websocket_.compress)
    set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
  if (!options.origin.empty()) set("Origin", options.origin);
}

ClientWebSocketResponse WsHandshake::accept(const Upgraded& answer, std::string_view rest) const {
  const http::Headers& headers = answer.headers;
  const auto refuse = [&](std::string text) {
    throw WSServerHandshakeError(answer.status, std::move(text), answer.url, headers);
  };
  if (answer.status != 101) refuse("Invalid response status");
  if (!http::equal_ignoring_case(headers.get("Upgrade"), "websocket"))
    refuse("Invalid upgrade header");
  if (!http::list_has(headers.get("Connection"), "upgrade")) refuse("Invalid connection header");
  if (headers.get("Sec-WebSocket-Accept") != http::accept_key(key_))
    refuse("Invalid challenge response");
  const std::string protocol = headers.get("Sec-WebSocket-Protocol");
  const auto& ours = websocket_.protocols;
  if (!protocol.empty() && std::find(ours.begin(), ours.end(), protocol) == ours.end())
    refuse("the server speaks the protocol '" + protocol + "', which was not asked for");
  http::DeflateTerms deflate;
  if (!http::accept_extensions(headers.get("Sec-WebSocket-Extensions"), deflate) ||
      (deflate && !websocket_.compress))
    refuse("Invalid window size, or an extension that was not asked for");
  auto socket = std::make_shared<WebSocketObject>(*answer.reader, *answer.writer, websocket_,
                                                  deflate, true, rest, answer.place);
  socket->start();
  return ClientWebSocketResponse(std::move(socket), protocol, static_cast<bool>(deflate));
}

namespace {

ClientWebSocketResponse shake_hands(const std::string& url, const Address& address,
                                    const WsHandshake& handshake, const std::string& request,
                                    const asyncio::OpenConnectionOptions& connection) {
  auto [reader, writer] = await(asyncio::open_connection(address.host, address.port, connection));
  writer.write(request);
  std::string received;
  const std::size_t size = receive_head(reader, received);
  if (size == 0) throw WSServerHandshakeError(0, "the server has not answered the handshake", url);
  http::MessageParser parser(http::MessageParser::Kind::response);
  http::Head head;
  if (!parser.head(std::string_view(received).substr(0, size), head))
    throw WSServerHandshakeError(0, parser.fault().text, url);
  return handshake.accept({.status = head.status,
                           .url = url,
                           .headers = http::HeadersView(head.fields).copy(),
                           .reader = reader,
                           .writer = writer},
                          std::string_view(received).substr(size));
}

}  // namespace

ClientWebSocketResponse connect_websocket(const std::string& url, const WsConnectOptions& options) {
  if (!options.proxy.empty() || options.proxy_auth)
    throw ValueError("a WebSocket through a proxy needs ClientSession::ws_connect()");
  const Address address = parse_url(url, options.params);
  const auto auth = credentials(address, options);
  const WsHandshake handshake(options);
  http::Headers headers = handshake.headers();
  if (!headers.contains("Host")) headers.set("Host", address.authority);
  if (auth) headers.set("Authorization", http::basic_authorization(*auth));
  const std::string request = request_head(address, headers);
  asyncio::OpenConnectionOptions connection;
  if (address.secure) connection.ssl = options.ssl ? options.ssl : asyncio::ssl_argument(true);
  constexpr auto time = std::chrono::minutes(5);  // as a ClientSession's default
  return asyncio::with(asyncio::timeout(time),
                       [&] { return shake_hands(url, address, handshake, request, connection); });
}

}  // namespace detail
}  // namespace fiber::aiohttp
