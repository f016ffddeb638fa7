// Server-sent events, as they come. Python: the package aiohttp_sse_client; the rules are those of
// EventSource in the HTML standard.
//
//   asyncio::with(aiohttp::EventSource(session, "https://example.com/events"), [](auto& source) {
//     for (const aiohttp::MessageEvent& event : source)
//       std::cout << event.type << " " << event.data << "\n";
//   });
//
// A stream that ends, or breaks, is asked for again, after `reconnection_time` or what the server
// has said by `retry`, and is told the id of the last event. The loop ends with 204, and by
// close().
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

/// An event. aiohttp_sse_client.client.MessageEvent.
struct MessageEvent {
  std::string type = "message";
  std::string data = {};           ///< UTF-8; the lines of several fields joined by "\n"
  std::string origin = {};         ///< "http://127.0.0.1:8080", of the URL after redirects
  std::string last_event_id = {};  ///< of this event, or of the last one that had any
};

/// EventSource.readyState of browsers; READY_STATE_* of aiohttp_sse_client.
enum class ReadyState : unsigned char { connecting = 0, open = 1, closed = 2 };

/// Keyword arguments of EventSource.
struct EventSourceOptions {
  /// Of each request. Unless a timeout is given, there is none for the stream.
  RequestOptions request = {};
  std::string method = "GET";
  /// To begin with: that of the last event which is known already.
  std::string last_event_id = {};
  /// What is waited for before a stream is asked for again. After several failures in a row it is
  /// doubled for each, up to `max_reconnection_time`, which limits the server's `retry` as well.
  http::Seconds reconnection_time = std::chrono::seconds(5);
  http::Seconds max_reconnection_time = std::chrono::minutes(5);
  /// A random share of these times, up to this one, is waited in addition, so that the clients of a
  /// server that comes back do not all ask at once; 0: none.
  double reconnection_jitter = 0.5;
  /// So many failures in a row are tried again; the next one is thrown.
  int max_connect_retry = 5;
  /// Bytes of an event; for one that has more ClientPayloadError is thrown, and no other try made.
  /// Of what has arrived three times as much is held, and `read_bufsize` of the session.
  std::size_t max_event_size = 1024 * 1024;
  std::function<void()> on_open = {};  ///< a stream has begun
  /// What has ended a stream, or kept it from beginning; null: it ended in good order. A next try
  /// follows.
  std::function<void(std::exception_ptr)> on_error = {};
};

namespace detail {
class EventSourceObject;
}

/// A counted reference to a stream of events. One loop and its thread; one task at a time may wait
/// for events. aiohttp_sse_client.client.EventSource.
class FIBER_API EventSource {
 public:
  /// The session must not be destroyed before the loop over the events has ended. Throws ValueError
  /// for a negative jitter.
  EventSource(const ClientSession& session, std::string url, EventSourceOptions options = {});
  /// In a session of its own.
  explicit EventSource(std::string url, EventSourceOptions options = {});

  /// Waits until the stream has begun: optional, receive() does so. Throws as receive() does.
  asyncio::Coroutine<void> connect() const;
  /// The next event; nothing after 204 and close(). Throws, and is closed() after that:
  /// ClientResponseError for a status other than 200, 500, 502, 503 and 504, ContentTypeError for
  /// another type than text/event-stream, ClientPayloadError (max_event_size), what the last try
  /// has failed by, and what a request throws for arguments.
  asyncio::Coroutine<std::optional<MessageEvent>> receive() const;
  /// Ends it; a task that waits in receive() gets nothing.
  void close() const noexcept;

  ReadyState ready_state() const noexcept;
  const std::string& url() const noexcept;
  const std::string& last_event_id() const noexcept;
  /// As given, or as the server has asked for since.
  http::Seconds reconnection_time() const noexcept;

  /// `for (MessageEvent& event : source)`: the events of receive().
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = MessageEvent;
    using difference_type = std::ptrdiff_t;
    explicit iterator(const EventSource& source) : source_(&source) { ++*this; }
    MessageEvent& operator*() const noexcept { return *event_; }
    iterator& operator++() {
      event_ = source_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !event_; }

   private:
    const EventSource* source_;
    mutable std::optional<MessageEvent> event_;
  };
  iterator begin() const { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// For asyncio::with(), which connects and closes.
  EventSource& enter();
  bool exit(std::exception_ptr error) noexcept;

 private:
  std::optional<MessageEvent> next() const;

  std::shared_ptr<detail::EventSourceObject> object_;
};

}  // namespace fiber::aiohttp
