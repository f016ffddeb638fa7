#include <fiber/aiohttp/client_ws.hpp>

#include <fiber/aiohttp/websocket_object.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/websocket.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <sys/random.h>

namespace fiber::aiohttp {

using asyncio::await;

WSServerHandshakeError::WSServerHandshakeError(int status, std::string message,
                                               http::Headers headers)
    : Exception(std::to_string(status) + ", message='" + message + "'"),
      status_(status),
      headers_(std::make_shared<const http::Headers>(std::move(headers))) {}
WSServerHandshakeError::~WSServerHandshakeError() = default;

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
  std::string authority;
  std::string target;
};

Address parse_url(const std::string& url) {
  const std::size_t mark = std::min(url.find("://"), url.size());
  const std::string scheme = http::lower(std::string_view(url).substr(0, mark));
  Address address;
  address.secure = scheme == "wss" || scheme == "https";
  if (!address.secure && scheme != "ws" && scheme != "http")
    throw ValueError("'" + url + "' is no URL that begins with ws://, wss://, http:// or https://");
  if (address.secure) address.port = 443;
  std::string_view rest = std::string_view(url).substr(std::min(mark + 3, url.size()));
  const std::size_t path = std::min(rest.find_first_of("/?#"), rest.size());
  address.authority = rest.substr(0, path);
  std::string_view target = rest.substr(path);
  target = target.substr(0, target.find('#'));
  address.target = (target.starts_with('/') ? "" : "/") + http::quote(target, "/?[]@!$&'()*+,;=:%");
  std::string_view host = address.authority;
  const std::size_t bracket = host.find(']');
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error != std::errc() || end != port.data() + port.size())
      throw ValueError("'" + url + "' has no valid port");
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || !http::is_field_value(address.authority))
    throw ValueError("'" + url + "' has no valid host");
  address.host = host;
  return address;
}

std::string random_key() {
  char bytes[16];
  while (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    if (errno != EINTR) raise_os_error(errno, "getrandom");
  return http::base64({bytes, sizeof bytes});
}

std::string request_head(const Address& address, const WsConnectOptions& options,
                         const std::string& key) {
  std::string head = "GET " + address.target + " HTTP/1.1\r\nHost: " + address.authority +
                     "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
                     key + "\r\n";
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!http::is_token(name) || !http::is_field_value(value))
      throw ValueError("the header '" + std::string(name) + "' cannot be sent");
    ((head += name) += ": ") += value;
    head += "\r\n";
  };
  if (!options.websocket.protocols.empty()) {
    std::string list;
    for (const std::string& protocol : options.websocket.protocols)
      list += (list.empty() ? "" : ",") + protocol;
    add("Sec-WebSocket-Protocol", list);
  }
  if (options.websocket.compress)
    add("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
  if (!options.origin.empty()) add("Origin", options.origin);
  for (const auto& [name, value] : options.headers) add(name, value);
  return head + "\r\n";
}

}  // namespace

ClientWebSocketResponse connect_websocket(const std::string& url, WsConnectOptions options) {
  const Address address = parse_url(url);
  const std::string key = random_key();
  const std::string request = request_head(address, options, key);
  asyncio::OpenConnectionOptions connection;
  if (address.secure) connection.ssl = options.ssl ? options.ssl : asyncio::ssl_argument(true);
  auto [reader, writer] = await(asyncio::open_connection(address.host, address.port, connection));
  writer.write(request);
  std::string received;
  std::size_t size = 0;
  constexpr std::size_t kMost = 64 * 1024;
  while (size == 0) {
    const std::size_t scanned = received.size();
    const std::string piece = await(reader.read(16 * 1024));
    if (piece.empty() || received.size() > kMost)
      throw WSServerHandshakeError(0, "the server has not answered the handshake", {});
    received += piece;
    size = http::end_of_head(received, scanned);
  }
  http::MessageParser parser(http::MessageParser::Kind::response);
  http::Head head;
  if (!parser.head(std::string_view(received).substr(0, size), head))
    throw WSServerHandshakeError(0, parser.fault().text, {});
  const auto refuse = [&](std::string text) {
    throw WSServerHandshakeError(head.status, std::move(text),
                                 http::HeadersView(head.fields).copy());
  };
  if (head.status != 101) refuse("Invalid response status");
  if (!http::equal_ignoring_case(head.field("Upgrade"), "websocket"))
    refuse("Invalid upgrade header");
  if (!http::list_has(head.field("Connection"), "upgrade")) refuse("Invalid connection header");
  if (head.field("Sec-WebSocket-Accept") != http::accept_key(key))
    refuse("Invalid challenge response");
  const std::string protocol(head.field("Sec-WebSocket-Protocol"));
  const auto& ours = options.websocket.protocols;
  if (!protocol.empty() && std::find(ours.begin(), ours.end(), protocol) == ours.end())
    refuse("the server speaks the protocol '" + protocol + "', which was not asked for");
  http::DeflateTerms deflate;
  const std::string_view extensions = head.field("Sec-WebSocket-Extensions");
  if (!http::accept_extensions(extensions, deflate) || (deflate && !options.websocket.compress))
    refuse("Invalid window size, or an extension that was not asked for");
  auto socket = std::make_shared<WebSocketObject>(reader, writer, options.websocket, deflate, true,
                                                  std::string_view(received).substr(size));
  socket->start();
  return ClientWebSocketResponse(std::move(socket), protocol, static_cast<bool>(deflate));
}

}  // namespace detail
}  // namespace fiber::aiohttp
