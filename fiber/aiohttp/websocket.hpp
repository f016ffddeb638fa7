// Types of both sides of a WebSocket. Python: aiohttp.http_websocket.
#pragma once

#include <fiber/config.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/arguments.hpp>

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::aiohttp {

/// The type of a message. Names are in lower case: macros of other headers use some of Python's
/// names. Python: aiohttp.WSMsgType.
enum class WSMsgType : std::uint16_t {
  continuation = 0x0,
  text = 0x1,
  binary = 0x2,
  ping = 0x9,
  pong = 0xA,
  close = 0x8,
  closing = 0x100,  ///< close() was called while receive() waited
  closed = 0x101,
  error = 0x102,
};

/// Python: aiohttp.WSCloseCode.
enum class WSCloseCode : std::uint16_t {
  ok = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  abnormal_closure = 1006,
  invalid_text = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  mandatory_extension = 1010,
  internal_error = 1011,
  service_restart = 1012,
  try_again_later = 1013,
  bad_gateway = 1014,
};

/// The peer has violated the protocol. Python: aiohttp.WebSocketError.
class FIBER_API WebSocketError : public Exception {
 public:
  WebSocketError(int code, std::string message) : Exception(std::move(message)), code_(code) {}
  ~WebSocketError() override;
  int code() const noexcept { return code_; }  ///< the close code for the peer, such as 1002

 private:
  int code_;
};

/// A message or an event. Python: aiohttp.WSMessage.
struct WSMessage {
  WSMsgType type = WSMsgType::closed;      ///< closed: the connection has ended
  std::string data = {};                   ///< the text (UTF-8) or bytes; for close, the reason
  int code = 0;                            ///< for close
  std::exception_ptr exception = nullptr;  ///< for error
  /// The text, parsed by Json::parse: message.json<nlohmann::json>().
  template <class Json>
  Json json() const {
    return Json::parse(data);
  }
};

/// Keyword arguments of both sides.
struct WebsocketOptions {
  http::Seconds timeout = std::chrono::seconds(10);  ///< for the peer's answer to close()
  http::Seconds receive_timeout = {};                ///< for each receive(); zero: none
  bool autoclose = true;                             ///< answer close frames
  bool autoping = true;  ///< answer pings; receive() returns neither pings nor pongs
  /// Sends a ping after this time of silence; without a pong within half of the time, the
  /// connection is given up.
  http::Seconds heartbeat = {};
  std::vector<std::string> protocols = {};     ///< supported subprotocols, the best first
  bool compress = true;                        ///< use permessage-deflate, if the peer supports it
  std::size_t max_msg_size = 4 * 1024 * 1024;  ///< bytes, decompressed; 0: no limit
};

}  // namespace fiber::aiohttp
