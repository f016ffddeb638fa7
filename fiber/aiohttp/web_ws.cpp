#include <fiber/aiohttp/web_ws.hpp>

#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/aiohttp/websocket_object.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/websocket.hpp>

#include <algorithm>
#include <utility>

namespace fiber::aiohttp {
namespace detail {
namespace {

const char* name_of(WSMsgType type) noexcept {
  switch (type) {
    case WSMsgType::text: return "text";
    case WSMsgType::binary: return "binary";
    case WSMsgType::ping: return "ping";
    case WSMsgType::pong: return "pong";
    case WSMsgType::close: return "close";
    case WSMsgType::closing: return "closing";
    case WSMsgType::closed: return "closed";
    case WSMsgType::error: return "error";
    default: return "continuation";
  }
}

}  // namespace

MessageIterator::MessageIterator(WebSocketObject& object) : object_(object.shared_from_this()) {
  ++*this;
}

WSMessage receive(WebSocketObject& object, std::optional<Seconds> timeout) {
  return object.receive(timeout);
}

std::string receive_data(WebSocketObject& object, WSMsgType type, std::optional<Seconds> timeout) {
  WSMessage message = object.receive(timeout);
  if (message.type != type)
    throw TypeError(std::string("Received message of the type '") + name_of(message.type) +
                    "' is not '" + name_of(type) + "'");
  return std::move(message.data);
}

void send(WebSocketObject& object, WSMsgType type, std::string_view data) {
  if (type == WSMsgType::text && !http::is_valid_utf8(data))
    throw ValueError("a text message must be UTF-8: use send_bytes() for other data");
  object.send(static_cast<http::Opcode>(type), data);
}

bool close(WebSocketObject& object, int code, std::string_view reason) {
  return object.close(code, reason);
}

bool is_closed(const WebSocketObject& object) noexcept { return object.closed(); }
std::optional<int> close_code_of(const WebSocketObject& object) noexcept {
  return object.close_code();
}
std::exception_ptr exception_of(const WebSocketObject& object) noexcept {
  return object.exception();
}

}  // namespace detail

namespace web {
namespace detail {
namespace {

class WebSocketResponseObject final : public ResponseObject {
 public:
  explicit WebSocketResponseObject(WebsocketOptions its_options) : options(std::move(its_options)) {
    status = 101;
  }

  void prepare(Request& request) override;
  void finish(Request& request) override {
    if (!socket) throw RuntimeError("the WebSocket was not prepared");
    check_request(request);
    socket->close(1000, {});
    ended_ = true;
  }
  void write(std::string_view) override {
    throw RuntimeError("Cannot call .write() for websocket");
  }
  void write_eof(std::string_view) override {}

  WebsocketOptions options;
  std::string protocol;
  bool compresses_messages = false;
  std::shared_ptr<aiohttp::detail::WebSocketObject> socket;
};

[[noreturn]] void refuse(std::string text) { throw HTTPBadRequest({.text = std::move(text)}); }

// Checks the handshake and returns its key. Throws HTTPBadRequest.
std::string_view check_handshake(const Request& request) {
  const CIMultiDictProxy& headers = request.headers();
  const auto shown = [](std::string_view text) { return http::valid_utf8(text); };
  if (request.method() != "GET" || request.version().minor == 0)
    refuse("A WebSocket handshake must be a GET request of HTTP/1.1");
  if (!http::equal_ignoring_case(http::strip(headers.get("Upgrade")), "websocket"))
    refuse("No WebSocket UPGRADE hdr: " + shown(headers.get("Upgrade")) +
           "\n Can \"Upgrade\" only to \"WebSocket\".");
  if (!http::list_has(headers.get("Connection"), "upgrade"))
    refuse("No CONNECTION upgrade hdr: " + shown(headers.get("Connection")));
  const std::string_view version = headers.get("Sec-WebSocket-Version");
  if (version != "13" && version != "8" && version != "7")
    refuse("Unsupported version: " + shown(version));
  const std::string_view key = headers.get("Sec-WebSocket-Key");
  const auto bytes = http::base64_decode(key);
  if (!bytes || bytes->size() != 16) refuse("Handshake error: '" + shown(key) + "'");
  return key;
}

std::string choose_protocol(const Request& request, const WebsocketOptions& options) {
  const std::string_view offered = request.headers().get("Sec-WebSocket-Protocol");
  for (const std::string_view one : http::split_list(offered))
    if (std::find(options.protocols.begin(), options.protocols.end(), one) !=
        options.protocols.end())
      return std::string(one);
  return {};
}

void WebSocketResponseObject::prepare(Request& request) {
  if (socket) return check_request(request);
  const std::string accept = http::accept_key(check_handshake(request));
  protocol = choose_protocol(request, options);
  http::DeflateTerms deflate;
  std::string extensions;
  if (options.compress)
    extensions =
        http::answer_extensions(request.headers().get("Sec-WebSocket-Extensions"), deflate);
  headers.set("Upgrade", "websocket");
  headers.set("Connection", "upgrade");
  headers.set("Sec-WebSocket-Accept", accept);
  if (!extensions.empty()) headers.set("Sec-WebSocket-Extensions", extensions);
  if (!protocol.empty()) headers.set("Sec-WebSocket-Protocol", protocol);
  compresses_messages = static_cast<bool>(deflate);
  ResponseObject::prepare(request);
  Connection& connection = request.connection();
  const std::string rest = connection.take_rest();
  connection.upgrade();
  socket = std::make_shared<aiohttp::detail::WebSocketObject>(
      connection.reader(), connection.writer(), options, deflate, false, rest,
      std::shared_ptr<void>(), connection.server().options.write_timeout);
  socket->start();
}

WebSocketResponseObject& of(const StreamResponse& response) noexcept {
  return static_cast<WebSocketResponseObject&>(response.StreamResponse::object());
}

}  // namespace
}  // namespace detail

WebSocketResponse::WebSocketResponse(WebsocketOptions options)
    : StreamResponse(detail::ResponseRef(new detail::WebSocketResponseObject(std::move(options)))) {
}

WebSocketReady WebSocketResponse::can_prepare(Request& request) const {
  try {
    detail::check_handshake(request);
  } catch (const HTTPException&) {
    return {};
  }
  WebSocketReady ready{.ok = true};
  const std::string protocol = detail::choose_protocol(request, detail::of(*this).options);
  if (!protocol.empty()) ready.protocol = protocol;
  return ready;
}

aiohttp::detail::WebSocketObject& WebSocketResponse::object() const {
  const auto& socket = detail::of(*this).socket;
  if (!socket) throw RuntimeError("Call .prepare() first");
  return *socket;
}

bool WebSocketResponse::closed() const noexcept {
  const auto& socket = detail::of(*this).socket;
  return socket && socket->closed();
}
std::optional<int> WebSocketResponse::close_code() const noexcept {
  const auto& socket = detail::of(*this).socket;
  return socket ? socket->close_code() : std::nullopt;
}
std::exception_ptr WebSocketResponse::exception() const noexcept {
  const auto& socket = detail::of(*this).socket;
  return socket ? socket->exception() : nullptr;
}
const std::string& WebSocketResponse::ws_protocol() const noexcept {
  return detail::of(*this).protocol;
}
bool WebSocketResponse::compress() const noexcept { return detail::of(*this).compresses_messages; }

}  // namespace web
}  // namespace fiber::aiohttp
