#include <fiber/http/transfer.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/curl_option.hpp>
#include <fiber/http/redirect.hpp>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <new>

namespace fiber::http {
namespace {

// RFC 9110, 9.2.2: sent twice they do what they do once.
bool is_idempotent(std::string_view method) {
  static constexpr std::string_view methods[] = {"GET",   "HEAD", "OPTIONS",
                                                 "TRACE", "PUT",  "DELETE"};
  return std::find(std::begin(methods), std::end(methods), method) != std::end(methods);
}

// Of the body of a redirect, before its connection is given up instead.
constexpr std::size_t discard_limit = 64 * 1024;

}  // namespace

Transfer::Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit)
    : request_(std::move(request)),
      shared_(std::move(shared)),
      reader_(request_.rules),
      limit_(std::max<std::size_t>(limit, 1)),
      easy_(new_easy()) {
  make_ready(request_);
  first_url_ = request_.url;
  set_up();
}

void Transfer::header_line(std::string_view line) {
  touch();
  if (!reader_.add(line)) return;
  ResponseHead& head = reader_.head();
  if (shared_) shared_->cookies().set(request_.url, head.headers.getall("Set-Cookie"));
  head.url = request_.url;
  if (request_.rules == Rules::aiohttp)
    head.url.resize(std::min(head.url.find('#'), head.url.size()));
  elapsed_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started_);
  if (is_followed(request_, head)) {
    redirected_ = true;
    if (on_redirect) on_redirect();
  } else {
    if (request_.method != "HEAD") decoder_ = make_decoder(codings(), request_.rules);
    has_head_ = true;
  }
  changed();
}

// A protocol that was not asked for, or that nobody here speaks: what follows is no body.
bool Transfer::is_switched() const noexcept { return has_head_ && head().status == 101; }

bool Transfer::body_bytes(std::string_view bytes) {
  touch();
  if (available() >= limit_ || !is_decoded()) {
    paused_ = true;
    return false;
  }
  if (decoder_) {
    raw_ += bytes;
    decode_more();
  } else {
    if (bytes.size() > request_.max_body_size - decoded_) {
      body_ += bytes.substr(0, request_.max_body_size - decoded_);
      decoded_ = request_.max_body_size;
      refuse_more();
    }
    body_ += bytes;
    decoded_ += bytes.size();
  }
  changed();
  return true;
}

void Transfer::refuse_more() const {
  throw Failure{
      Failure::Kind::too_large,
      "The body has more bytes than max_body_size=" + std::to_string(request_.max_body_size), 0,
      request_.url};
}

void Transfer::decode_more() {
  constexpr std::size_t at_once = 1024 * 1024;
  while (!is_decoded() && available() < limit_) {
    const std::size_t before = body_.size(), allowed = request_.max_body_size - decoded_;
    std::size_t room = std::min(limit_ - available(), at_once);
    if (allowed < room) room = allowed + 1;
    std::string_view in = raw_;
    more_ = decoder_->decode(in, body_, room);
    raw_.erase(0, raw_.size() - in.size());
    if (body_.size() - before > allowed) {
      body_.resize(before + allowed);
      refuse_more();
    }
    decoded_ += body_.size() - before;
  }
  if (over_ && is_decoded() && decoder_) {
    const auto decoder = std::move(decoder_);
    if (decoded_ > 0) decoder->finish(request_.rules);
  }
}

// Goes on with what waited for room.
void Transfer::resume() {
  if (!guarded([this] { decode_more(); })) return end();
  if (paused_ && !done_ && is_decoded() && available() < limit_ - limit_ / 2) {
    paused_ = false;
    touch();
    // Hands over at once what curl had kept, and may so pause again.
    curl_easy_pause(easy_.get(), sending_paused_ ? CURLPAUSE_SEND : CURLPAUSE_CONT);
  }
}

void Transfer::resume_sending() {
  if (!std::exchange(sending_paused_, false) || done_ || over_) return;
  curl_easy_pause(easy_.get(), paused_ ? CURLPAUSE_RECV : CURLPAUSE_CONT);
}

void Transfer::set_limit(std::size_t limit) {
  limit_ = std::max<std::size_t>(limit, 1);
  resume();
}

std::string Transfer::take(std::size_t n) {
  std::string piece;
  if (n >= available() && taken_ == 0) {
    piece = std::exchange(body_, {});
  } else {
    piece = body_.substr(taken_, n);
    taken_ += piece.size();
    if (taken_ * 2 >= body_.size()) {
      body_.erase(0, taken_);
      taken_ = 0;
    }
  }
  resume();
  return piece;
}

