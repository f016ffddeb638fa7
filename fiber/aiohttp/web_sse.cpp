#include <fiber/aiohttp/web_sse.hpp>

#include <fiber/aiohttp/times.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/exceptions.hpp>

#include <algorithm>
#include <new>

namespace fiber::aiohttp::web {

using asyncio::await;

namespace detail {
namespace {

std::string without_line_ends(std::string_view text) {
  std::string line(text);
  std::erase_if(line, [](char c) { return c == '\r' || c == '\n'; });
  return line;
}

// Calls `take` with each line; the last one has no end.
template <class Take>
void for_each_line(std::string_view text, Take take) {
  for (;;) {
    const std::size_t end = text.find_first_of("\r\n");
    take(text.substr(0, end));
    if (end == text.npos) return;
    text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
  }
}

void check_interval(http::Seconds interval) {
  if (!(interval.count() > 0)) throw ValueError("ping_interval must be greater than 0");
}

}  // namespace

class EventSourceObject final : public ResponseObject {
 public:
  explicit EventSourceObject(EventSourceOptions options)
      : interval(options.ping_interval), sep_(std::move(options.sep)) {
    if (sep_ != "\r\n" && sep_ != "\n" && sep_ != "\r")
      throw ValueError("sep must be one of \\r\\n, \\r, \\n");
    check_interval(interval);
    headers = std::move(options.headers);
    const auto set = [this](const char* name, const char* value) {
      if (!headers.contains(name)) headers.set(name, value);
    };
    set("Content-Type", "text/event-stream");
    set("Cache-Control", "no-cache");
    set("X-Accel-Buffering", "no");
  }
  ~EventSourceObject() override { timer_.cancel(); }

  void prepare(Request& request) override;
  void finish(Request& request) override {
    stop();
    ResponseObject::finish(request);
  }
  void leave() noexcept override {
    stop();
    ResponseObject::leave();
  }

  void send(std::string_view data, const SendEventOptions& options);
  void stop() noexcept {
    timer_.cancel();
    streams_ = false;
    if (stopped_) stopped_->set();
  }
  bool streams() const noexcept {
    return streams_ && connection_ != nullptr && !connection_->lost();
  }
  void wait() {
    check_prepared();
    if (!streams_) return;
    if (!stopped_) stopped_.emplace();
    await(asyncio::Event(*stopped_).wait());
  }
  void check_prepared() const {
    if (!prepared()) throw RuntimeError("Response is not started");
  }

  http::Seconds interval;
  std::string last_event_id;

 private:
  void schedule();
  void on_timer();

  const std::string sep_;
  asyncio::TimerHandle timer_;
  std::optional<asyncio::Event> stopped_;
  http::Seconds stuck_{};   // the time for which no unsent byte has left
  std::size_t unsent_ = 0;  // unsent bytes at the last timer
  bool streams_ = false;
};

void EventSourceObject::prepare(Request& request) {
  if (prepared()) return check_request(request);
  compresses = false;
  if (!length) chunked = true;
  last_event_id = request.headers().get("Last-Event-ID");
  ResponseObject::prepare(request);
  streams_ = true;
  schedule();
}

void EventSourceObject::send(std::string_view data, const SendEventOptions& options) {
  check_prepared();
  std::string text;
  const auto field = [&](std::string_view name, std::string_view value) {
    ((text += name) += ": ") += value;
    text += sep_;
  };
  if (options.id) {
    if (options.id->find('\0') != std::string::npos)
      throw ValueError("an id cannot contain a zero byte: clients ignore such an id");
    field("id", without_line_ends(*options.id));
  }
  if (options.event) field("event", without_line_ends(*options.event));
  for_each_line(data, [&](std::string_view line) { field("data", line); });
  if (options.retry) {
    if (options.retry->count() < 0) throw ValueError("retry must not be negative");
    field("retry", std::to_string(options.retry->count()));
  }
  text += sep_;
  try {
    write(text);
  } catch (const ConnectionResetError&) {
    stop();
    throw;
  }
}

void EventSourceObject::schedule() {
  timer_ = asyncio::get_running_loop().call_later(aiohttp::detail::nanoseconds(interval),
                                                  [this] { on_timer(); });
}

// Runs in a callback, which must not wait: sends a comment only if no other data is unsent.
void EventSourceObject::on_timer() {
  if (!streams()) return stop();
  try {
    const asyncio::Transport transport = connection_->writer().transport();
    const std::size_t unsent = transport.get_write_buffer_size();
    if (unsent == 0) {
      if (!head_only_) send_piece(": ping" + sep_ + sep_);
      stuck_ = {};
    } else {
      stuck_ = unsent < unsent_ ? http::Seconds() : stuck_ + interval;
      const http::Seconds most = connection_->server().options.write_timeout;
      if (most.count() > 0 && stuck_ >= most) {
        transport.abort();
        return stop();
      }
    }
    unsent_ = unsent;
    schedule();
  } catch (const ConnectionResetError&) {
    stop();
  } catch (const std::bad_alloc&) {
    stop();  // without the timer the client's end would go unnoticed
  }
}

void send_event(ResponseObject& response, std::string_view data, const SendEventOptions& options) {
  static_cast<EventSourceObject&>(response).send(data, options);
}
void wait_for_end_of_events(ResponseObject& response) {
  static_cast<EventSourceObject&>(response).wait();
}

namespace {

ResponseRef make(EventSourceOptions& options) {
  const int status = options.status;
  if (status < 100 || status > 999)
    throw ValueError("a status has three digits, not " + std::to_string(status));
  std::string reason = std::move(options.reason);
  ResponseRef ref(new EventSourceObject(std::move(options)));
  ref->status = status;
  ref->reason = std::move(reason);
  return ref;
}

}  // namespace
}  // namespace detail

EventSourceResponse::EventSourceResponse(EventSourceOptions options)
    : StreamResponse(detail::make(options)) {}

detail::EventSourceObject& EventSourceResponse::events() const noexcept {
  return static_cast<detail::EventSourceObject&>(object());
}
void EventSourceResponse::stop_streaming() const {
  events().check_prepared();
  events().stop();
}
bool EventSourceResponse::is_connected() const noexcept { return events().streams(); }
const std::string& EventSourceResponse::last_event_id() const {
  events().check_prepared();
  return events().last_event_id;
}
http::Seconds EventSourceResponse::ping_interval() const noexcept { return events().interval; }
void EventSourceResponse::ping_interval(http::Seconds interval) const {
  detail::check_interval(interval);
  events().interval = interval;
}

EventSourceResponse& EventSourceContext::enter() {
  await(response_.prepare(request_));
  return response_;
}
bool EventSourceContext::exit(const std::exception_ptr&) noexcept {
  detail::EventSourceObject& events = static_cast<detail::EventSourceObject&>(response_.object());
  events.stop();
  return false;
}

}  // namespace fiber::aiohttp::web
