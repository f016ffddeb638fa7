// The sending part of Transfer: the head and the body of a request.
#include <fiber/http/transfer.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/http/redirect.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <cstdio>

namespace fiber::http {
namespace {

// The most bytes of a body that are read at once.
constexpr std::size_t piece_size = 64 * 1024;
// How long to wait for "100 Continue", as in curl: some servers never send it.
constexpr auto continue_time = std::chrono::seconds(1);

}  // namespace

void Transfer::set_up() {
  parser_.begin(request().method == "HEAD");
  body_sent_ = 0;
  sending_paused_ = false;
  expects_until_.reset();
  sending_ = prepared_->sending;
  if (prepared_->expects) expects_until_ = Clock::time_point::max();
  CookieStore* store = shared_ ? &shared_->cookies() : nullptr;
  std::string cookies;
  if (prepared_->has_cookies() || (store && !store->empty()))
    cookies = cookie_field(request(), store);
  out_.clear();
  out_taken_ = 0;
  head_left_ = prepared_->head;
  if (!cookies.empty()) {
    out_ = prepared_->head_with(cookies);
    out_taken_ = out_.size();
    head_left_ = out_;
  }
  sends_ = true;
}

std::string_view Transfer::output() {
  if (!attached_ || over_ || !sends_) return {};
  if (!head_left_.empty()) return head_left_;
  if (out_taken_ == out_.size() && !guarded([this] { fill_output(); })) {
    give_up();
    return {};
  }
  if (out_taken_ < out_.size()) return std::string_view(out_).substr(out_taken_);
  if (sending_ != Sending::bytes || expects_until_) return {};
  return std::string_view(request().body.bytes()).substr(body_sent_);
}

void Transfer::sent(std::size_t size) {
  touch();
  if (!head_left_.empty()) {
    head_left_.remove_prefix(size);
    if (!head_left_.empty()) return;
  } else if (out_taken_ < out_.size()) {
    out_taken_ += size;
    if (out_taken_ < out_.size()) return;
  } else {
    body_sent_ += size;
    if (body_sent_ == request().body.bytes().size()) sending_ = Sending::nothing;
  }
  if (expects_until_ == Clock::time_point::max()) expects_until_ = Clock::now() + continue_time;
  if (sending_ != Sending::nothing) return;
  sends_ = false;
  if (parser_.complete()) hop_over(true);
}

// Reads the next piece of the body from its source.
void Transfer::fill_output() {
  if (expects_until_ || sending_paused_) return;
  if (sending_ != Sending::counted && sending_ != Sending::chunked) return;
  out_.clear();
  out_taken_ = 0;
  if (sending_ == Sending::chunked && !request().body.source()) {
    const std::string& bytes = request().body.bytes();
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    if (!bytes.empty()) out_.append(size).append(bytes).append("\r\n");
    out_ += "0\r\n\r\n";
    sending_ = Sending::nothing;
    return;
  }
  BodySource& source = *request().body.source();
  const auto whole = sending_ == Sending::counted ? source.size() : std::nullopt;
  std::size_t room = piece_size;
  if (whole) room = static_cast<std::size_t>(std::min<std::uint64_t>(room, *whole - body_sent_));
  // Room for "10000\r\n" in front of the piece, and for "\r\n" behind it.
  constexpr std::size_t before = 7, after = 2;
  out_.resize(before + room + after);
  out_taken_ = out_.size();
  std::optional<std::size_t> given = 0;
  if (room > 0)
    given =
        read_body ? read_body(out_.data() + before, room) : source.read(out_.data() + before, room);
  if (!given) {
    sending_paused_ = true;
    return;
  }
  if (whole && *given == 0 && room > 0)
    throw OSError("The body to be sent ended after " + std::to_string(body_sent_) + " of " +
                  std::to_string(*whole) + " bytes");
  body_sent_ += *given;
  out_.resize(before + *given);
  out_taken_ = before;
  if (sending_ == Sending::chunked)
    fill_chunk(*given);
  else if (body_sent_ == *whole)
    sending_ = Sending::nothing;
}

void Transfer::fill_chunk(std::size_t size) {
  if (size == 0) {
    out_ = "0\r\n\r\n";
    out_taken_ = 0;
    sending_ = Sending::nothing;
    return;
  }
  char line[20];
  const int length = std::snprintf(line, sizeof line, "%zx\r\n", size);
  out_taken_ -= static_cast<std::size_t>(length);
  out_.replace(out_taken_, static_cast<std::size_t>(length), line);
  out_ += "\r\n";
}

void Transfer::resume_sending() {
  if (!std::exchange(sending_paused_, false) || done_ || over_) return;
  touch();  // the time that the source took is no silence of the server
  ask_owner();
}

void Transfer::stop_expecting() {
  if (expects_until_) expects_until_.reset();
}

}  // namespace fiber::http
