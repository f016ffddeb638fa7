#include <fiber/http/transfer.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/redirect.hpp>

#include <algorithm>
#include <iterator>
#include <new>

namespace fiber::http {
namespace {

// Whether the method is idempotent (RFC 9110, 9.2.2): a second request has no further effect.
bool is_idempotent(std::string_view method) {
  static constexpr std::string_view methods[] = {"GET",   "HEAD", "OPTIONS",
                                                 "TRACE", "PUT",  "DELETE"};
  return std::find(std::begin(methods), std::end(methods), method) != std::end(methods);
}

// The most bytes of a redirect's body that are read to keep its connection.
constexpr std::size_t discard_limit = 64 * 1024;

}  // namespace

Transfer::Transfer(Outgoing&& request, std::shared_ptr<Shared> shared, std::size_t limit)
    : Transfer(prepare(std::move(request)), std::move(shared), limit) {}

Transfer::Transfer(std::shared_ptr<const Prepared> prepared, std::shared_ptr<Shared> shared,
                   std::size_t limit)
    : prepared_(std::move(prepared)),
      shared_(std::move(shared)),
      parser_(request().rules),
      limit_(std::max<std::size_t>(limit, 1)) {
  set_up();
}

void Transfer::keep_exception() noexcept {
  try {
    try {
      throw;
    } catch (Failure& failure) {
      if (failure.url.empty()) failure.url = request().url;
      failure_ = std::move(failure);
    }
  } catch (...) {
    error_ = std::current_exception();  // no memory for the URL of the failure
  }
}

// --- the connection -----------------------------------------------------------------------------

void Transfer::attach(bool used) {
  attached_ = true;
  used_ = used;
  answered_ = false;
  may_keep_ = true;
  ++sendings_;
  touch();
  changed();
}

void Transfer::refuse(Failure failure) {
  if (done_ || over_) return;
  guarded([&] { throw std::move(failure); });
  give_up();
}

void Transfer::received(std::string_view bytes) {
  touch();
  if (over_ || done_) return;
  answered_ = true;
  if (!input_.empty() || paused_) {
    if (guarded([&] { input_ += bytes; })) return;
    return give_up();
  }
  work(bytes);
  if (!over_ && !done_ && !bytes.empty() && !guarded([&] { input_ = bytes; })) give_up();
}

void Transfer::work(std::string_view& in) {
  const bool fine = guarded([&] {
    while (!over_) {
      if (has_head_ && parser_.at_data() && is_full()) {
        paused_ = true;
        return;
      }
      switch (parser_.next(in)) {
        case AnswerParser::Event::more: return;
        case AnswerParser::Event::interim: stop_expecting(); break;
        case AnswerParser::Event::head:
          head_complete();
          if (!upgraded_) break;
          paused_ = true;
          return;
        case AnswerParser::Event::data: body_bytes(parser_.data()); break;
        case AnswerParser::Event::end:
          // Unrequested bytes: the connection is not used again.
          if (!in.empty()) may_keep_ = false;
          answer_complete();
          return;
      }
    }
  });
  if (!fine) give_up();
}

void Transfer::work_on_input() {
  std::string held = std::exchange(input_, {});
  std::string_view in = held;
  work(in);
  if (over_ || done_) return;
  if (!in.empty()) {
    held.erase(0, held.size() - in.size());
    input_ = std::move(held);
  } else if (loss_) {
    connection_lost();
  }
}

void Transfer::head_complete() {
  ResponseHead& head = parser_.head();
  if (shared_ && parser_.known().set_cookie)
    shared_->cookies().set(request().url, head.headers.getall("Set-Cookie"));
  head.url = url();
  elapsed_ = std::chrono::duration_cast<std::chrono::microseconds>(last_activity_ - started_);
  stop_expecting();
  if (head.status >= 300 && sends_) {
    // The server does not need the rest of the request's body.
    sends_ = false;
    may_keep_ = false;
  }
  if (is_followed(request(), head)) {
    redirected_ = true;
    if (on_redirect) on_redirect();
  } else {
    if (parser_.known().content_encoding && request().method != "HEAD")
      decoder_ = make_decoder(codings(), request().rules);
    has_head_ = true;
    upgraded_ = request().upgrade && head.status == 101;
  }
  changed();
}

std::string Transfer::leave_to_upgrade() noexcept {
  std::string rest = std::exchange(input_, {});
  end();
  return rest;
}

void Transfer::body_bytes(std::string_view bytes) {
  if (redirected_) {
    discarded_ += bytes.size();
    if (request().keep_history)
      discarded_body_ += bytes.substr(0, discard_limit - discarded_body_.size());
    if (discarded_ > discard_limit) hop_over(false);
    return;
  }
  if (decoder_) {
    raw_ += bytes;
    decode_more();
  } else {
    if (bytes.size() > request().max_body_size - decoded_) {
      body_ += bytes.substr(0, request().max_body_size - decoded_);
      decoded_ = request().max_body_size;
      refuse_more();
    }
    body_ += bytes;
    decoded_ += bytes.size();
  }
  changed();
}

// The answer may be complete before the request has been sent.
void Transfer::answer_complete() {
  if (!sends_) hop_over(true);
}

void Transfer::lost(std::optional<Failure> failure) {
  if (over_ || done_) return;
  loss_.emplace(std::move(failure));
  // Bytes received before are processed first, which may have to wait for room.
  if (input_.empty()) connection_lost();
}

void Transfer::connection_lost() {
  const std::optional<Failure> failure = *std::exchange(loss_, std::nullopt);
  if (!answered_ && used_ && sendings_ == 1 && is_idempotent(request().method)) {
    // The server may have closed the connection before the request arrived.
    attached_ = false;
    const bool fine = guarded([this] {
      // The source of a body is rewound, and may have another length.
      if (request().body.source()) prepared_ = std::make_shared<Prepared>(Outgoing(request()));
      set_up();
    });
    if (!fine) give_up();
    return;
  }
  const bool fine = guarded([&] {
    if (!has_head_ && !redirected_) {
      if (failure) throw Failure(*failure);
      throw Failure{Failure::Kind::disconnected,
                    answered_ ? "The connection ended before the head of the response was complete"
                              : "Remote end closed connection without response"};
    }
    // A body without a length is whole only if the connection was closed in order.
    if (failure && !parser_.complete())
      throw Failure{Failure::Kind::payload, failure->text, failure->error_number};
    parser_.end_of_input();
    hop_over(false);
  });
  if (!fine) give_up();
}

// Ends the hop after a failure. In the body of a redirect the failure is ignored.
void Transfer::give_up() {
  over_ = true;
  keeps_ = false;
  if (redirected_ && !error_ && failure_ && failure_->kind != Failure::Kind::memory) {
    failure_.reset();
    return;
  }
  end();
}

void Transfer::hop_over(bool keeps) {
  over_ = true;
  keeps_ = keeps && may_keep_ && parser_.complete() && parser_.keeps_alive();
  if (redirected_) return;
  guarded([this] { decode_more(); });
  end();
}

void Transfer::end() {
  if (std::exchange(done_, true)) return;
  over_ = true;
  // The bytes that could not be decoded are of no use.
  if (!succeeded()) {
    raw_.clear();
    input_.clear();
    more_ = false;
  }
  changed();
}

void Transfer::fail(std::exception_ptr error) noexcept {
  error_ = std::move(error);
  end();
}

// --- the body -----------------------------------------------------------------------------------

void Transfer::refuse_more() const {
  throw Failure{
      Failure::Kind::too_large,
      "The body has more bytes than max_body_size=" + std::to_string(request().max_body_size), 0,
      request().url};
}

void Transfer::decode_more() {
  constexpr std::size_t at_once = 1024 * 1024;
  while (!is_decoded() && available() < limit_) {
    const std::size_t before = body_.size(), allowed = request().max_body_size - decoded_;
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
    decoder->finish(request().rules);
  }
}

// Goes on with the bytes that waited for room.
void Transfer::resume() {
  if (!guarded([this] { decode_more(); })) {
    give_up();
    return ask_owner();
  }
  if (!paused_ || over_ || upgraded_ || !is_decoded() || available() >= limit_ - limit_ / 2) return;
  paused_ = false;
  touch();
  work_on_input();
  ask_owner();
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

// --- the next request ---------------------------------------------------------------------------

bool Transfer::next_hop() noexcept {
  const bool goes_on = guarded([this] {
    if (++redirects_ == 1) first_url_ = request().url;
    const bool too_many =
        request().rules == Rules::requests
            ? redirects_ > request().max_redirects
            : request().max_redirects != 0 && redirects_ >= request().max_redirects;
    if (too_many)
      throw Failure{Failure::Kind::too_many_redirects,
                    "Exceeded " + std::to_string(request().max_redirects) + " redirects.", 0,
                    first_url_};
    Hop hop = current_hop();
    Outgoing next = request();
    follow(next, head());
    history_.push_back(std::move(hop));
    start_hop(std::move(next));
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
    Outgoing next = request();
    next.headers.update(fields);
    done_ = has_head_ = more_ = false;
    failure_.reset();
    error_ = {};
    decoder_.reset();
    raw_.clear();
    body_.clear();
    taken_ = decoded_ = 0;
    start_hop(std::move(next));
  });
  redirected_ = over_ = false;
  if (!goes_on) end();
  return goes_on;
}

void Transfer::start_hop(Outgoing&& request) {
  attached_ = paused_ = keeps_ = false;
  discarded_ = 0;
  discarded_body_.clear();
  input_.clear();
  loss_.reset();
  sendings_ = 0;
  started_ = Clock::now();
  prepared_ = std::make_shared<Prepared>(std::move(request));
  set_up();
}

Hop Transfer::current_hop() {
  Hop hop{head(), request().method, request().headers, {}, elapsed_};
  if (!request().keep_history) return hop;
  hop.body = redirected_ ? discarded_body_ : body_.substr(taken_);
  if (!redirected_) return hop;
  try {
    if (const auto decoder = make_decoder(codings(), request().rules)) {
      std::string decoded;
      for (std::string_view in = discarded_body_;
           decoder->decode(in, decoded, discard_limit) && decoded.size() < discard_limit;) {
      }
      hop.body = std::move(decoded);
    }
  } catch (const Failure&) {
    // The body stays encoded.
  }
  return hop;
}

std::string Transfer::codings() const {
  std::string codings;
  for (const std::string& value : head().headers.getall("Content-Encoding"))
    codings.append(codings.empty() ? "" : ",").append(value);
  return codings;
}

}  // namespace fiber::http
