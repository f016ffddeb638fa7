#include <fiber/aiohttp/web_response_object.hpp>

#include <fiber/aiohttp/web_app_object.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <charconv>
#include <ctime>

namespace fiber::aiohttp::web::detail {
namespace {

void append_number(std::string& out, std::uint64_t number) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  out.append(text, end);
}

// Returns "Date: …\r\n", which is made once a second.
const std::string& date_line() {
  thread_local std::string text;
  thread_local std::int64_t made = -1;
  if (const std::int64_t now = std::time(nullptr); now != made) {
    made = now;
    text = "Date: " + http::format_date(made) + "\r\n";
  }
  return text;
}

[[noreturn]] void refuse_head(std::string_view name) {
  throw ValueError("a control character in the header '" + std::string(name) +
                   "' of a response: it cannot be sent");
}

// Returns the value of Content-Length, nothing if it is not a number.
std::optional<std::uint64_t> length_of(std::string_view value) noexcept {
  std::uint64_t length = 0;
  const char* const end = value.data() + value.size();
  const auto parsed = std::from_chars(value.data(), end, length);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return length;
}

enum class Known : unsigned char { other, type, length, date, server, connection, coding };

Known known(std::string_view name) noexcept {
  const auto is = [&](std::string_view other) { return http::equal_ignoring_case(name, other); };
  switch (name.size()) {
    case 4: return is("date") ? Known::date : Known::other;
    case 6: return is("server") ? Known::server : Known::other;
    case 10: return is("connection") ? Known::connection : Known::other;
    case 12: return is("content-type") ? Known::type : Known::other;
    case 14: return is("content-length") ? Known::length : Known::other;
    case 17: return is("transfer-encoding") ? Known::coding : Known::other;
    default: return Known::other;
  }
}

}  // namespace

ResponseObject::~ResponseObject() = default;

void ResponseObject::check_fresh(const char* what) const {
  if (prepared())
    throw RuntimeError(std::string("Cannot change ") + what + " after the headers have been sent");
}

bool ResponseObject::bodiless(const Request& request) const noexcept {
  return status < 200 || status == 204 || status == 304 || request.method() == "HEAD";
}

// --- the head -----------------------------------------------------------------------------------

void ResponseObject::append_status(std::string& out, int version) const {
  out += version >= 11 ? "HTTP/1.1 " : "HTTP/1.0 ";
  append_number(out, static_cast<std::uint64_t>(status));
  out += ' ';
  if (reason.empty()) {
    out += http::reason_phrase(status);
  } else {
    if (!http::is_field_value(reason)) refuse_head("reason");
    out += reason;
  }
  out += "\r\n";
}

void ResponseObject::append_head(Request& request, std::optional<std::size_t> body_size,
                                 std::string& out) {
  const int version = request.version().minor == 0 ? 10 : 11;
  const bool keep = keep_alive.value_or(request.keep_alive()) && !request.connection().closing();
  closes_ = !keep;
  append_status(out, version);
  bool has_type = false;
  bool has_date = false;
  bool has_server = false;
  bool has_connection = false;
  for (const auto& [name, value] : headers) {
    switch (known(name)) {
      case Known::type: has_type = true; break;
      case Known::date: has_date = true; break;
      case Known::server: has_server = true; break;
      case Known::connection: has_connection = true; break;
      case Known::length:
        if (!length) length = length_of(value);
        continue;
      case Known::coding: continue;  // the coding in use is appended below
      default: break;
    }
    if (!http::is_token(name) || !http::is_field_value(value)) refuse_head(name);
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  for (const auto& cookie : cookies) {
    out += "Set-Cookie: ";
    out += cookie.second;
    out += "\r\n";
  }
  const bool empty = status < 200 || status == 204 || status == 304;
  if (!has_type && !empty) {
    if (!http::is_field_value(content_type) || !http::is_field_value(charset))
      refuse_head("Content-Type");
    out += "Content-Type: ";
    out += content_type.empty() ? std::string_view("application/octet-stream") : content_type;
    if (!charset.empty()) {
      out += "; charset=";
      out += charset;
    }
    out += "\r\n";
  }
  if (!empty) {
    const std::optional<std::uint64_t> size = body_size ? body_size : length;
    if (chunked && version >= 11) {
      out += "Transfer-Encoding: chunked\r\n";
    } else if (size) {
      chunked = false;
      out += "Content-Length: ";
      append_number(out, *size);
      out += "\r\n";
      left_ = size;
    } else if (version >= 11 && !lengthless_) {
      chunked = true;
      out += "Transfer-Encoding: chunked\r\n";
    } else {
      chunked = false;
      closes_ = true;
    }
  } else {
    chunked = false;
  }
  if (!has_connection) {
    if (closes_ && version >= 11) out += "Connection: close\r\n";
    if (!closes_ && version < 11) out += "Connection: keep-alive\r\n";
  }
  if (!has_date) out += date_line();
  if (!has_server) out += "Server: fiber\r\n";
  out += "\r\n";
}

void ResponseObject::begin(Request& request) {
  if (request.started_ != nullptr && request.started_ != this)
    throw RuntimeError("another response to this request was begun already");
  request.started_ = this;
  connection_ = &request.connection();
  prepared_ = true;
  connection_->begin_response(*this);
  head_only_ = bodiless(request);
}

void ResponseObject::check_request(const Request& request) const {
  if (request.started_ != this)
    throw RuntimeError("this response was sent to another request: make one for each");
}

// Returns the coding that choose_coding() would choose.
ContentCoding ResponseObject::suitable_coding(const Request& request) const {
  if (!compresses || headers.contains("Content-Encoding")) return ContentCoding::identity;
  if (coding) return *coding;
  const auto accepted = request.headers().getall("Accept-Encoding");
  const int deflate = http::coding_weight(accepted, "deflate");
  const int gzip = http::coding_weight(accepted, "gzip");
  const int identity = http::coding_weight(accepted, "identity");
  if (deflate > 0 && deflate >= std::max(gzip, identity)) return ContentCoding::deflate;
  return gzip > 0 && gzip >= identity ? ContentCoding::gzip : ContentCoding::identity;
}

std::optional<http::Wrapping> ResponseObject::choose_coding(const Request& request) {
  const ContentCoding chosen = suitable_coding(request);
  const bool depends = compresses && !coding && !headers.contains("Content-Encoding");
  if (depends && !headers.contains("Vary")) headers.set("Vary", "Accept-Encoding");
  if (chosen == ContentCoding::identity) return std::nullopt;
  headers.set("Content-Encoding", chosen == ContentCoding::gzip ? "gzip" : "deflate");
  return chosen == ContentCoding::gzip ? http::Wrapping::gzip : http::Wrapping::zlib;
}

void ResponseObject::prepare(Request& request) {
  if (prepared()) return check_request(request);
  const std::string& head = make_head(request);
  connection_->send(head);
}

std::string& ResponseObject::make_head(Request& request) {
  if (request.app_ != nullptr) request.app_->send_on_response_prepare(request, *this);
  if (const auto wrapping = choose_coding(request)) {
    compressor_.emplace(*wrapping);
    length.reset();
    if (request.version().minor != 0) chunked = true;
  }
  std::string& out = request.connection().scratch();
  out.clear();
  append_head(request, std::nullopt, out);
  begin(request);
  return out;
}

// --- the body -----------------------------------------------------------------------------------

Connection& ResponseObject::connection_for_writing() const {
  if (connection_ == nullptr) throw ConnectionResetError("Cannot write to closing transport");
  return *connection_;
}

void ResponseObject::send_piece(std::string_view data) {
  if (left_) {
    data = data.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), *left_)));
    *left_ -= data.size();
  }
  if (data.empty()) return;
  sent_ += data.size();
  if (!chunked) return connection_->send(data);
  char size[24];
  const auto end = std::to_chars(size, size + sizeof size, data.size(), 16).ptr;
  constexpr std::size_t kCopied = 16 * 1024;
  std::string& out = connection_->scratch();
  out.assign(size, end);
  out += "\r\n";
  if (data.size() <= kCopied) {
    out += data;
    out += "\r\n";
    connection_->send(out);
  } else {
    connection_->send(out);
    connection_->send(data);
    connection_->send("\r\n");
  }
}