void Transfer::finish(CURLcode code) {
  if (done_ || over_) return;
  over_ = true;
  if (is_switched()) code = CURLE_OK;
  result_ = code;
  if (is_redirected() && !failure_ && !error_) return;
  if (code == CURLE_OK && !has_head_ && !failure_ && !error_)
    failure_ = Failure{Failure::Kind::disconnected,
                       "The connection ended before the head of the response was complete", 0,
                       request_.url};
  if (code == CURLE_OK) guarded([this] { decode_more(); });
  end();
}

void Transfer::end() {
  if (std::exchange(done_, true)) return;
  // What could not be decoded is of no use to anybody.
  if (!succeeded()) {
    raw_.clear();
    more_ = false;
  }
  changed();
}

void Transfer::fail(std::exception_ptr error) noexcept {
  error_ = std::move(error);
  end();
}

bool Transfer::next_hop() noexcept {
  const bool goes_on = guarded([this] {
    ++redirects_;
    const bool too_many = request_.rules == Rules::requests
                              ? redirects_ > request_.max_redirects
                              : request_.max_redirects > 0 && redirects_ >= request_.max_redirects;
    if (too_many)
      throw Failure{Failure::Kind::too_many_redirects,
                    "Exceeded " + std::to_string(request_.max_redirects) + " redirects.", 0,
                    first_url_};
    Hop hop = current_hop();
    follow(request_, head());
    history_.push_back(std::move(hop));
    start_hop();
  });
  redirected_ = over_ = false;
  if (goes_on)
    changed();
  else
    end();
  return goes_on;
}

bool Transfer::again(const Headers& fields, bool keep) noexcept {
  const bool goes_on = guarded([&] {
    if (keep) history_.push_back(current_hop());
    for (const auto& [name, value] : fields) check_field(name, value);
    request_.headers.update(fields);
    done_ = has_head_ = more_ = false;
    failure_.reset();
    error_ = {};
    decoder_.reset();
    raw_.clear();
    body_.clear();
    taken_ = decoded_ = 0;
    start_hop();
  });
  redirected_ = over_ = false;
  if (!goes_on) end();
  return goes_on;
}

void Transfer::start_hop() {
  easy_ = new_easy();
  reader_ = HeadReader(request_.rules);
  message_[0] = '\0';
  result_ = CURLE_OK;
  connected_ = paused_ = sending_paused_ = false;
  discarded_ = 0;
  discarded_body_.clear();
  sent_ = 0;
  sendings_ = 0;
  started_ = Clock::now();
  set_up();
}

Hop Transfer::current_hop() {
  Hop hop{reader_.head(), request_.method, request_.headers, {}, elapsed_};
  if (!request_.keep_history) return hop;
  hop.body = redirected_ ? discarded_body_ : body_.substr(taken_);
  if (!redirected_) return hop;
  try {
    if (const auto decoder = make_decoder(codings(), request_.rules)) {
      std::string decoded;
      for (std::string_view in = discarded_body_;
           decoder->decode(in, decoded, discard_limit) && decoded.size() < discard_limit;) {
      }
      hop.body = std::move(decoded);
    }
  } catch (const Failure&) {
    // It stays as it was sent.
  }
  return hop;
}

std::string Transfer::codings() const {
  std::string codings;
  for (const std::string& value : head().headers.getall("Content-Encoding"))
    codings.append(codings.empty() ? "" : ",").append(value);
  return codings;
}

// curl sends a request again when a connection that was kept turns out to be dead. The server may
// have read it all the same.
bool Transfer::may_send() {
  ++sendings_;
  connected_ = true;
  touch();
  if (sendings_ == 1 || (sendings_ == 2 && is_idempotent(request_.method))) return true;
  failure_ = Failure{Failure::Kind::disconnected,
                     "The server closed the connection without an answer", 0, request_.url};
  return false;
}

std::optional<Failure> Transfer::failure() const {
  if (failure_) return failure_;
  if (result_ == CURLE_OK) return std::nullopt;
  return failure_of_curl();
}

