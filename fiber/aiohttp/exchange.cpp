#include <fiber/aiohttp/exchange.hpp>

#include <fiber/aiohttp/times.hpp>
#include <fiber/asyncio/stream_protocol.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace fiber::aiohttp::detail {

Exchange::Exchange(std::shared_ptr<SessionCore> core,
                   std::shared_ptr<const http::Prepared> prepared, const ClientTimeout& timeout,
                   std::shared_ptr<Upload> upload, std::shared_ptr<Traces> traces)
    : core_(std::move(core)),
      engine_(core_->engine()),
      timeout_(timeout),
      transfer_(std::move(prepared), core_->jar_.state_->shared, core_->options_.read_bufsize),
      upload_(std::move(upload)),
      traces_(std::move(traces)) {
  transfer_.on_change = [this] { changed(); };
  core_->exchanges_.append(*this);
}

void Exchange::open() {
  start_timers();
  slot_.emplace(core_->limiter_, transfer_.route().key, [this] { wake(); });
  const bool queued = traces_ && !slot_->granted();
  if (queued) traces_->queued_start();
  // While this waits, end() may take the place away.
  wait_until([this] { return slot_ && slot_->granted(); });
  if (queued) traces_->queued_end();
  check();
  start_sending();
  ride_ = engine_.add(transfer_, [this] { return take_place(); });
  if (traces_)
    wait_for_head_telling();
  else
    wait_until([this] { return has_head(); });
}

// Takes a place among the connections of the next hop's host. Returns false if there is none yet.
bool Exchange::take_place() {
  const std::string& host = transfer_.route().key;
  if (slot_ && slot_->host() == host) return true;
  slot_.reset();
  slot_.emplace(core_->limiter_, host, [this] { wake(); });
  waits_for_place_ = !slot_->granted();
  return !waits_for_place_;
}

// Goes on with a hop that has got its place.
bool Exchange::has_head() {
  if (waits_for_place_ && slot_ && slot_->granted()) {
    waits_for_place_ = false;
    if (ride_) engine_.go_on(*ride_);
  }
  return transfer_.has_head();
}

// Waits for the head, and reports redirects to the traces, and the body that they send again.
void Exchange::wait_for_head_telling() {
  // A trace may wait, while a redirect changes the request: all that it gets is a copy.
  http::Body body = upload_ ? http::Body() : transfer_.request().body;
  const auto tell_body = [&](const std::string& method, const std::string& url) {
    if (body) traces_->chunk_sent(method, url, body.bytes());
  };
  const auto tell_of_last = [&] {
    const std::string method = transfer_.request().method;
    const std::string url = transfer_.request().url;
    tell_body(method, url);
  };
  tell_of_last();
  for (std::size_t told = 0;;) {
    wait_until([&] { return has_head() || transfer_.history().size() > told; });
    for (; told < transfer_.history().size(); ++told) {
      const http::Hop hop = transfer_.history()[told];
      traces_->redirect(hop);
      const bool is_last = told + 1 == transfer_.history().size();
      const http::Hop next = is_last ? http::Hop{} : transfer_.history()[told + 1];
      const std::string& method = is_last ? transfer_.request().method : next.method;
      if (method != hop.method || hop.head.status == 303) body = {};
      if (is_last)
        tell_of_last();
      else
        tell_body(next.method, next.head.url);
    }
    if (transfer_.has_head() && told == transfer_.history().size()) return;
  }
}

void Exchange::start_sending() {
  if (!upload_) return;
  transfer_.read_body = [upload = upload_](char* buffer, std::size_t room) {
    return upload->take(buffer, room);
  };
  std::function<void(std::string_view)> sent;
  if (traces_)
    sent = [this, traces = traces_](std::string_view piece) {
      const http::Outgoing request = transfer_.request();
      traces->chunk_sent(request.method, request.url, piece);
    };
  upload_->start(
      engine_.loop(), [this] { transfer_.resume_sending(); }, std::move(sent));
}

std::size_t Exchange::read_bufsize() const noexcept { return core_->options_.read_bufsize; }

// Reads up to the separator, which may begin in one piece and end in the next.
std::string Exchange::read_until(std::string_view separator, std::size_t most) {
  std::string line;
  for (;;) {
    take_turn();
    wait_until([this] { return transfer_.available() > 0 || at_eof(); });
    if (transfer_.available() == 0) return line;
    const std::string_view there = transfer_.peek();
    const std::size_t overlap = std::min(line.size(), separator.size() - 1);
    const std::size_t before = line.size() - overlap;
    std::string joint = line.substr(before);
    joint += there.substr(0, separator.size() - 1);
    std::size_t end = joint.find(separator);
    if (end == joint.npos || end >= overlap) {
      end = there.find(separator);
      if (end != there.npos) end += separator.size();
    } else {
      end += separator.size() - overlap;
    }
    const bool found = end != there.npos;
    if (line.size() + std::min(end, there.size()) > most) throw ValueError("Chunk too big");
    const std::string piece = transfer_.take(found ? end : http::unlimited);
    taken_ += piece.size();
    line += piece;
    if (found) return line;
  }
}

std::string Exchange::read_exactly(std::size_t n) {
  std::string bytes;
  while (bytes.size() < n) {
    const std::string piece = read(n - bytes.size());
    if (piece.empty()) throw asyncio::IncompleteReadError(std::move(bytes), n);
    bytes += piece;
  }
  return bytes;
}

