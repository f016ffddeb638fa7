// The client's side of a WebSocket, on streams. Python: aiohttp.client_ws.
//
//   asyncio::with(session.ws_connect("wss://example.com/chat"), [&](auto& ws) {
//     await(ws.send_str("hello"));
//     for (const aiohttp::WSMessage& message : ws) std::cout << message.data << "\n";
//   });
//
// ClientSession::ws_connect() needs both libraries, fiber-http and fiber-web; the function
// ws_connect(), which has no session, fiber-web alone.
#pragma once

#include <fiber/aiohttp/exceptions.hpp>
#include <fiber/aiohttp/upgraded.hpp>
#include <fiber/aiohttp/web_ws.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/http/headers.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp {

/// Keyword arguments of ws_connect().
struct WsConnectOptions {
  WebsocketOptions websocket = {.compress = false};  ///< `compress`: offers permessage-deflate
  http::Headers headers = {};                        ///< added to the handshake's own
  std::string origin = {};                           ///< the field Origin; "" for none
  /// For wss://: an ssl::SSLContext of <fiber/ssl.hpp>; by default a context that checks the
  /// server's certificate.
  asyncio::ssl_argument ssl = {};
  http::Params params = {};                  ///< appended to the query
  std::optional<http::BasicAuth> auth = {};  ///< for the server
  /// For a session's ws_connect() alone: the function ws_connect() throws ValueError if one of them
  /// is given.
  std::string proxy = {};
  std::optional<http::BasicAuth> proxy_auth = {};  ///< for the proxy
};

/// A counted reference to a connection; the last one closes the connection, without a close frame.
/// Belongs to one loop and its thread. asyncio::with closes the connection with a close frame.
/// Python: aiohttp.ClientWebSocketResponse.
class FIBER_API ClientWebSocketResponse : public detail::WebSocketMethods<ClientWebSocketResponse> {
 public:
  ClientWebSocketResponse(const ClientWebSocketResponse&) =
      default;  ///< moving is copying: never empty
  ClientWebSocketResponse& operator=(const ClientWebSocketResponse&) = default;
  /// True after close(), and when the peer has closed.
  bool closed() const noexcept { return detail::is_closed(*object_); }
  /// The code of the peer's close frame, or of ours; nothing while open.
  std::optional<int> close_code() const noexcept { return detail::close_code_of(*object_); }
  /// The exception with which the connection ended; null for none.
  std::exception_ptr exception() const noexcept { return detail::exception_of(*object_); }
  /// The subprotocol that was agreed on; "" for none.
  const std::string& protocol() const noexcept { return protocol_; }
  /// Whether permessage-deflate was agreed on.
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

/// The result of ws_connect(), before anything is sent: `await` makes the handshake and returns the
/// connection, asyncio::with() passes it to its body and closes it with a close frame.
class FIBER_API WsRequestContext : public asyncio::Coroutine<ClientWebSocketResponse> {
 public:
  explicit WsRequestContext(asyncio::Coroutine<ClientWebSocketResponse> request)
      : asyncio::Coroutine<ClientWebSocketResponse>(std::move(request)) {}

  /// For asyncio::with().
  ClientWebSocketResponse enter() { return response_.emplace(await_()); }
  bool exit(const std::exception_ptr& error) { return response_->exit(error); }

 private:
  std::optional<ClientWebSocketResponse> response_;
};

namespace detail {
FIBER_API ClientWebSocketResponse connect_websocket(const std::string& url,
                                                    const WsConnectOptions& options);

/// One handshake: the fields to send, and the check of the answer.
class FIBER_API WsHandshake {
 public:
  /// Throws ValueError for fields that cannot be sent.
  explicit WsHandshake(const WsConnectOptions& options);
  /// The fields of the handshake and of the options.
  const http::Headers& headers() const noexcept { return headers_; }
  /// Throws WSServerHandshakeError.
  ClientWebSocketResponse accept(const Upgraded& answer, std::string_view rest = {}) const;

 private:
  WebsocketOptions websocket_;
  std::string key_;
  http::Headers headers_;
};

/// In the program, and in neither library, so that neither needs the other.
template <class Core>
WsRequestContext open_websocket(std::shared_ptr<Core> core, std::string url,
                                WsConnectOptions options) {
  return WsRequestContext(asyncio::Coroutine<ClientWebSocketResponse>(
      [core = std::move(core), url = std::move(url), options = std::move(options)] {
        const WsHandshake handshake(options);
        return handshake.accept(upgrade(core, {.url = url,
                                               .headers = handshake.headers(),
                                               .params = options.params,
                                               .auth = options.auth,
                                               .proxy = options.proxy,
                                               .proxy_auth = options.proxy_auth,
                                               .ssl = options.ssl}));
      },
      "ClientSession._ws_connect"));
}
}  // namespace detail

/// Connects to ws://host:port/path or wss:// (http:// and https:// are taken too), without a
/// session: no cookies, proxies, redirects. Throws ValueError for another URL,
/// WSServerHandshakeError, OSErrors (an ssl::SSLError is one), TimeoutError for a handshake that
/// takes more than 5 minutes, RuntimeError for wss:// where <fiber/ssl.hpp> is not in the program;
/// await it. Ours; Python: session.ws_connect.
inline WsRequestContext ws_connect(std::string url, WsConnectOptions options = {}) {
  return WsRequestContext(asyncio::Coroutine<ClientWebSocketResponse>(
      [url = std::move(url), options = std::move(options)] {
        return detail::connect_websocket(url, options);
      },
      "ws_connect"));
}

}  // namespace fiber::aiohttp
