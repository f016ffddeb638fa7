// The server's side of a WebSocket. Python: aiohttp.web_ws.
//
//   web::StreamResponse handler(web::Request& request) {
//     web::WebSocketResponse ws;
//     await(ws.prepare(request));
//     for (const aiohttp::WSMessage& message : ws)
//       if (message.type == aiohttp::WSMsgType::text) await(ws.send_str(message.data + "!"));
//     return ws;
//   }
#pragma once

#include <fiber/aiohttp/web_response.hpp>
#include <fiber/aiohttp/websocket.hpp>
#include <fiber/asyncio/coroutines.hpp>

#include <concepts>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::aiohttp {

using http::Seconds;
namespace detail {
class WebSocketObject;

/// The functions of both sides. object() throws RuntimeError before the handshake.
FIBER_API WSMessage receive(WebSocketObject& object, std::optional<Seconds> timeout);
FIBER_API std::string receive_data(WebSocketObject& object, WSMsgType type,
                                   std::optional<Seconds> timeout);
FIBER_API void send(WebSocketObject& object, WSMsgType type, std::string_view data);
FIBER_API bool close(WebSocketObject& object, int code, std::string_view reason);

/// `for (WSMessage& message : ws)`: up to the first close, closing or closed.
class MessageIterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = WSMessage;
  using difference_type = std::ptrdiff_t;
  FIBER_API explicit MessageIterator(WebSocketObject& object);
  WSMessage& operator*() const noexcept { return message_; }
  MessageIterator& operator++() {
    message_ = receive(*object_, std::nullopt);
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const noexcept {
    return message_.type == WSMsgType::close || message_.type == WSMsgType::closing ||
           message_.type == WSMsgType::closed;
  }

 private:
  std::shared_ptr<WebSocketObject> object_;
  mutable WSMessage message_;
};

/// The member functions of both sides; Derived has object().
template <class Derived>
class WebSocketMethods {
 public:
  /// Returns the next message. To be awaited, like the functions below; by one task at a time. The
  /// type is `error` if the peer has violated the protocol, or is gone; after the end it is
  /// `closed`, for a server four times, then RuntimeError is thrown. Throws TimeoutError.
  auto receive(std::optional<Seconds> timeout = {}) const {
    return asyncio::detail::Deferred(
        [self = derived(), timeout] { return detail::receive(self.object(), timeout); });
  }
  /// Like receive(), but throw TypeError for a message of another type.
  auto receive_str(std::optional<Seconds> timeout = {}) const {
    return asyncio::detail::Deferred([self = derived(), timeout] {
      return detail::receive_data(self.object(), WSMsgType::text, timeout);
    });
  }
  auto receive_bytes(std::optional<Seconds> timeout = {}) const {
    return asyncio::detail::Deferred([self = derived(), timeout] {
      return detail::receive_data(self.object(), WSMsgType::binary, timeout);
    });
  }
  template <class Json>
  auto receive_json(std::optional<Seconds> timeout = {}) const {
    return asyncio::detail::Deferred([self = derived(), timeout] {
      return Json::parse(detail::receive_data(self.object(), WSMsgType::text, timeout));
    });
  }
  /// Sends a message, as the next functions do; waits while more than 64 KiB are unsent. Throws
  /// ConnectionResetError once the WebSocket is closed, ValueError for a text that is not UTF-8,
  /// and for pings of more than 125 bytes. A temporary string is kept; another must live until it
  /// is sent.
  auto send_str(std::string_view text) const { return sending(WSMsgType::text, text); }
  template <std::same_as<std::string> Text>
  auto send_str(Text&& text) const {
    return sending(WSMsgType::text, std::forward<Text>(text));
  }
  auto send_bytes(std::string_view bytes) const { return sending(WSMsgType::binary, bytes); }
  template <std::same_as<std::string> Bytes>
  auto send_bytes(Bytes&& bytes) const {
    return sending(WSMsgType::binary, std::forward<Bytes>(bytes));
  }
  template <class Json>
  auto send_json(const Json& value) const {
    return asyncio::detail::Deferred([self = derived(), text = std::string(value.dump())] {
      detail::send(self.object(), WSMsgType::text, text);
    });
  }
  auto ping(std::string_view message = {}) const {
    return sending(WSMsgType::ping, std::string(message));
  }
  auto pong(std::string_view message = {}) const {
    return sending(WSMsgType::pong, std::string(message));
  }
  /// Sends a close frame, and waits for the peer's, at most WebsocketOptions::timeout. Returns
  /// false if closed already. Another task that waits in receive() gets `closing`. Sends at most
  /// 123 bytes of `message`.
  auto close(int code = 1000, std::string_view message = {}) const {
    return asyncio::detail::Deferred([self = derived(), code, reason = std::string(message)] {
      return detail::close(self.object(), code, reason);
    });
  }
  MessageIterator begin() const { return MessageIterator(derived().object()); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  const Derived& derived() const noexcept { return static_cast<const Derived&>(*this); }
  template <class Text>
  auto sending(WSMsgType type, Text data) const {
    return asyncio::detail::Deferred([self = derived(), type, data = std::move(data)] {
      detail::send(self.object(), type, data);
    });
  }
};

/// The state of a WebSocket after its handshake.
FIBER_API bool is_closed(const WebSocketObject& object) noexcept;
FIBER_API std::optional<int> close_code_of(const WebSocketObject& object) noexcept;
FIBER_API std::exception_ptr exception_of(const WebSocketObject& object) noexcept;

}  // namespace detail

namespace web {

/// Whether a request asks for a WebSocket, and the subprotocol that would be chosen.
/// Python: aiohttp.web.WebSocketReady.
struct WebSocketReady {
  bool ok = false;                           ///< true for a handshake
  std::optional<std::string> protocol = {};  ///< nothing if none is common
  explicit operator bool() const noexcept { return ok; }
};

/// The server's side of a WebSocket. Closed when the handler returns.
/// Python: aiohttp.web.WebSocketResponse.
class FIBER_API WebSocketResponse : public StreamResponse,
                                    public aiohttp::detail::WebSocketMethods<WebSocketResponse> {
 public:
  explicit WebSocketResponse(WebsocketOptions options = {});

  /// Whether prepare(request) can make the handshake; otherwise it throws HTTPBadRequest.
  WebSocketReady can_prepare(Request& request) const;
  bool closed() const noexcept;  ///< true after close(), and when the peer has closed
  /// Returns the close code, 1006 if the connection was lost; nothing while open.
  std::optional<int> close_code() const noexcept;
  /// Returns the exception that ended the connection, null if it was closed in order.
  std::exception_ptr exception() const noexcept;
  /// Returns the one of `protocols` that was agreed on; "" for none.
  const std::string& ws_protocol() const noexcept;
  bool compress() const noexcept;  ///< whether permessage-deflate was agreed on

  /// Not in Python.
  aiohttp::detail::WebSocketObject& object() const;
};

}  // namespace web
}  // namespace fiber::aiohttp