Failure Transfer::failure_of_curl() const {
  using Kind = Failure::Kind;
  const std::string text = message_[0] ? message_.data() : curl_easy_strerror(result_);
  long error_number = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &error_number);
  const auto failed = [&](Kind kind) {
    return Failure{kind, text, static_cast<int>(error_number), request_.url};
  };
  switch (result_) {
    case CURLE_COULDNT_RESOLVE_HOST: return failed(Kind::resolve);
    case CURLE_COULDNT_CONNECT: return failed(through_proxy_ ? Kind::proxy : Kind::connect);
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY: return failed(Kind::proxy);
    case CURLE_OPERATION_TIMEDOUT: return failed(Kind::connect_timeout);  // no other is set
    case CURLE_URL_MALFORMAT: return failed(Kind::invalid_url);
    case CURLE_OUT_OF_MEMORY:
      // curl says so, too, of a header line that is longer than its buffer of 100 KiB.
      if (!connected_ || has_head_) return failed(Kind::memory);
      return Failure{Kind::bad_response, "A header line is too long, or memory is used up", 0,
                     request_.url};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_PEER_FAILED_VERIFICATION: return failed(Kind::tls);
    case CURLE_BAD_FUNCTION_ARGUMENT:  // a first header line that continues another
    case CURLE_UNSUPPORTED_PROTOCOL:
      return failed(connected_ ? Kind::bad_response : Kind::invalid_schema);
    case CURLE_RECV_ERROR:
      // curl has a limit of its own for all heads together, in some versions.
      if (text.starts_with("Too large response headers")) return failed(Kind::bad_response);
      if (through_proxy_ && !connected_) return failed(Kind::proxy);
      return failed(has_head_ ? Kind::payload : Kind::disconnected);
    case CURLE_WEIRD_SERVER_REPLY: return failed(has_head_ ? Kind::payload : Kind::bad_response);
    default: return failed(has_head_ ? Kind::payload : Kind::disconnected);
  }
}

template <class Step>
bool Transfer::guarded(Step step) noexcept {
  try {
    step();
    return true;
  } catch (Failure& failure) {
    if (failure.url.empty()) failure.url = request_.url;
    failure_ = std::move(failure);
  } catch (...) {
    error_ = std::current_exception();
  }
  return false;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  const bool fine = self.guarded([&] { self.header_line({data, size * count}); });
  return fine && !self.is_switched() ? size * count : 0;
}

std::size_t Transfer::on_write(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  const std::size_t bytes = size * count;
  if (self.redirected_) {
    self.touch();
    if ((self.discarded_ += bytes) > discard_limit) return 0;
    const bool kept = !self.request_.keep_history ||
                      self.guarded([&] { self.discarded_body_.append(data, bytes); });
    return kept ? bytes : 0;
  }
  bool taken = true;
  if (!self.guarded([&] { taken = self.body_bytes({data, bytes}); })) return 0;
  return taken ? bytes : CURL_WRITEFUNC_PAUSE;
}

std::size_t Transfer::on_read(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  std::optional<std::size_t> given;
  const bool fine = self.guarded([&] {
    BodySource& source = *self.request_.body.source();
    std::size_t room = size * count;
    const auto whole = source.size();
    if (whole)
      room = static_cast<std::size_t>(std::min<std::uint64_t>(room, *whole - self.body_sent_));
    if (room == 0) {
      given = 0;
      return;
    }
    given = self.read_body ? self.read_body(data, room) : source.read(data, room);
    if (whole && given == std::size_t{0})
      throw OSError("The body to be sent ended after " + std::to_string(self.body_sent_) + " of " +
                    std::to_string(*whole) + " bytes");
    self.body_sent_ += given.value_or(0);
  });
  if (!fine) return CURL_READFUNC_ABORT;
  if (given) return *given;
  self.sending_paused_ = true;
  return CURL_READFUNC_PAUSE;
}

// curl goes back to the beginning alone, to send on another connection.
int Transfer::on_seek(void* pointer, curl_off_t offset, int origin) {
  auto& self = *static_cast<Transfer*>(pointer);
  bool done = false;
  self.guarded(
      [&] { done = offset == 0 && origin == SEEK_SET && self.request_.body.source()->rewind(); });
  if (!done) return CURL_SEEKFUNC_CANTSEEK;
  self.body_sent_ = 0;
  return CURL_SEEKFUNC_OK;
}

int Transfer::on_connected(void* pointer, char*, char*, int, int) {
  auto& self = *static_cast<Transfer*>(pointer);
  bool may_send = false;
  self.guarded([&] { may_send = self.may_send(); });
  if (!may_send) return CURL_PREREQFUNC_ABORT;
  self.changed();
  return CURL_PREREQFUNC_OK;
}

int Transfer::on_progress(void* pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent) {
  auto& self = *static_cast<Transfer*>(pointer);
  if (std::exchange(self.sent_, sent) != sent) self.touch();
  return 0;
}

}  // namespace fiber::http
