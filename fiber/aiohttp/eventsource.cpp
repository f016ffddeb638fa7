#include <fiber/aiohttp/eventsource.hpp>

#include <fiber/aiohttp/exchange.hpp>
#include <fiber/aiohttp/times.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/backoff.hpp>
#include <fiber/http/event_stream.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>

#include <string_view>
#include <utility>

namespace fiber::aiohttp {

using asyncio::await;

namespace detail {

class EventSourceObject {
 public:
  EventSourceObject(std::shared_ptr<SessionCore> core, std::optional<ClientSession> own,
                    std::string url, EventSourceOptions options)
      : own_(std::move(own)),
        core_(std::move(core)),
        url_(std::move(url)),
        options_(std::move(options)),
        time_(options_.reconnection_time),
        parser_(options_.max_event_size) {
    if (!(options_.reconnection_jitter >= 0))
      throw ValueError("reconnection_jitter must not be negative");
    parser_.set_last_event_id(options_.last_event_id);
    if (!options_.request.timeout) options_.request.timeout = ClientTimeout{.total = {}};
    CIMultiDict& headers = options_.request.headers;
    if (!headers.contains("Accept")) headers.set("Accept", "text/event-stream");
    if (!headers.contains("Cache-Control")) headers.set("Cache-Control", "no-store");
  }
  EventSourceObject(const EventSourceObject&) = delete;
  EventSourceObject& operator=(const EventSourceObject&) = delete;

  ReadyState state() const noexcept { return state_; }
  const std::string& url() const noexcept { return url_; }
  const std::string& last_event_id() const noexcept { return parser_.last_event_id(); }
  http::Seconds reconnection_time() const noexcept { return time_; }

  void connect();
  std::optional<MessageEvent> next();
  void close() noexcept;

 private:
  enum class Outcome { open, over, failed };

  void try_to_connect();
  std::optional<ClientResponse> request(RequestOptions options);
  Outcome look_at_answer(const ClientResponse& response);
  void again(std::exception_ptr error);
  void pause(http::Seconds time);
  // Runs a step on the network; its exception ends the stream unless a new attempt may help.
  template <class Step>
  void guarded(Step step);