std::pair<asyncio::StreamReader, asyncio::StreamWriter> Exchange::take_connection() {
  stop_timers();
  const core::Ref<Ride> ride = std::exchange(ride_, {});
  const asyncio::Transport transport = ride ? engine_.detach(*ride) : asyncio::Transport();
  if (!transport) check();  // the session may have been closed
  if (!transport) throw ServerDisconnectedError();
  taken_connection_ = transport;
  const asyncio::StreamReader reader;
  const auto protocol = std::make_shared<asyncio::StreamReaderProtocol>(reader);
  transport.set_protocol(protocol);
  protocol->connection_made(transport);
  transport.resume_reading();
  reader.feed_data(transfer_.leave_to_upgrade());
  return {reader, asyncio::StreamWriter(transport)};
}

void Exchange::take_turn() {
  // The bytes that have arrived before release() are gone as well: how many have is chance.
  if (closed_) throw ClientConnectionResetError("Connection closed");
  // Decompressing may go on for long without waiting: other tasks get a turn.
  constexpr std::size_t turn = 256 * 1024;
  if (taken_ >= turn) {
    taken_ = 0;
    asyncio::await(asyncio::sleep(0));
  }
}

std::string Exchange::read(std::size_t n) {
  if (n == 0 && !closed_) return {};
  take_turn();
  wait_until([this] { return transfer_.available() > 0 || at_eof(); });
  std::string piece = transfer_.take(n);
  taken_ += piece.size();
  return piece;
}

std::string Exchange::read_rest() {
  std::string bytes = read(http::unlimited);
  while (!at_eof()) bytes += read(http::unlimited);
  return bytes;
}

const std::string& Exchange::body() {
  if (body_) return *body_;
  body_ = read_rest();
  if (traces_) traces_->chunk_received(method(), std::string(transfer_.url()), *body_);
  return *body_;
}

// Waits until the condition holds. Every condition must hold once the transfer has succeeded.
template <class Condition>
void Exchange::wait_until(Condition condition) {
  while (!condition()) {
    check();
    if (waiter_)
      throw RuntimeError("read() called while another coroutine is already waiting for data");
    struct Clear {
      asyncio::detail::Waiter*& waiter;
      ~Clear() { waiter = nullptr; }
    } const clear{waiter_};
    taken_ = 0;
    asyncio::detail::Waiter waiter(engine_.loop().object());
    waiter_ = &waiter;
    waiter.wait();
  }
}

void Exchange::check() const {
  switch (why_) {
    case Why::none: break;
    case Why::closed: throw ClientConnectionResetError("Connection closed");
    case Why::session_closed: throw ClientConnectionResetError("Session is closed");
    case Why::total_timeout: throw TimeoutError();
    case Why::connect_timeout:
      throw ServerTimeoutError("Connection timeout to host " + transfer_.request().url);
    case Why::read_timeout: throw ServerTimeoutError("Timeout on reading data from socket");
    case Why::memory: throw std::bad_alloc();
  }
  if (!transfer_.done()) return;
  if (transfer_.error()) std::rethrow_exception(transfer_.error());
  if (const auto failure = transfer_.failure()) raise(*failure);
}

void Exchange::wake() noexcept {
  if (waiter_ != nullptr) waiter_->wake();
}

void Exchange::changed() noexcept {
  if (transfer_.connected()) cancel(connect_timer_);
  if (transfer_.done() && !taken_connection_) {
    if (upload_) upload_->stop();
    // The engine gets the connection back in this iteration: the next waiter may use it.
    slot_.reset();
    stop_timers();
  }
  wake();
}

void Exchange::start_timers() {
  const auto& loop = engine_.loop();
  if (core_->totals_ && timeout_.total == core_->options_.timeout.total)
    core_->totals_->begin(*this);
  else if (limits(timeout_.total))
    total_timer_ =
        loop.call_later(nanoseconds(*timeout_.total), [this] { end(Why::total_timeout); });
  if (limits(timeout_.connect))
    connect_timer_ =
        loop.call_later(nanoseconds(*timeout_.connect), [this] { end(Why::connect_timeout); });
  if (limits(timeout_.sock_read)) watch_for_silence(*timeout_.sock_read);
}

void Exchange::stop_timers() noexcept {
  if (core_->totals_) core_->totals_->leave(*this);
  cancel(total_timer_);
  cancel(connect_timer_);
  cancel(silence_timer_);
}

// One timer that checks when the last byte arrived, instead of one that every byte restarts.
void Exchange::watch_for_silence(http::Seconds duration) {
  silence_timer_ = engine_.loop().call_later(nanoseconds(duration), [this] {
    http::Seconds left = *timeout_.sock_read;
    if (transfer_.awaits_server()) left -= http::Transfer::Clock::now() - transfer_.last_activity();
    if (left.count() <= 0) return end(Why::read_timeout);
    try {
      watch_for_silence(left);
    } catch (const std::bad_alloc&) {
      end(Why::memory);  // without the timer no silence would be noticed
    }
  });
}

void Exchange::end(Why why) noexcept {
  if (!transfer_.done() && why_ == Why::none) why_ = why;
  give_back();
  wake();
}

void Exchange::close() noexcept {
  if (std::exchange(closed_, true)) return;
  if (core_->exchanges_.has(*this)) core_->exchanges_.remove(*this);
  end(at_eof() ? Why::none : Why::closed);
}

void Exchange::give_back() noexcept {
  if (upload_) upload_->stop();
  stop_timers();
  if (const auto ride = std::exchange(ride_, {})) engine_.remove(*ride);
  if (taken_connection_) {
    try {
      std::exchange(taken_connection_, {}).close();
    } catch (...) {
      // There was no memory: the connection is closed with the loop.
    }
  }
  slot_.reset();
}

}  // namespace fiber::aiohttp::detail