void ResponseObject::write(std::string_view data) {
  if (!prepared()) throw RuntimeError("Cannot call write() before prepare()");
  if (ended_) throw RuntimeError("Cannot call write() after write_eof()");
  Connection& connection = connection_for_writing();
  if (head_only_) return;
  if (compressor_) {
    std::string packed;
    compressor_->feed(data, packed);
    send_piece(packed);
  } else {
    send_piece(data);
  }
  connection.drain();
}

void ResponseObject::write_eof(std::string_view data) {
  if (ended_) return;
  if (!prepared()) throw RuntimeError("Response has not been started");
  Connection& connection = connection_for_writing();
  if (!head_only_) {
    if (compressor_) {
      std::string packed;
      compressor_->feed(data, packed);
      compressor_->finish(packed);
      send_piece(packed);
    } else {
      send_piece(data);
    }
    if (chunked) connection.send("0\r\n\r\n");
    // Fewer bytes than promised: only closing the connection can report that.
    if (left_ && *left_ != 0) {
      closes_ = true;
      connection.force_close();
    }
  }
  ended_ = true;
  connection.drain();
}

void ResponseObject::drain() {
  if (connection_ != nullptr) connection_->drain();
}

void ResponseObject::finish(Request& request) {
  prepare(request);
  write_eof({});
}

// Sends head and body in one write, unless the body is large.
void BodyResponseObject::prepare(Request& request) {
  if (prepared()) return check_request(request);
  if (request.app_ != nullptr) request.app_->send_on_response_prepare(request, *this);
  if (const auto wrapping = has_body ? choose_coding(request) : std::nullopt) {
    http::Compressor compressor(*wrapping);
    std::string packed;
    compressor.feed(body, packed);
    compressor.finish(packed);
    body = std::move(packed);
  }
  std::string& out = request.connection().scratch();
  out.clear();
  const bool as_is = !chunked || request.version().minor == 0;
  // HEAD may tell the size of a body that was not made.
  const bool told = request.method() == "HEAD" && !has_body &&
                    (length || length_of(headers.get("Content-Length")));
  append_head(request, as_is && !told ? std::optional(body.size()) : std::nullopt, out);
  begin(request);
  constexpr std::size_t kCopied = 32 * 1024;
  if (head_only_) {
    left_.reset();
    connection_->send(out);
  } else if (as_is && body.size() <= kCopied) {
    out += body;
    sent_ = body.size();
    left_ = 0;
    connection_->send(out);
  } else {
    connection_->send(out);
    ResponseObject::write(body);
  }
}

void BodyResponseObject::write_eof(std::string_view data) { ResponseObject::write_eof(data); }

}  // namespace fiber::aiohttp::web::detail
