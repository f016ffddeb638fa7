// The part of Connection that reads the body of a request, and keeps the time limits.
#include <fiber/aiohttp/times.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace fiber::aiohttp::web::detail {

using asyncio::await;

namespace {

// Wakes the task that waits in receive().
class TimeIsUp : public Exception {
 public:
  using Exception::Exception;
};

}  // namespace

// Receives bytes and returns their number; 0 at the end, or when the time is up.
std::size_t Connection::receive(const asyncio::StreamReader& reader, std::span<char> to) {
  try {
    return await(reader.readinto(to));
  } catch (const TimeIsUp&) {
    return 0;
  }
}

const std::shared_ptr<ByteReader>& Connection::body() {
  if (!body_reader_) body_reader_ = std::make_shared<ByteReader>(static_cast<ByteSource&>(*this));
  if (body_over_) body_reader_->end();
  return body_reader_;
}

// Handles that are left over get PayloadAccessError from now on.
void Connection::end_body() noexcept {
  body_over_ = true;
  if (const auto reader = std::exchange(body_reader_, nullptr)) reader->end();
}

void Connection::begin_body() {
  body_received_ = body_taken_ = 0;
  body_waited_ = {};
  body_over_ = false;
  if (parser_.done()) return;
  if (!head_.encoded || !server_.options.auto_decompress) return;
  const std::string coding = http::lower(head_.field("Content-Encoding"));
  if (coding == "gzip" || coding == "x-gzip") decompressor_.emplace(http::Wrapping::gzip);
  if (coding == "deflate") decompressor_.emplace(http::Wrapping::zlib);
}

// Ends the current request, and moves the bytes after it to the front.
void Connection::next_request() {
  expired_ = false;
  decompressor_.reset();
  compressed_rest_ = {};
  more_output_ = false;
  // A swap gives memory back; an empty string that is assigned does not.
  std::string().swap(compressed_);
  if (body_here_) {
    begin_ = cursor_ = end_ = 0;
    const std::size_t size = body_end_ - body_begin_;
    if (size > capacity_) {
      in_.reset(new char[size]);
      capacity_ = size;
    }
    if (size != 0) std::memcpy(in_.get(), body_->data() + body_begin_, size);
    end_ = size;
    body_here_ = false;
    body_begin_ = body_end_ = 0;
    body_.reset();
  }
  begin_ = cursor_;
  if (begin_ != end_) return;
  begin_ = cursor_ = end_ = 0;
  constexpr std::size_t kKept = 4096;  // capacity that an idle connection keeps
  if (capacity_ > kKept) {
    in_.reset();
    capacity_ = 0;
  }
}

void Connection::make_room_for_body() {
  if (!body_here_) {
    body_ = std::make_shared<std::string>(kBodyBuffer + (end_ - cursor_), '\0');
    body_begin_ = 0;
    body_end_ = end_ - cursor_;
    if (body_end_ != 0) std::memcpy(body_->data(), in_.get() + cursor_, body_end_);
    end_ = cursor_;
    body_here_ = true;
  }
  if (body_begin_ != 0) {
    std::memmove(body_->data(), body_->data() + body_begin_, body_end_ - body_begin_);
    body_end_ -= body_begin_;
    body_begin_ = 0;
  }
}

void Connection::limit_body() {
  const ServerOptions& options = server_.options;
  if (linger_end_ != kNever) {
    limit(Phase::body, std::max(http::Seconds(linger_end_ - loop_.time()), http::Seconds(1e-9)));
  } else if (options.body_timeout.count() > 0) {
    const double earned =
        options.min_body_rate == 0
            ? 0.0
            : static_cast<double>(body_received_) / static_cast<double>(options.min_body_rate);
    const http::Seconds left =
        options.body_timeout + http::Seconds(earned) - http::Seconds(body_waited_);
    limit(Phase::body, std::max(left, http::Seconds(1e-9)));
  }
}

// A task that waits for bytes of the body; lives as long as the wait. The task may be another than
// the connection's, and wait until the connection is gone.
struct Connection::Reading {
  explicit Reading(Connection& its_connection) : connection(its_connection) {
    connection.limit_body();
    connection.reads_body_ = true;
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    if (!*alive) return;
    connection.reads_body_ = false;
    connection.body_waited_ += connection.loop_.time() - begin;
    connection.no_limit();
  }
  Connection& connection;
  const std::shared_ptr<bool> alive = connection.alive();
  const std::shared_ptr<std::string> memory = connection.body_;
  const asyncio::StreamReader reader = connection.reader_;
  const asyncio::nanoseconds begin = connection.loop_.time();
};

// Receives bytes and returns their number, 0 at the end. Throws if the body arrives too slowly.
std::size_t Connection::fill_body() {
  if (reads_body_) throw RuntimeError("another task waits for the body of this request already");
  make_room_for_body();
  std::size_t count = 0;
  if (!expired_) {
    const Reading reading(*this);
    count = receive(reading.reader,
                    {reading.memory->data() + body_end_, reading.memory->size() - body_end_});
    if (!*reading.alive) throw PayloadAccessError("the request was answered already");
  }
  body_end_ += count;
  body_received_ += count;
  if (count == 0 && expired_) {
    closing_ = true;
    throw HTTPRequestTimeout({.text = "408: the body did not come in time"});
  }
  return count;
}

