#include <fiber/aiohttp/websocket_object.hpp>

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/http/quoting.hpp>

#include <cstdio>
#include <new>
#include <utility>

namespace fiber::aiohttp {

WebSocketError::~WebSocketError() = default;

namespace detail {

using asyncio::await;

WebSocketObject::WebSocketObject(asyncio::StreamReader reader, asyncio::StreamWriter writer,
                                 WebsocketOptions options, http::DeflateTerms deflate, bool client,
                                 std::string_view rest, std::shared_ptr<void> place,
                                 http::Seconds write_timeout)
    : reader_(std::move(reader)),
      writer_(std::move(writer)),
      options_(std::move(options)),
      frames_({.masked = !client, .most = options_.max_msg_size, .deflate = deflate}),
      out_(client, deflate),
      loop_(asyncio::get_running_loop()),
      place_(std::move(place)),
      client_(client),
      write_timeout_(write_timeout) {
  frames_.feed(rest);
}

WebSocketObject::~WebSocketObject() {
  heartbeat_.cancel();
  pong_.cancel();
}

// --- heartbeat ----------------------------------------------------------------------------------

void WebSocketObject::start() {
  if (options_.heartbeat.count() <= 0 || closed_) return;
  heartbeat_.cancel();
  heartbeat_ = loop_.call_later(options_.heartbeat, [self = weak_from_this()] {
    if (const auto object = self.lock()) object->on_heartbeat();
  });
}

// Restarts the heartbeat: received bytes show that the peer is alive.
void WebSocketObject::heard() {
  pong_.cancel();
  start();
}

void WebSocketObject::on_heartbeat() {
  if (closed_ || writer_.is_closing()) return;
  try {
    scratch_.clear();
    out_.write(http::Opcode::ping, "", scratch_);
    writer_.write(scratch_);
    pong_.cancel();
    pong_ = loop_.call_later(options_.heartbeat / 2.0, [self = weak_from_this()] {
      if (const auto object = self.lock()) object->on_no_pong();
    });
  } catch (const std::bad_alloc&) {
    on_no_pong();  // without the timer a silent peer would not be noticed
  }
}

void WebSocketObject::on_no_pong() {
  if (closed_) return;
  exception_ = fiber::detail::error_from([this] {
    char text[64];
    std::snprintf(text, sizeof text, "No PONG received after %g seconds",
                  options_.heartbeat.count() / 2);
    return TimeoutError(text);
  });
  finish(static_cast<int>(WSCloseCode::abnormal_closure));
  writer_.transport().abort();
  place_.reset();
}

// --- the end ------------------------------------------------------------------------------------

void WebSocketObject::finish(int code) {
  closed_ = true;
  if (!close_code_) close_code_ = code;
  heartbeat_.cancel();
  pong_.cancel();
}

void WebSocketObject::shut() {
  writer_.close();
  place_.reset();
}

void WebSocketObject::send_close(int code, std::string_view reason) {
  if (std::exchange(closing_, true) || writer_.is_closing()) return;
  std::string payload;
  if (code != 0) {
    payload += static_cast<char>(code >> 8);
    payload += static_cast<char>(code & 0xFF);
    payload += reason;
  }
  scratch_.clear();
  out_.write(http::Opcode::close, payload, scratch_);
  writer_.write(scratch_);
}

// Ends the connection after a fault of the peer, or its end.
WSMessage WebSocketObject::fail(int code, std::exception_ptr error) {
  exception_ = error;
  finish(code);
  if (code != static_cast<int>(WSCloseCode::abnormal_closure)) send_close(code, {});
  shut();
  return {.type = WSMsgType::error, .exception = std::move(error)};
}

bool WebSocketObject::close(int code, std::string_view reason) {
  if (closed_) {
    // Another task is closing: a handler must not return, and end the connection, meanwhile.
    if (in_close_) await(end_of_close_.wait());
    return false;
  }
  if (code != 0 && !http::is_close_code(static_cast<unsigned>(code)))
    throw ValueError("a close code must be one that RFC 6455 lets a program send, not " +
                     std::to_string(code));
  // A reason is UTF-8, also where it is cut to fit into a frame: the peer refuses any other.
  constexpr std::size_t kLongestReason = 123;
  std::string sent = http::valid_utf8(reason);
  if (sent.size() > kLongestReason) sent.resize(kLongestReason);
  while (!http::is_valid_utf8(sent)) sent.pop_back();
  closed_ = in_close_ = true;
  struct Leave {
    WebSocketObject& self;
    ~Leave() {
      self.in_close_ = false;
      self.end_of_close_.set();
    }
  } leave{*this};
  heartbeat_.cancel();
  pong_.cancel();
  try {
    send_close(code, sent);
    if (receiver_ && !receiver_.done() && receiver_ != asyncio::current_task()) {
      interrupted_ = true;
      receiver_.cancel();
      await(asyncio::sleep(0));
    }
    asyncio::with(asyncio::timeout(options_.timeout), [&] {
      await(writer_.drain());
      while (!close_code_) {
        const auto message = read_message();
        if (!message) {
          if (!close_code_) close_code_ = static_cast<int>(WSCloseCode::abnormal_closure);
          break;
        }
        if (message->opcode == http::Opcode::close)
          close_code_ = message->data.size() >= 2
                            ? static_cast<unsigned char>(message->data[0]) * 256 +
                                  static_cast<unsigned char>(message->data[1])
                            : 0;
      }
    });
  } catch (const asyncio::CancelledError&) {
    close_code_ = static_cast<int>(WSCloseCode::abnormal_closure);
    shut();
    throw;
  } catch (const std::exception&) {
    close_code_ = static_cast<int>(WSCloseCode::abnormal_closure);
    exception_ = std::current_exception();
  }
  shut();
  return true;
}

// --- sending ------------------------------------------------------------------------------------

void WebSocketObject::send(http::Opcode opcode, std::string_view data) {
  if (closing_ || closed_ || writer_.is_closing())
    throw ConnectionResetError("Cannot write to closing transport");
  constexpr std::size_t kMostOfControl = 125;
  if (opcode >= http::Opcode::close && data.size() > kMostOfControl)
    throw ValueError("a ping or pong has at most 125 bytes");
  scratch_.clear();
  out_.write(opcode, data, scratch_);
  writer_.write(scratch_);
  constexpr std::size_t kKept = 64 * 1024;
  if (scratch_.capacity() > kKept) std::string().swap(scratch_);  // "= {}" would keep it
  drain();
}

void WebSocketObject::drain() {
  const asyncio::Transport transport = writer_.transport();
  const bool waits = transport.get_write_buffer_size() > transport.get_write_buffer_limits().second;
  if (!waits || write_timeout_.count() <= 0) return await(writer_.drain());
  try {
    asyncio::with(asyncio::timeout(write_timeout_), [&] { await(writer_.drain()); });
  } catch (const TimeoutError&) {
    transport.abort();
    throw ConnectionResetError("the other side has not read within the time limit");
  }
}

// --- receiving ----------------------------------------------------------------------------------

// Returns the next message or control frame; nothing at the end, or on a fault in frames_.
std::optional<http::Message> WebSocketObject::read_message() {
  for (;;) {
    if (auto message = frames_.next()) return message;
    if (frames_.fault() != 0) return std::nullopt;
    char block[4096];
    const std::size_t count = await(reader_.readinto(block));
    if (count == 0) return std::nullopt;
    heard();
    frames_.feed({block, count});
  }
}

WSMessage WebSocketObject::receive_once() {
  for (;;) {
    std::optional<http::Message> message;
    try {
      message = read_message();
    } catch (const ConnectionError&) {
      if (!closed_)
        return fail(static_cast<int>(WSCloseCode::abnormal_closure), std::current_exception());
    }
    if (closed_) {
      // The heartbeat has found the peer silent: the waiting task gets the error.
      if (!in_close_ && exception_) return {.type = WSMsgType::error, .exception = exception_};
      return {.type = in_close_ ? WSMsgType::closing : WSMsgType::closed};
    }
    if (!message) {
      if (frames_.fault() != 0)
        return fail(frames_.fault(),
                    std::make_exception_ptr(WebSocketError(frames_.fault(), frames_.fault_text())));
      finish(static_cast<int>(WSCloseCode::abnormal_closure));
      shut();
      return {.type = WSMsgType::closed};
    }
    switch (message->opcode) {
      case http::Opcode::ping:
        if (!options_.autoping) return {.type = WSMsgType::ping, .data = std::move(message->data)};
        try {
          if (!writer_.is_closing() && !closing_) send(http::Opcode::pong, message->data);
        } catch (const ConnectionError&) {
          return fail(static_cast<int>(WSCloseCode::abnormal_closure), std::current_exception());
        }
        continue;
      case http::Opcode::pong:
        if (!options_.autoping) return {.type = WSMsgType::pong, .data = std::move(message->data)};
        continue;
      case http::Opcode::close: {
        const bool coded = message->data.size() >= 2;
        const int code = coded ? static_cast<unsigned char>(message->data[0]) * 256 +
                                     static_cast<unsigned char>(message->data[1])
                               : 0;
        close_code_ = code;
        if (options_.autoclose) {
          send_close(code, {});
          finish(code);
          shut();
        } else {
          answer_due_ = true;
        }
        return {.type = WSMsgType::close,
                .data = coded ? message->data.substr(2) : std::string(),
                .code = code};
      }
      default:
        return {.type = message->opcode == http::Opcode::text ? WSMsgType::text : WSMsgType::binary,
                .data = std::move(message->data)};
    }
  }
}

WSMessage WebSocketObject::receive(std::optional<http::Seconds> timeout) {
  if (receiver_) throw RuntimeError("Concurrent call to receive() is not allowed");
  if (closed_) {
    constexpr int kMost = 5;
    if (!client_ && ++reads_after_close_ >= kMost)
      throw RuntimeError("WebSocket connection is closed.");
    return {.type = WSMsgType::closed};
  }
  if (answer_due_) {  // the peer has sent its last frame, and waits for ours
    if (!client_) return {.type = WSMsgType::closing};
    close(static_cast<int>(WSCloseCode::ok), {});
    return {.type = WSMsgType::closed};
  }
  if (!timeout && options_.receive_timeout.count() > 0) timeout = options_.receive_timeout;
  receiver_ = asyncio::current_task();
  struct Leave {
    WebSocketObject& self;
    ~Leave() {
      self.receiver_ = {};
      self.interrupted_ = false;
    }
  } leave{*this};
  try {
    if (!timeout) return receive_once();
    return asyncio::with(asyncio::timeout(*timeout), [&] { return receive_once(); });
  } catch (const asyncio::CancelledError&) {
    if (!interrupted_) throw;
    receiver_.uncancel();
    return {.type = WSMsgType::closing};
  }
}

}  // namespace detail
}  // namespace fiber::aiohttp