  std::optional<ClientSession> own_;
  std::shared_ptr<SessionCore> core_;
  const std::string url_;
  EventSourceOptions options_;
  http::Seconds time_;
  http::EventStreamParser parser_;
  ReadyState state_ = ReadyState::connecting;
  std::optional<ClientResponse> response_;
  std::string origin_;
  std::string piece_;
  std::string_view rest_;  // the part of piece_ that is not parsed yet
  int failures_ = 0;       // in a row
  bool begun_ = false;     // the first request was made
  asyncio::Future<void> sleeper_;
  asyncio::TaskRef connecting_;
  bool interrupted_ = false;  // by close(), while it connects
};

void EventSourceObject::close() noexcept {
  state_ = ReadyState::closed;
  if (response_) response_->release();
  if (sleeper_ && !sleeper_.done()) sleeper_.set_result();
  if (connecting_ && !connecting_.done() && connecting_ != asyncio::current_task()) {
    interrupted_ = true;
    connecting_.cancel();
  }
}

// Connects until the stream is open or closed.
void EventSourceObject::connect() {
  while (state_ == ReadyState::connecting) guarded([this] { try_to_connect(); });
}

template <class Step>
void EventSourceObject::guarded(Step step) {
  std::exception_ptr error;
  try {
    return step();
  } catch (const ClientPayloadError&) {
    error = std::current_exception();
  } catch (const ClientConnectionError&) {
    error = std::current_exception();
  } catch (const TimeoutError&) {
    error = std::current_exception();
  } catch (...) {
    close();
    throw;
  }
  if (state_ == ReadyState::closed) return;
  if (core_->closed() || failures_ >= options_.max_connect_retry) {
    close();
    std::rethrow_exception(error);
  }
  ++failures_;
  again(error);
}

void EventSourceObject::again(std::exception_ptr error) {
  state_ = ReadyState::connecting;
  if (response_) response_->release();
  response_.reset();
  if (options_.on_error) options_.on_error(std::move(error));
}

void EventSourceObject::try_to_connect() {
  if (std::exchange(begun_, true)) {
    pause(http::backoff_time(time_, failures_ - 1, options_.max_reconnection_time,
                             options_.reconnection_jitter));
    if (state_ == ReadyState::closed) return;
  }
  RequestOptions options = options_.request;
  // The server may choose any text as an id, also one that cannot stand in a head.
  const std::string_view id = http::strip(last_event_id());
  const auto is_control = [](unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7F; };
  if (!id.empty() && std::none_of(id.begin(), id.end(), is_control))
    options.headers.set("Last-Event-ID", id);
  options.raise_for_status = false;
  std::optional<ClientResponse> answer = request(std::move(options));
  if (!answer) return;
  ClientResponse& response = *answer;
  switch (look_at_answer(response)) {
    case Outcome::over: response.release(); return close();
    case Outcome::failed: {
      const auto error = std::make_exception_ptr(
          ClientResponseError(response.status, response.reason, response.url, response.headers));
      response.release();
      if (failures_ >= options_.max_connect_retry) std::rethrow_exception(error);
      ++failures_;
      return again(error);
    }
    case Outcome::open: break;
  }
  origin_ = response.url.substr(0, response.url.find('/', response.url.find("://") + 3));
  response_ = std::move(response);
  piece_.clear();
  rest_ = {};
  parser_.begin();
  failures_ = 0;
  state_ = ReadyState::open;
  if (options_.on_open) options_.on_open();
}

// Makes a request; returns nothing if the stream was closed meanwhile.
std::optional<ClientResponse> EventSourceObject::request(RequestOptions options) {
  connecting_ = asyncio::current_task();
  struct Leave {
    EventSourceObject& self;
    ~Leave() {
      self.connecting_ = {};
      self.interrupted_ = false;
    }
  } const leave{*this};
  try {
    ClientResponse response = core_->request(options_.method, url_, std::move(options));
    if (state_ != ReadyState::closed) return response;
    response.release();
  } catch (const asyncio::CancelledError&) {
    if (!interrupted_) throw;
    connecting_.uncancel();
  }
  return std::nullopt;
}

EventSourceObject::Outcome EventSourceObject::look_at_answer(const ClientResponse& response) {
  switch (response.status) {
    case 200: break;
    case 204: return Outcome::over;
    case 500:
    case 502:
    case 503:
    case 504: return Outcome::failed;
    default:
      throw ClientResponseError(response.status, response.reason, response.url, response.headers);
  }
  if (http::lower(response.content_type()) != "text/event-stream")
    throw ContentTypeError(
        response.status,
        "Attempt to read events with unexpected mimetype: " + response.content_type(), response.url,
        response.headers);
  return Outcome::open;
}

// Waits; close() ends the wait.
void EventSourceObject::pause(http::Seconds time) {
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  sleeper_ = loop.create_future<void>();
  asyncio::TimerHandle timer = loop.call_later(nanoseconds(time), [this] {
    if (!sleeper_.done()) sleeper_.set_result();
  });
  struct Leave {
    asyncio::TimerHandle& timer;
    asyncio::Future<void>& sleeper;
    ~Leave() {
      timer.cancel();
      sleeper = {};
    }
  } const leave{timer, sleeper_};
  await(sleeper_);
}

std::optional<MessageEvent> EventSourceObject::next() {
  for (;;) {
    connect();
    if (state_ == ReadyState::closed) return std::nullopt;
    try {
      if (auto event = parser_.next(rest_)) {
        if (const auto retry = parser_.retry()) time_ = *retry;
        return MessageEvent{std::move(event->type), std::move(event->data), origin_,
                            last_event_id()};
      }
    } catch (const http::Failure& failure) {
      close();
      raise(failure);
    }
    if (const auto retry = parser_.retry()) time_ = *retry;
    guarded([this] {
      piece_ = await(response_->content.readany());
      rest_ = piece_;
      if (!piece_.empty() || state_ == ReadyState::closed) return;
      again(nullptr);
    });
  }
}

}  // namespace detail

EventSource::EventSource(const ClientSession& session, std::string url, EventSourceOptions options)
    : object_(std::make_shared<detail::EventSourceObject>(session.core(), std::nullopt,
                                                          std::move(url), std::move(options))) {}

EventSource::EventSource(std::string url, EventSourceOptions options) {
  ClientSession own;
  const auto core = own.core_;
  object_ = std::make_shared<detail::EventSourceObject>(core, std::move(own), std::move(url),
                                                        std::move(options));
}

asyncio::Coroutine<void> EventSource::connect() const {
  return asyncio::Coroutine<void>([object = object_] { object->connect(); }, "EventSource.connect");
}

asyncio::Coroutine<std::optional<MessageEvent>> EventSource::receive() const {
  return asyncio::Coroutine<std::optional<MessageEvent>>(
      [object = object_] { return object->next(); }, "EventSource.receive");
}

// The object lives while it waits: the handle may be assigned meanwhile.
std::optional<MessageEvent> EventSource::next(std::shared_ptr<detail::EventSourceObject> object) {
  return object->next();
}
void EventSource::close() const noexcept { object_->close(); }
ReadyState EventSource::ready_state() const noexcept { return object_->state(); }
const std::string& EventSource::url() const noexcept { return object_->url(); }
const std::string& EventSource::last_event_id() const noexcept { return object_->last_event_id(); }
http::Seconds EventSource::reconnection_time() const noexcept {
  return object_->reconnection_time();
}

EventSource& EventSource::enter() {
  const auto object = object_;
  object->connect();
  return *this;
}

bool EventSource::exit(std::exception_ptr) noexcept {
  object_->close();
  return false;
}

}  // namespace fiber::aiohttp