// Returns the next piece before decompression, "" at the end.
std::string Connection::next_raw() {
  for (;;) {
    const std::string_view bytes =
        body_here_ ? std::string_view(body_->data() + body_begin_, body_end_ - body_begin_)
                   : pending();
    http::BodyStep step;
    if (!parser_.step(bytes, step)) {
      closing_ = true;
      throw RequestPayloadError(parser_.fault().text);
    }
    (body_here_ ? body_begin_ : cursor_) += step.consumed;
    body_taken_ += step.data.size();
    if (!step.data.empty()) return std::string(step.data);
    if (parser_.done()) return {};
    if (fill_body() == 0) {
      closing_ = true;
      throw RequestPayloadError("the connection ended within the body of the request");
    }
  }
}

bool Connection::ended() const noexcept {
  return parser_.done() && compressed_rest_.empty() && !more_output_;
}

std::string Connection::next() {
  if (!decompressor_) return parser_.done() ? std::string() : next_raw();
  constexpr std::size_t kPiece = 64 * 1024;
  for (;;) {
    if (compressed_rest_.empty() && !more_output_) {
      const bool first = body_taken_ == 0;
      compressed_ = parser_.done() ? std::string() : next_raw();
      if (compressed_.empty()) {
        if (body_taken_ != 0 && !decompressor_->complete())
          throw RequestPayloadError("the compressed body of the request is cut short");
        return {};
      }
      // RFC 9110 has deflate in zlib's wrapping; some clients send raw deflate.
      constexpr char kMethod = 0x0F;
      constexpr char kDeflated = 8;
      if (first && http::equal_ignoring_case(head_.field("Content-Encoding"), "deflate") &&
          (compressed_.front() & kMethod) != kDeflated)
        decompressor_.emplace(http::Wrapping::raw);
      compressed_rest_ = compressed_;
    }
    std::string out;
    const auto result = decompressor_->feed(compressed_rest_, out, kPiece);
    more_output_ = result == http::Decompressor::Result::more_output;
    if (result == http::Decompressor::Result::corrupt)
      throw RequestPayloadError("Can not decode content-encoding: " +
                                std::string(head_.field("Content-Encoding")));
    if (!out.empty()) return out;
  }
}

// Reads the rest of the body for a while. Returns false if the connection should be closed instead.
bool Connection::linger_body() {
  const http::Seconds time = server_.options.lingering_time;
  // A client that waits for "100 Continue" and gets an answer does not send the body.
  if (time.count() <= 0 || closing_ || head_.expects) return false;
  linger_end_ = loop_.time() + aiohttp::detail::nanoseconds(time);
  decompressor_.reset();
  try {
    while (!parser_.done()) {
      if (loop_.time() >= linger_end_) return false;
      if (next_raw().empty() && !parser_.done()) return false;
    }
  } catch (const RequestPayloadError&) {
    return false;
  } catch (const HTTPException&) {
    return false;
  }
  linger_end_ = kNever;
  return true;
}

// Reads on for a while: closing a connection with unread data resets it, and the answer may be
// lost.
void Connection::linger() {
  if (server_.options.lingering_time.count() <= 0 || lost()) return;
  finish_writing();
  // TLS has no half-close; its own shutdown reads until the peer's close_notify.
  if (!writer_.can_write_eof()) return;
  writer_.write_eof();
  expired_ = false;
  limit(Phase::linger, server_.options.lingering_time);
  constexpr std::size_t kMost = 1024 * 1024;
  std::string nowhere(16 * 1024, '\0');
  for (std::size_t total = 0; total < kMost && !expired_;) {
    const std::size_t count = receive(reader_, nowhere);
    if (count == 0) break;
    total += count;
  }
  no_limit();
}

// --- time ---------------------------------------------------------------------------------------

// Zero is no limit.
asyncio::nanoseconds Connection::deadline_after(http::Seconds time) const {
  if (time.count() <= 0) return kNever;
  return loop_.time() + aiohttp::detail::nanoseconds(time);
}

void Connection::limit(Phase phase, http::Seconds time) {
  phase_ = phase;
  deadline_ = deadline_after(time);
  set_timer(deadline_);
}

void Connection::set_timer(asyncio::nanoseconds when) {
  if (timer_when_ <= when) return;
  timer_.cancel();
  timer_when_ = kNever;
  timer_ = loop_.call_at(when, [this] { on_timer(); });
  timer_when_ = when;
}

void Connection::on_timer() {
  timer_when_ = kNever;
  timer_ = {};
  const asyncio::nanoseconds now = loop_.time();
  const Draining* const draining = drainings_.first();
  // All tasks that wait find that the connection is lost.
  if (draining != nullptr && now >= draining->deadline) return writer_.transport().abort();
  if (now >= deadline_) expire();
  set_timer(draining != nullptr ? std::min(deadline_, draining->deadline) : deadline_);
}

// The time of the task that reads is up.
void Connection::expire() {
  expired_ = true;
  deadline_ = kNever;
  if (phase_ == Phase::idle) return writer_.close();
  // The task is woken once. After the end of the stream no byte could come any more, but the peer
  // may go on sending, and its bytes are read before the connection is closed.
  reader_.set_exception(fiber::detail::error_from([] { return TimeIsUp("the time is up"); }));
  reader_.set_exception(std::exception_ptr());
}

}  // namespace fiber::aiohttp::web::detail
