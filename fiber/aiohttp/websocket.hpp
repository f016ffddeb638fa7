// What both sides of a WebSocket have in common. Python: aiohttp.http_websocket.
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

/// aiohttp.WSMsgType; the names that C++ or a header's macros might have taken are in lower case.
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

/// aiohttp.WSCloseCode.
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

/// aiohttp.WebSocketError: what the other side has sent is no WebSocket.
class FIBER_API WebSocketError : public Exception {
 public:
  WebSocketError(int code, std::string message) : Exception(std::move(message)), code_(code) {}
  ~WebSocketError() override;
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// aiohttp.WSMessage.
struct WSMessage {
  WSMsgType type = WSMsgType::closed;
  std::string data = {};  ///< of texts (UTF-8), bytes, pings, pongs; close: the reason
  int code = 0;           ///< of close
  std::exception_ptr exception = nullptr;  ///< of error
  /// The text, parsed by Json::parse: message.json<nlohmann::json>().
  template <class Json>
  Json json() const {
    return Json::parse(data);
  }
};

/// Keyword arguments of both sides.
struct WebsocketOptions {
  http::Seconds timeout = std::chrono::seconds(10);  ///< for the other side's answer to close()
  http::Seconds receive_timeout = {};                ///< of each receive(); zero: none
  bool autoclose = true;                             ///< answer close
  bool autoping = true;  ///< answer pings, and do not show them or pongs
  /// A ping after so much silence; without a pong within half of it the connection is given up.
  http::Seconds heartbeat = {};
  std::vector<std::string> protocols = {};     ///< those that we speak, the best first
  bool compress = true;                        ///< permessage-deflate, if the other side has it
  std::size_t max_msg_size = 4 * 1024 * 1024;  ///< bytes, decompressed; 0: no limit
};

}  // namespace fiber::aiohttp
