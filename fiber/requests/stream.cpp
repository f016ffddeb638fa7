#include <fiber/requests/stream.hpp>

#include <fiber/exceptions/repr.hpp>
#include <fiber/http/charset.hpp>
#include <fiber/http/cookies.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <cstdint>
#include <new>

namespace fiber::requests {
namespace {

using Clock = http::Transfer::Clock;

// The most bytes of a streamed body that may wait for the reader.
constexpr std::size_t stream_buffer = 256 * 1024;
// The most bytes of the body of a dropped answer that are read to keep its connection.
constexpr std::size_t discard_limit = 64 * 1024;
// How long the body of a redirect is awaited.
constexpr auto redirect_time = std::chrono::seconds(1);
// The most connections that a session keeps.
constexpr std::size_t most_idle = 100;

std::string encoding_of(const CaseInsensitiveDict& headers) {
  if (std::string charset = http::charset_of(headers); !charset.empty()) return charset;
  std::string type = headers.get("Content-Type");
  type.resize(std::min(type.find(';'), type.size()));
  if (type.find("text") != type.npos) return "ISO-8859-1";  // RFC 2616, which Python still follows
  return type.find("application/json") != type.npos ? "utf-8" : "";
}

// Returns the cookies that an answer sets and a session would keep; of several with one name, the
// last.
Params cookies_of(const http::ResponseHead& head) {
  Params cookies;
  const http::CookiePlace from = http::cookie_place(head.url);
  const std::int64_t now = http::CookieStore::system_time();
  for (const std::string& field : head.headers.getall("Set-Cookie")) {
    const auto cookie = http::parse_set_cookie(field, from, now);
    if (!cookie) continue;
    std::erase_if(cookies, [&](const auto& other) { return other.first == cookie->name; });
    const bool ended = cookie->expires != 0 && cookie->expires <= now;
    if (!ended) cookies.emplace_back(cookie->name, cookie->value);
  }
  return cookies;
}

Response response_of(const http::ResponseHead& head) {
  Response response;
  response.status_code = head.status;
  response.reason = head.reason;
  response.url = head.url;
  for (const auto& [name, value] : head.headers)
    response.headers.set(
        name, response.headers.contains(name) ? response.headers[name] + ", " + value : value);
  response.encoding = encoding_of(response.headers);
  response.cookies = cookies_of(head);
  return response;
}

}  // namespace

void raise(const http::Failure& failure) {
  using Kind = http::Failure::Kind;
  std::string text = failure.text;
  if (failure.kind == Kind::connect && failure.error_number)
    text += ": " + std::string(OSError(failure.error_number, {}).what());
  if (!failure.url.empty() && failure.kind != Kind::invalid_header &&
      failure.kind != Kind::too_many_redirects)
    text += " for url: " + failure.url;
  switch (failure.kind) {
    case Kind::missing_schema: throw MissingSchema(text);
    case Kind::invalid_schema: throw InvalidSchema(text);
    case Kind::invalid_url: throw InvalidURL(text);
    case Kind::invalid_header:
    case Kind::bad_header: throw InvalidHeader(text);
    case Kind::invalid_argument: throw ValueError(text);
    case Kind::connect_timeout: throw ConnectTimeout(text);
    case Kind::proxy: throw ProxyError(text);
    case Kind::invalid_proxy: throw InvalidProxyURL(failure.text);
    case Kind::unrewindable: throw UnrewindableBodyError(failure.text);
    case Kind::tls: throw SSLError(text);
    case Kind::payload: throw ChunkedEncodingError(text);
    case Kind::encoding:
    case Kind::too_large: throw ContentDecodingError(text);
    case Kind::too_many_redirects: throw TooManyRedirects(text);
    case Kind::memory: throw std::bad_alloc();
    case Kind::resolve:
    case Kind::connect:
    case Kind::disconnected:
    case Kind::bad_response: break;
  }
  throw ConnectionError(text);
}

std::unique_ptr<Connection> Session::Core::take(const std::string& key) {
  for (;;) {
    std::unique_ptr<Connection> connection;
    {
      const std::lock_guard lock(mutex_);
      const auto found = std::find_if(idle_.rbegin(), idle_.rend(),
                                      [&](const auto& idle) { return idle->key() == key; });
      if (found == idle_.rend()) return nullptr;
      connection = std::move(*found);
      idle_.erase(std::next(found).base());
    }
    if (connection->is_alive()) return connection;
  }
}

void Session::Core::keep(std::unique_ptr<Connection> connection) noexcept {
  std::unique_ptr<Connection> oldest;  // closed without the lock
  try {
    const std::lock_guard lock(mutex_);
    if (idle_.size() >= most_idle) {
      oldest = std::move(idle_.front());
      idle_.erase(idle_.begin());
    }
    idle_.push_back(std::move(connection));
  } catch (const std::bad_alloc&) {
    // Without memory, the connection is closed.
  }
}

void Session::Core::close() noexcept {
  std::vector<std::unique_ptr<Connection>> all;
  const std::lock_guard lock(mutex_);
  all.swap(idle_);
}

std::string in_seconds(http::Seconds duration) {
  std::string text = fiber::detail::float_repr(duration.count());
  if (text.ends_with(".0")) text.resize(text.size() - 2);  // whole seconds, as ints are shown
  return text;
}

Response::Stream::Stream(std::shared_ptr<Session::Core> core, http::Outgoing request,
                         std::optional<http::Seconds> read_timeout, std::size_t limit)
    : core_(std::move(core)),
      read_timeout_(read_timeout),
      first_url_(request.url),
      limit_(limit),
      transfer_(std::move(request), core_->shared, limit) {}

Response::Stream::~Stream() { leave_connection(); }

Response Response::Stream::response() {
  Response response = response_of(transfer_.head());
  const http::Outgoing& request = transfer_.request();
  response.elapsed = transfer_.elapsed();
  response.request = {request.method, request.url, request.headers, request.body};
  for (http::Hop& hop : transfer_.history()) {
    Response before = response_of(hop.head);
    before.content = std::move(hop.body);
    before.elapsed = hop.elapsed;
    before.request = {hop.method, hop.head.url, std::move(hop.request_headers), {}};
    response.history.push_back(std::move(before));
  }
  transfer_.history().clear();
  return response;
}

void Response::Stream::read_head(const Adapters& adapters,
                                 const std::optional<HTTPDigestAuth>& digest) {
  Attempts attempts = adapters(transfer_.request().url);
  int hops = hops_;
  bool answered = false;
  for (;;) {
    try {
      drive([&] { return transfer_.has_head() || hops != hops_; });
    } catch (const RequestException&) {
      if (hops == hops_) {
        attempts.after_error(cause(), transfer_.request().method, transfer_.request().url);
        attempts.pause();
        send_again({}, false);
        continue;
      }
      throw;
    }
    if (hops != hops_) {
      hops = hops_;
      attempts = adapters(transfer_.request().url);
      answered = false;
      continue;
    }
    const std::string method = transfer_.request().method;
    if (attempts && attempts.after_answer(method, response_of(transfer_.head()))) {
      discard_body();
      attempts.pause();
      send_again({}, false);
      continue;
    }
    if (!digest || answered) return;
    answered = true;
    const std::string answer = answer_to_challenge(*digest);
    if (answer.empty()) return;
    discard_body();
    send_again({{"Authorization", answer}}, true);
  }
}

// Answers only the first origin: another server could use the answer to guess the password.
std::string Response::Stream::answer_to_challenge(const HTTPDigestAuth& digest) const {
  const http::ResponseHead& head = transfer_.head();
  if (head.status < 400 || head.status >= 500 ||
      !http::same_origin(first_url_, transfer_.request().url))
    return {};
  std::string challenges;
  for (const std::string& value : head.headers.getall("WWW-Authenticate"))
    challenges.append(challenges.empty() ? "" : ", ").append(value);
  return digest.answer(challenges, transfer_.request().method, transfer_.request().url);
}

// Returns the cause of the failure that drive() has thrown.
Attempts::Cause Response::Stream::cause() {
  using Kind = http::Failure::Kind;
  if (transfer_.error()) throw;  // an exception of the body's source, or no memory
  const auto failure = transfer_.failure();
  if (!failure) return Attempts::Cause::read;  // a read timeout
  switch (failure->kind) {
    case Kind::resolve:
    case Kind::connect:
    case Kind::connect_timeout:
    case Kind::proxy: return Attempts::Cause::connect;
    case Kind::disconnected:
    case Kind::bad_response: return Attempts::Cause::read;
    case Kind::tls: return Attempts::Cause::other;
    default: throw;
  }
}

void Response::Stream::discard_body() {
  transfer_.set_limit(discard_limit);
  try {
    drive([this] { return transfer_.available() >= discard_limit; });
  } catch (const RequestException&) {
    // The connection has failed, and is closed; the body was to be dropped anyway.
  }
}

void Response::Stream::send_again(const CaseInsensitiveDict& fields, bool keep) {
  leave_connection();
  transfer_.set_limit(limit_);
  if (!transfer_.again(fields, keep)) check();
}

std::string Response::Stream::read_all() {
  drive([] { return false; });
  return transfer_.take(http::unlimited);
}

std::string Response::Stream::read(std::size_t n, bool at_once) {
  transfer_.set_limit(std::max(n, stream_buffer));
  // A server that sends in chunks makes the body meanwhile, and may not have n bytes for hours.
  if (transfer_.head().headers.contains("Transfer-Encoding")) at_once = true;
  const std::size_t enough = at_once ? 1 : std::max<std::size_t>(n, 1);
  drive([&] { return transfer_.available() >= enough; });
  return transfer_.take(n ? n : http::unlimited);
}

// Works until `enough` returns true or the exchange is done; throws its failure.
template <class Enough>
void Response::Stream::drive(Enough enough) {
  transfer_.touch();
  std::optional<Clock::time_point> redirect_until;
  while (!enough()) {
    if (transfer_.done()) return check();
    if (transfer_.wants_connection()) connect();
    if (!transfer_.done()) connection_->work(transfer_);
    if (transfer_.is_redirected() && !redirect_until) redirect_until = Clock::now() + redirect_time;
    if (transfer_.is_redirected() && (transfer_.is_over() || *redirect_until <= Clock::now())) {
      ++hops_;
      leave_connection();
      transfer_.next_hop();
      redirect_until.reset();
    } else if (transfer_.is_over() || transfer_.wants_connection()) {
      leave_connection();
    } else if (!enough()) {
      connection_->wait(transfer_, milliseconds_to_wait(redirect_until));
      if (const auto until = transfer_.expects_until(); until && *until <= Clock::now())
        transfer_.stop_expecting();
    }
  }
}

void Response::Stream::connect() {
  if (!transfer_.wants_new_connection()) connection_ = core_->take(transfer_.route().key);
  try {
    if (!connection_) connection_ = std::make_unique<Connection>(transfer_);
  } catch (http::Failure& failure) {
    return transfer_.refuse(std::move(failure));
  }
  transfer_.attach(connection_->use());
}

// Keeps the connection for another exchange, if it may be used again.
void Response::Stream::leave_connection() noexcept {
  std::unique_ptr<Connection> connection = std::move(connection_);
  if (connection && transfer_.is_over() && transfer_.keeps_connection())
    core_->keep(std::move(connection));
}

void Response::Stream::check() {
  if (transfer_.error()) std::rethrow_exception(transfer_.error());
  const auto failure = transfer_.failure();
  if (!failure) return;
  if (failure->kind == http::Failure::Kind::too_many_redirects)
    throw TooManyRedirects(failure->text, std::make_shared<const Response>(response()));
  raise(*failure);
}

int Response::Stream::milliseconds_to_wait(
    const std::optional<Clock::time_point>& redirect_until) const {
  http::Seconds at_most{60};
  for (const auto& until : {transfer_.expects_until(), redirect_until})
    if (until)
      at_most = std::clamp<http::Seconds>(*until - Clock::now(), http::Seconds{0}, at_most);
  if (!read_timeout_) return static_cast<int>(at_most.count() * 1e3) + 1;
  const http::Seconds left = *read_timeout_ - (Clock::now() - transfer_.last_activity());
  if (left.count() <= 0)
    throw ReadTimeout("Read timed out. (read timeout=" + in_seconds(*read_timeout_) +
                      ") for url: " + transfer_.request().url);
  return static_cast<int>(std::min(left, at_most).count() * 1e3) + 1;
}

}  // namespace fiber::requests
