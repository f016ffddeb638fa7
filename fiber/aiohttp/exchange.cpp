#include <fiber/aiohttp/exchange.hpp>

#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace fiber::aiohttp::detail {
namespace {

[[noreturn]] void raise(const http::Failure& failure) {
  using Kind = http::Failure::Kind;
  const auto cannot_connect = [&](const std::string& why) {
    return "Cannot connect to host " + http::origin_of(failure.url) + " [" + why + "]";
  };
  switch (failure.kind) {
    case Kind::missing_schema:
    case Kind::invalid_schema:
    case Kind::invalid_proxy:
    case Kind::invalid_url: throw InvalidURL(failure.text);
    case Kind::invalid_header:
    case Kind::invalid_argument: throw ValueError(failure.text);
    case Kind::connect:
      throw ClientConnectorError(
          cannot_connect(failure.error_number ? OSError(failure.error_number, {}).what()
                                              : failure.text),
          failure.error_number);
    case Kind::resolve: throw ClientConnectorError(cannot_connect(failure.text));
    case Kind::unrewindable: throw ClientPayloadError(failure.text);
    case Kind::proxy: throw ClientProxyConnectionError(cannot_connect(failure.text));
    case Kind::tls: throw ClientSSLError(cannot_connect(failure.text));
    case Kind::connect_timeout:
      throw ServerTimeoutError("Connection timeout to host " + failure.url);
    case Kind::disconnected: throw ServerDisconnectedError();
    case Kind::bad_response:
    case Kind::bad_header: throw ClientResponseError(400, failure.text, failure.url);
    case Kind::payload:
      throw ClientPayloadError("Response payload is not completed: " + failure.text);
    case Kind::too_large: throw ClientPayloadError(failure.text);
    case Kind::encoding: throw ClientPayloadError("Can not decode the body: " + failure.text);
    case Kind::too_many_redirects: throw TooManyRedirects(0, "", failure.url);
    case Kind::memory: break;
  }
  throw std::bad_alloc();
}

void cancel(asyncio::TimerHandle& timer) noexcept {
  if (timer) std::exchange(timer, {}).cancel();
}

bool limits(const std::optional<http::Seconds>& timeout) { return timeout && timeout->count() > 0; }

std::chrono::nanoseconds nanoseconds(http::Seconds duration) {
  constexpr http::Seconds for_ever = std::chrono::hours(24 * 365 * 100);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(duration, for_ever));
}

}  // namespace

SessionCore::SessionCore(SessionOptions options)
    : options_(std::move(options)),
      jar_(options_.cookie_jar.value_or(CookieJar())),
      limiter_(options_.connector.limit, options_.connector.limit_per_host) {
  if (options_.base_url.empty()) return;
  try {
    options_.base_url = http::prepare_url(options_.base_url, {});
  } catch (const http::Failure&) {
    throw ValueError("Only absolute URLs are supported");
  }
  if (!options_.base_url.ends_with('/')) throw ValueError("base_url must have a trailing '/'");
}

Params SessionCore::cookies() const {
  Params cookies;
  for (Morsel& morsel : jar_.morsels())
    cookies.emplace_back(std::move(morsel.key), std::move(morsel.value));
  return cookies;
}

// One that is relative is joined to base_url.
std::string SessionCore::build_url(const std::string& url, const Params& params) const {
  const auto mark = url.find_first_of(":/?#");
  const bool absolute = (mark != url.npos && url[mark] == ':') || url.starts_with("//");
  if (absolute || options_.base_url.empty()) return http::prepare_url(url, params);
  return http::prepare_url(http::resolve_url(options_.base_url, url), params);
}

Engine& SessionCore::engine() {
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  if (!engine_) engine_.emplace(loop, std::max<std::size_t>(options_.connector.limit, 10));
  if (!(engine_->loop() == loop))
    throw RuntimeError("Session is attached to a different event loop");
  return *engine_;
}

std::shared_ptr<Exchange> SessionCore::request(std::string method, const std::string& url,
                                               RequestOptions options) {
  if (closed_) throw RuntimeError("Session is closed");
  if (options.json) {
    if (options.data) throw ValueError("data and json parameters can not be used at the same time");
    if (!options.json.error().empty()) throw ValueError(options.json.error());
    options.data = Body(options.json.text(), "application/json");
  }
  std::shared_ptr<Upload> upload;
  if (options.data.source()) {
    upload = std::make_shared<Upload>(options.data.source());
    const std::string& type = options.data.content_type();
    options.data = Body(upload, type.empty() ? "application/octet-stream" : type);
  }
  CIMultiDict headers = options_.headers;
  headers.update(options.headers);
  Params cookies = jar_.state_->cookies_for_all();
  cookies.insert(cookies.end(), options_.cookies.begin(), options_.cookies.end());
  cookies.insert(cookies.end(), options.cookies.begin(), options.cookies.end());
  const ClientTimeout timeout = options.timeout.value_or(options_.timeout);
  const std::string& proxy = options.proxy.empty() ? options_.proxy : options.proxy;
  std::shared_ptr<Exchange> exchange;
  try {
    exchange = std::make_shared<Exchange>(
        shared_from_this(),
        http::Outgoing{
            .rules = http::Rules::aiohttp,
            .method = std::move(method),
            .url = build_url(url, options.params),
            .headers = std::move(headers),
            .body = std::move(options.data),
            .cookies = std::move(cookies),
            .auth = options.auth ? std::move(options.auth) : options_.auth,
            .verify = options.ssl.value_or(options_.connector.ssl),
            .follow_redirects = options.allow_redirects.value_or(true),
            .max_redirects = options.max_redirects,
            .connect_timeout = limits(timeout.sock_connect) ? timeout.sock_connect : std::nullopt,
            .proxies = proxy.empty() ? Params{} : Params{{"all", proxy}},
            .proxy_auth = options.proxy_auth ? options.proxy_auth : options_.proxy_auth,
            .trust_env = options_.trust_env,
            .max_body_size = options.max_body_size
                                 ? *options.max_body_size
                                 : options_.max_body_size.value_or(http::unlimited),
        },
        timeout, std::move(upload));
  } catch (const http::Failure& failure) {
    raise(failure);
  }
  exchange->open();
  return exchange;
}

