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
// A body up to this size is sent with the head.
constexpr std::size_t small_body = 16 * 1024;
// How long to wait for "100 Continue", as in curl: some servers never send it.
constexpr auto continue_time = std::chrono::seconds(1);

void add_field(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(value.empty() ? ":" : ": ").append(value).append("\r\n");
}

}  // namespace

void Transfer::set_up() {
  if (request_.verify.bundle().find('\0') != std::string::npos)
    throw Failure{Failure::Kind::invalid_argument, "verify: embedded null byte in the path"};
  const UrlParts url = split_url(request_.url);
  route_ = route_of(request_, url);
  parser_.begin(request_.method == "HEAD");
  set_up_body();
  write_head(url.target);
}

void Transfer::set_up_body() {
  body_sent_ = 0;
  sending_paused_ = false;
  expects_until_.reset();
  sending_ = Sending::nothing;
  if (!request_.body && !request_.headers.contains("Transfer-Encoding")) return;
  sending_ = Sending::bytes;
  if (BodySource* source = request_.body.source().get()) {
    // Also the first time: another request may have sent the body.
    if (!source->rewind())
      throw Failure{Failure::Kind::unrewindable,
                    "Unable to rewind request body for redirect or another try."};
    auto size = source->size();
    // Requests sends an empty source in chunks, too.
    if (size == std::uint64_t{0} && request_.rules == Rules::requests) size.reset();
    if (!size && !request_.headers.contains("Transfer-Encoding"))
      request_.headers.set("Transfer-Encoding", "chunked");
    sending_ = size ? Sending::counted : Sending::chunked;
  }
  if (equal_ignoring_case(request_.headers.get("Transfer-Encoding"), "chunked"))
    sending_ = Sending::chunked;
}

void Transfer::write_head(std::string_view target) {
  const Headers& headers = request_.headers;
  out_.clear();
  out_taken_ = 0;
  out_.reserve(512);  // most heads fit
  out_.append(request_.method).append(" ");
  if (route_.absolute()) out_.append("http://").append(route_.origin);
  out_.append(target).append(" HTTP/1.1\r\n");
  add_field(out_, "Host", headers.get("Host", route_.origin));
  if (route_.absolute() && route_.proxy_auth && !headers.contains("Proxy-Authorization"))
    add_field(out_, "Proxy-Authorization", proxy_authorization(route_));
  for (const auto& [name, value] : headers)
    if (!equal_ignoring_case(name, "Host") && !equal_ignoring_case(name, "Cookie"))
      add_field(out_, name, value);
  // A session of requests has a field of its own, which a program may take away.
  if (request_.rules == Rules::aiohttp && !headers.contains("Accept"))
    add_field(out_, "Accept", "*/*");
  if (!headers.contains("Accept-Encoding")) add_field(out_, "Accept-Encoding", accepted_encodings);
  if (const std::string all = cookie_field(request_, shared_ ? &shared_->cookies() : nullptr);
      !all.empty())
    add_field(out_, "Cookie", all);
  if (sending_ == Sending::counted)
    add_field(out_, "Content-Length", std::to_string(*request_.body.source()->size()));
  else if (sending_ == Sending::bytes)
    add_field(out_, "Content-Length", std::to_string(request_.body.bytes().size()));
  else if (sending_ == Sending::nothing && sends_length(request_))
    add_field(out_, "Content-Length", "0");
  out_ += "\r\n";

  sends_ = true;
  const std::string& bytes = request_.body.bytes();
  if ((sending_ == Sending::bytes && bytes.empty()) ||
      (sending_ == Sending::counted && request_.body.source()->size() == std::uint64_t{0}))
    sending_ = Sending::nothing;
  if (sending_ == Sending::nothing) return;
  if (equal_ignoring_case(headers.get("Expect"), "100-continue")) {
    expects_until_ = Clock::time_point::max();
  } else if (sending_ == Sending::bytes && bytes.size() <= small_body) {
    out_ += bytes;
    sending_ = Sending::nothing;
  }
}

std::string_view Transfer::output() {
  if (!attached_ || over_ || !sends_) return {};
  if (out_taken_ == out_.size() && !guarded([this] { fill_output(); })) {
    give_up();
    return {};
  }
  if (out_taken_ < out_.size()) return std::string_view(out_).substr(out_taken_);
  if (sending_ != Sending::bytes || expects_until_) return {};
  return std::string_view(request_.body.bytes()).substr(body_sent_);
}

void Transfer::sent(std::size_t size) {
  touch();
  if (out_taken_ < out_.size()) {
    out_taken_ += size;
  } else {
    body_sent_ += size;
    if (body_sent_ == request_.body.bytes().size()) sending_ = Sending::nothing;
  }
  if (out_taken_ < out_.size()) return;
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
  if (sending_ == Sending::chunked && !request_.body.source()) {
    const std::string& bytes = request_.body.bytes();
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    if (!bytes.empty()) out_.append(size).append(bytes).append("\r\n");
    out_ += "0\r\n\r\n";
    sending_ = Sending::nothing;
    return;
  }
  BodySource& source = *request_.body.source();
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
