// Server-sent events, for clients. Python: the package aiohttp_sse_client; the rules are those of
// EventSource in the HTML standard.
//
//   asyncio::with(aiohttp::EventSource(session, "https://example.com/events"), [](auto& source) {
//     for (const aiohttp::MessageEvent& event : source)
//       std::cout << event.type << " " << event.data << "\n";
//   });
//
// A stream that ends or breaks is requested again, with the id of the last event, after
// `reconnection_time` or the time that the server has set by `retry`. The loop ends when the server
// answers 204, and by close().
#pragma once

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio/coroutines.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

namespace fiber::aiohttp {

/// An event. Python: aiohttp_sse_client.client.MessageEvent.
struct MessageEvent {
  std::string type = "message";    ///< the field "event"
  std::string data = {};           ///< UTF-8; the lines of several fields joined by "\n"
  std::string origin = {};         ///< "http://127.0.0.1:8080", of the URL after redirects
  std::string last_event_id = {};  ///< of this event, or else of the last event with an id
};

/// EventSource.readyState of browsers; READY_STATE_* of aiohttp_sse_client.
enum class ReadyState : unsigned char { connecting = 0, open = 1, closed = 2 };

/// Keyword arguments of EventSource.
struct EventSourceOptions {
  /// The arguments of each request. By default the stream has no timeout.
  RequestOptions request = {};
  std::string method = "GET";  ///< of each request
  /// The id to send with the first request, to continue after a known event.
  std::string last_event_id = {};
  /// The wait before a stream is requested again. Doubles with each further failure in a row, up to
  /// `max_reconnection_time`, which limits the server's `retry` as well.
  http::Seconds reconnection_time = std::chrono::seconds(5);
  http::Seconds max_reconnection_time = std::chrono::minutes(5);  ///< the longest wait; see above
  /// Adds a random share of the wait, at most this one, so that the clients of a restarted server
  /// do not all return at once; 0: none.
  double reconnection_jitter = 0.5;
  /// The number of failures in a row that are followed by a new attempt; the next one is thrown.
  int max_connect_retry = 5;
  /// The most bytes of one event: a larger one throws ClientPayloadError, without a new attempt. Up
  /// to three times as many bytes are held, beside the session's `read_bufsize`.
  std::size_t max_event_size = 1024 * 1024;
  std::function<void()> on_open = {};  ///< called when a stream has begun
  /// Called with the exception that has ended a stream or an attempt, null if the stream ended in
  /// order, before a new attempt.
  std::function<void(std::exception_ptr)> on_error = {};
};

namespace detail {
class EventSourceObject;
}

/// A counted reference to a stream of events. Belongs to one loop and its thread; one task at a
/// time may wait for events. Python: aiohttp_sse_client.client.EventSource.
class FIBER_API EventSource {
 public:
  /// The session must not be destroyed before the loop over the events has ended. Throws ValueError
  /// for a negative jitter.
  EventSource(const ClientSession& session, std::string url, EventSourceOptions options = {});
  /// Makes a stream with a session of its own.
  explicit EventSource(std::string url, EventSourceOptions options = {});
  EventSource(const EventSource&) noexcept = default;  ///< moving is copying: never empty
  EventSource& operator=(const EventSource&) noexcept = default;

  /// Waits until the stream has begun; optional, as receive() does so, too. Throws like receive().
  asyncio::Coroutine<void> connect() const;
  /// Waits for the next event; returns nothing after 204 and close(). Closes the stream and throws
  /// ClientResponseError for a status other than 200, 500, 502, 503 and 504, ContentTypeError for a
  /// type other than text/event-stream, ClientPayloadError (max_event_size), the exception of the
  /// last attempt, and the exceptions of a request for wrong arguments.
  asyncio::Coroutine<std::optional<MessageEvent>> receive() const;
  /// Ends the stream; receive() then returns nothing, also in a task that waits.
  void close() const noexcept;

  ReadyState ready_state() const noexcept;            ///< connecting, open or closed
  const std::string& url() const noexcept;            ///< as it was given
  const std::string& last_event_id() const noexcept;  ///< of the last event, or of the options
  /// Returns the time of the options, or the one that the server has set since.
  http::Seconds reconnection_time() const noexcept;

  /// For `for (MessageEvent& event : source)`: iterates over the results of receive().
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = MessageEvent;
    using difference_type = std::ptrdiff_t;
    explicit iterator(const EventSource& source) : object_(source.object_) { ++*this; }
    MessageEvent& operator*() const noexcept { return *event_; }
    iterator& operator++() {
      event_ = next(object_);
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !event_; }

   private:
    std::shared_ptr<detail::EventSourceObject> object_;
    mutable std::optional<MessageEvent> event_;
  };
  iterator begin() const { return iterator(*this); }           ///< waits for the first event
  std::default_sentinel_t end() const noexcept { return {}; }  ///< the end of the stream

  /// For asyncio::with(), which connects and closes.
  EventSource& enter();
  bool exit(std::exception_ptr error) noexcept;

 private:
  static std::optional<MessageEvent> next(std::shared_ptr<detail::EventSourceObject> object);

  std::shared_ptr<detail::EventSourceObject> object_;
};

}  // namespace fiber::aiohttp
