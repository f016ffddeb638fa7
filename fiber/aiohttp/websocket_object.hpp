// Either side of a WebSocket, after its handshake.
#pragma once

#include <fiber/aiohttp/websocket.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/websocket.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp::detail {

class WebSocketObject : public std::enable_shared_from_this<WebSocketObject> {
 public:
  /// `rest`: the bytes received after the handshake. The object keeps `place` until the connection
  /// is closed, and aborts a connection whose peer does not read for `write_timeout`; zero: never.
  WebSocketObject(asyncio::StreamReader reader, asyncio::StreamWriter writer,
                  WebsocketOptions options, http::DeflateTerms deflate, bool client,
                  std::string_view rest, std::shared_ptr<void> place = {},
                  http::Seconds write_timeout = {});
  WebSocketObject(const WebSocketObject&) = delete;
  WebSocketObject& operator=(const WebSocketObject&) = delete;
  ~WebSocketObject();

  /// Begins to send pings, if `heartbeat` is set.
  void start();
  WSMessage receive(std::optional<http::Seconds> timeout);
  void send(http::Opcode opcode, std::string_view data);
  bool close(int code, std::string_view reason);

  bool closed() const noexcept { return closed_; }
  std::optional<int> close_code() const noexcept { return close_code_; }
  const std::exception_ptr& exception() const noexcept { return exception_; }

 private:
  WSMessage receive_once();
  std::optional<http::Message> read_message();
  WSMessage fail(int code, std::exception_ptr error);
  void drain();
  void finish(int code);
  void shut();
  void send_close(int code, std::string_view reason);
  void heard();
  void on_heartbeat();
  void on_no_pong();

  asyncio::StreamReader reader_;
  asyncio::StreamWriter writer_;
  WebsocketOptions options_;
  http::FrameReader frames_;
  http::FrameWriter out_;
  std::string scratch_;
  asyncio::EventLoop loop_;
  asyncio::TaskRef receiver_;  ///< the task that waits in receive()
  bool interrupted_ = false;   ///< close() of another task has interrupted receive()
  bool closing_ = false;
  bool closed_ = false;
  bool in_close_ = false;
  bool answer_due_ = false;  ///< a close frame was received, and close() is left to the program
  asyncio::Event end_of_close_;
  int reads_after_close_ = 0;
  std::optional<int> close_code_;
  std::exception_ptr exception_;
  asyncio::TimerHandle heartbeat_;
  asyncio::TimerHandle pong_;
  std::shared_ptr<void> place_;
  const bool client_;
  const http::Seconds write_timeout_;
};

}  // namespace fiber::aiohttp::detail
