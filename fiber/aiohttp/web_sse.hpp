// Server-sent events, for servers. Python: the package aiohttp_sse.
//
//   web::StreamResponse handler(web::Request& request) {
//     return asyncio::with(web::sse_response(request), [](web::EventSourceResponse& response) {
//       while (response.is_connected()) {
//         await(response.send("tick", {.event = "clock"}));
//         await(asyncio::sleep(1s));
//       }
//       return response;
//     });
//   }
#pragma once

#include <fiber/aiohttp/web_response.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/http/arguments.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::aiohttp::web {

/// Keyword arguments of EventSourceResponse. Content-Type, Cache-Control and X-Accel-Buffering have
/// the values that streams of events need, unless they are among the headers.
struct EventSourceOptions {
  int status = 200;          ///< three digits
  std::string reason = {};   ///< "" for the default
  CIMultiDict headers = {};  ///< added to those of the stream
  std::string sep = "\r\n";  ///< "\r\n", "\n" or "\r"
  /// The interval at which comments are sent: they keep proxies from closing the connection, and
  /// show whether the client is still connected.
  http::Seconds ping_interval = std::chrono::seconds(15);
};

/// Keyword arguments of send().
struct SendEventOptions {
  std::optional<std::string> id = {};     ///< sent by a client in Last-Event-ID when it reconnects
  std::optional<std::string> event = {};  ///< the type; default: "message"
  std::optional<std::chrono::milliseconds> retry = {};  ///< the client's wait before it reconnects
};

namespace detail {
class EventSourceObject;
FIBER_API void send_event(ResponseObject& response, std::string_view data,
                          const SendEventOptions& options);
FIBER_API void wait_for_end_of_events(ResponseObject& response);
}  // namespace detail

/// A response that goes on until its handler returns. It is never compressed: a compressor would
/// delay events. Other tasks of the loop may send events by copies of it; once the request is over,
/// send() throws. Python: aiohttp_sse.EventSourceResponse.
class FIBER_API EventSourceResponse : public StreamResponse {
 public:
  /// Throws ValueError for an invalid `sep`, and for a ping_interval that is not positive.
  explicit EventSourceResponse(EventSourceOptions options = {});

  /// Sends an event; each line of `data` becomes a field, and line ends in `id` and `event` are
  /// removed. Waits while more than 64 KiB are unsent. Throws RuntimeError before prepare(),
  /// ValueError for an id with a zero byte or a negative retry, ConnectionResetError if the client
  /// is gone; await it.
  auto send(std::string_view data, SendEventOptions options = {}) const {
    return asyncio::detail::Deferred(
        [self = *this, data = std::string(data), options = std::move(options)] {
          detail::send_event(self.object(), data, options);
        });
  }
  /// Waits until stop_streaming(), or until the client is gone. Throws RuntimeError before
  /// prepare(); await it.
  auto wait() const {
    return asyncio::detail::Deferred(
        [self = *this] { detail::wait_for_end_of_events(self.object()); });
  }
  /// Stops the pings, and ends wait().
  void stop_streaming() const;
  /// Returns false once the stream was stopped, or the client was found to be gone.
  bool is_connected() const noexcept;
  /// Returns the id of the client's last event, "" for none. Throws RuntimeError before prepare().
  const std::string& last_event_id() const;
  http::Seconds ping_interval() const noexcept;  ///< of the options, or as it was set
  /// Throws ValueError unless it is positive.
  void ping_interval(http::Seconds interval) const;

 private:
  detail::EventSourceObject& events() const noexcept;
};

/// For asyncio::with(): sends the head, passes the response to the block, and ends the stream.
class FIBER_API EventSourceContext {
 public:
  EventSourceContext(Request& request, EventSourceOptions options)
      : request_(request), response_(std::move(options)) {}
  EventSourceResponse& enter();
  bool exit(const std::exception_ptr& error) noexcept;

 private:
  Request& request_;
  EventSourceResponse response_;
};
/// Python: aiohttp_sse.sse_response.
inline EventSourceContext sse_response(Request& request, EventSourceOptions options = {}) {
  return EventSourceContext(request, std::move(options));
}

}  // namespace fiber::aiohttp::web
