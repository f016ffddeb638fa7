// The client's side of a WebSocket, on streams. Python: aiohttp.client_ws.
//
//   auto ws = await(aiohttp::ws_connect("ws://127.0.0.1:8080/chat"));
//   await(ws.send_str("hello"));
//   const aiohttp::WSMessage message = await(ws.receive());
//   await(ws.close());
#pragma once

#include <fiber/aiohttp/web_ws.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/http/headers.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp {

/// The server refused the upgrade to WebSocket. Python: aiohttp.WSServerHandshakeError.
class FIBER_API WSServerHandshakeError : public Exception {
 public:
  WSServerHandshakeError(int status, std::string message, http::Headers headers);
  ~WSServerHandshakeError() override;
  int status() const noexcept { return status_; }
  const http::Headers& headers() const noexcept { return *headers_; }

 private:
  int status_;
  std::shared_ptr<const http::Headers> headers_;
};

/// Keyword arguments of ws_connect(). `compress`: offers permessage-deflate.
struct WsConnectOptions {
  WebsocketOptions websocket = {.compress = false};
  http::Headers headers = {};
  std::string origin = {};
  /// For wss://: an ssl::SSLContext of <fiber/ssl.hpp>; by default a context that checks the
  /// server's certificate.
  asyncio::ssl_argument ssl = {};
};

/// A counted reference to a connection; the last one closes the connection, without a close frame.
/// Belongs to one loop and its thread. asyncio::with closes the connection with a close frame.
/// Python: aiohttp.ClientWebSocketResponse.
class FIBER_API ClientWebSocketResponse : public detail::WebSocketMethods<ClientWebSocketResponse> {
 public:
  bool closed() const noexcept { return detail::is_closed(*object_); }
  std::optional<int> close_code() const noexcept { return detail::close_code_of(*object_); }
  std::exception_ptr exception() const noexcept { return detail::exception_of(*object_); }
  /// The subprotocol that was agreed on; "" for none.
  const std::string& protocol() const noexcept { return protocol_; }
  bool compress() const noexcept { return compress_; }

  ClientWebSocketResponse& enter() noexcept { return *this; }
  bool exit(const std::exception_ptr&);

  detail::WebSocketObject& object() const noexcept { return *object_; }
  ClientWebSocketResponse(std::shared_ptr<detail::WebSocketObject> object, std::string protocol,
                          bool compress)
      : object_(std::move(object)), protocol_(std::move(protocol)), compress_(compress) {}

 private:
  std::shared_ptr<detail::WebSocketObject> object_;
  std::string protocol_;
  bool compress_;
};

namespace detail {
FIBER_API ClientWebSocketResponse connect_websocket(const std::string& url,
                                                    WsConnectOptions options);
}

/// Connects to ws://host:port/path or wss:// (http:// and https:// work, too). To be awaited.
/// Throws ValueError for another URL, WSServerHandshakeError, OSErrors (an ssl::SSLError is one),
/// RuntimeError for wss:// if the program is without <fiber/ssl.hpp>. Python: session.ws_connect.
inline auto ws_connect(std::string url, WsConnectOptions options = {}) {
  return asyncio::detail::Deferred([url = std::move(url), options = std::move(options)] {
    return detail::connect_websocket(url, options);
  });
}

}  // namespace fiber::aiohttp