void SessionCore::close() noexcept {
  closed_ = true;
  while (!exchanges_.empty()) {
    Exchange* exchange = *exchanges_.begin();
    exchanges_.erase(exchanges_.begin());
    exchange->end(Exchange::Why::session_closed);
  }
  engine_.reset();
}

Exchange::Exchange(std::shared_ptr<SessionCore> core, http::Outgoing request, ClientTimeout timeout,
                   std::shared_ptr<Upload> upload)
    : core_(std::move(core)),
      engine_(core_->engine()),
      timeout_(timeout),
      transfer_(std::move(request), core_->jar_.state_->shared, core_->options_.read_bufsize),
      upload_(std::move(upload)) {
  transfer_.on_change = [this] { changed(); };
  core_->exchanges_.insert(this);
}

Exchange::~Exchange() { close(); }

void Exchange::open() {
  start_timers();
  slot_.emplace(core_->limiter_, http::origin_of(transfer_.request().url), [this] { wake(); });
  wait_until([this] { return slot_->granted(); });
  start_sending();
  engine_.add(transfer_);
  added_ = true;
  wait_until([this] { return transfer_.has_head(); });
}

void Exchange::start_sending() {
  if (!upload_) return;
  transfer_.read_body = [upload = upload_](char* buffer, std::size_t room) {
    return upload->take(buffer, room);
  };
  upload_->start(engine_.loop(), [this] { transfer_.resume_sending(); }, {});
}

std::size_t Exchange::read_bufsize() const noexcept { return core_->options_.read_bufsize; }

// A separator may begin in one piece and end in the next.
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

void Exchange::take_turn() {
  // Decompressing may go on for long without anything to wait for.
  constexpr std::size_t turn = 256 * 1024;
  if (taken_ >= turn) {
    taken_ = 0;
    asyncio::await(asyncio::sleep(0));
  }
}

std::string Exchange::read(std::size_t n) {
  if (n == 0) return {};
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
  if (!body_) body_ = read_rest();
  return *body_;
}

// Every condition holds once the transfer has succeeded.
template <class Condition>
void Exchange::wait_until(Condition condition) {
  while (!condition()) {
    check();
    if (waiter_)
      throw RuntimeError("read() called while another coroutine is already waiting for data");
    struct Clear {
      asyncio::Future<void>& waiter;
      ~Clear() { waiter = {}; }
    } const clear{waiter_};
    taken_ = 0;
    waiter_ = engine_.loop().create_future<void>();
    asyncio::await(waiter_);
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
  if (waiter_ && !waiter_.done()) waiter_.set_result();
}

void Exchange::changed() noexcept {
  if (transfer_.connected()) cancel(connect_timer_);
  if (transfer_.done()) {
    if (upload_) upload_->stop();
    // curl has put the connection back: the next in the queue may have it.
    slot_.reset();
    cancel(total_timer_);
    cancel(connect_timer_);
    cancel(silence_timer_);
  }
  wake();
}

void Exchange::start_timers() {
  const auto& loop = engine_.loop();
  if (limits(timeout_.total))
    total_timer_ =
        loop.call_later(nanoseconds(*timeout_.total), [this] { end(Why::total_timeout); });
  if (limits(timeout_.connect))
    connect_timer_ =
        loop.call_later(nanoseconds(*timeout_.connect), [this] { end(Why::connect_timeout); });
  if (limits(timeout_.sock_read)) watch_for_silence(*timeout_.sock_read);
}

// One timer, which looks when the last byte came, instead of one that every byte restarts.
void Exchange::watch_for_silence(http::Seconds duration) {
  silence_timer_ = engine_.loop().call_later(nanoseconds(duration), [this] {
    http::Seconds left = *timeout_.sock_read;
    if (transfer_.awaits_server()) left -= http::Transfer::Clock::now() - transfer_.last_activity();
    if (left.count() <= 0) return end(Why::read_timeout);
    try {
      watch_for_silence(left);
    } catch (const std::bad_alloc&) {
      end(Why::memory);  // nobody would notice a silence
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
  core_->exchanges_.erase(this);
  end(at_eof() ? Why::none : Why::closed);
}

void Exchange::give_back() noexcept {
  if (upload_) upload_->stop();
  cancel(total_timer_);
  cancel(connect_timer_);
  cancel(silence_timer_);
  if (std::exchange(added_, false)) engine_.remove(transfer_);
  slot_.reset();
}

}  // namespace fiber::aiohttp::detail
