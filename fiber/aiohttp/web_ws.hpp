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

#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp {

using http::Seconds;
namespace detail {
class WebSocketObject;

/// What both sides offer. `object` throws RuntimeError before the handshake.
FIBER_API WSMessage receive(WebSocketObject& object, std::optional<Seconds> timeout);
FIBER_API std::string receive_data(WebSocketObject& object, WSMsgType type,
                                   std::optional<Seconds> timeout);
FIBER_API void send(WebSocketObject& object, WSMsgType type, std::string_view data);
FIBER_API bool close(WebSocketObject& object, int code, std::string_view reason);

/// `for (WSMessage& message : ws)`: until one of close, closing and closed.
class MessageIterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = WSMessage;
  using difference_type = std::ptrdiff_t;
  explicit MessageIterator(WebSocketObject& object) : object_(&object) { ++*this; }
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
  WebSocketObject* object_;
  mutable WSMessage message_;
};

/// The members that both sides have; Derived has object().
template <class Derived>
class WebSocketMethods {
 public:
  /// The next message. type is `error` when the other side has broken the rules, or is gone;
  /// `closed` after the end, four times, then RuntimeError. One task at a time. Throws
  /// TimeoutError; await it, as all below.
  auto receive(std::optional<Seconds> timeout = {}) const {
    return asyncio::detail::Deferred(
        [self = derived(), timeout] { return detail::receive(self.object(), timeout); });
  }
  /// Throw TypeError for a message of another type.
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
  /// Wait while more than 64 KiB are on their way. Throw ConnectionResetError once it is closed,
  /// ValueError for a text that is not UTF-8, and pings of more than 125 bytes.
  auto send_str(std::string_view text) const { return sending(WSMsgType::text, text); }
  auto send_bytes(std::string_view bytes) const { return sending(WSMsgType::binary, bytes); }
  template <class Json>
  auto send_json(const Json& value) const {
    return asyncio::detail::Deferred([self = derived(), text = std::string(value.dump())] {
      detail::send(self.object(), WSMsgType::text, text);
    });
  }
  auto ping(std::string_view message = {}) const { return sending(WSMsgType::ping, message); }
  auto pong(std::string_view message = {}) const { return sending(WSMsgType::pong, message); }
  /// Sends the code, and waits for the other side's, `timeout` at most. False if it is closed
  /// already. Another task that waits in receive() gets `closing`. At most 123 bytes of the reason.
  auto close(int code = 1000, std::string_view message = {}) const {
    return asyncio::detail::Deferred([self = derived(), code, reason = std::string(message)] {
      return detail::close(self.object(), code, reason);
    });
  }
  MessageIterator begin() const { return MessageIterator(derived().object()); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  const Derived& derived() const noexcept { return static_cast<const Derived&>(*this); }
  auto sending(WSMsgType type, std::string_view data) const {
    return asyncio::detail::Deferred(
        [self = derived(), type, data] { detail::send(self.object(), type, data); });
  }
};

/// Of one side, after its handshake.
FIBER_API bool is_closed(const WebSocketObject& object) noexcept;
FIBER_API std::optional<int> close_code_of(const WebSocketObject& object) noexcept;
FIBER_API std::exception_ptr exception_of(const WebSocketObject& object) noexcept;

}  // namespace detail

namespace web {

/// Whether a request asks for a WebSocket, and the protocol that would be chosen.
/// aiohttp.web.WebSocketReady.
struct WebSocketReady {
  bool ok = false;
  std::optional<std::string> protocol = {};
  explicit operator bool() const noexcept { return ok; }
};

/// aiohttp.web.WebSocketResponse. Closed when the handler returns.
class FIBER_API WebSocketResponse : public StreamResponse,
                                    public aiohttp::detail::WebSocketMethods<WebSocketResponse> {
 public:
  explicit WebSocketResponse(WebsocketOptions options = {});

  /// prepare(request) makes the handshake; it throws HTTPBadRequest if that is not asked for.
  WebSocketReady can_prepare(Request& request) const;
  bool closed() const noexcept;
  /// What it was closed with, 1006 if the connection was lost; nothing as long as it is open.
  std::optional<int> close_code() const noexcept;
  /// What it ended with, null if in good order.
  std::exception_ptr exception() const noexcept;
  /// Of `protocols`, the one that was agreed on; "" for none.
  const std::string& ws_protocol() const noexcept;
  bool compress() const noexcept;

  /// Ours.
  aiohttp::detail::WebSocketObject& object() const;
};

}  // namespace web
}  // namespace fiber::aiohttp
