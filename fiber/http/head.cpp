#include <fiber/http/head.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <utility>

namespace fiber::http {
namespace {

constexpr std::size_t total_limit = 1024 * 1024;

[[noreturn]] void refuse(std::string text) {
  throw Failure{Failure::Kind::bad_response, std::move(text)};
}

std::string_view trim(std::string_view text) { return strip(text, " \t\r\n"); }

}  // namespace

bool HeadReader::add(std::string_view line) {
  size_ += line.size();
  if (size_ > total_limit) refuse("got more than 1 MiB of header lines");
  if (complete_) return false;  // trailers of a chunked body
  const std::size_t line_limit = rules_ == Rules::requests ? 65536 : 8190;
  if (line.size() > line_limit)
    refuse("got more than " + std::to_string(line_limit) + " bytes when reading header line");
  if (name_.empty() && line.starts_with("HTTP/")) {
    status_line(trim(line));
    return false;
  }
  if (!trim(line).empty()) {
    field(line);
    return false;
  }
  finish_field();
  // 100 Continue and its like announce another head; 101 does not, whoever asked for it.
  if (head_.status < 200 && head_.status != 101) return false;
  check_lengths();
  complete_ = true;
  return true;
}

void HeadReader::status_line(std::string_view line) {
  head_ = {};
  const auto code = line.find(' ');
  const std::string_view digits = code == line.npos ? "" : line.substr(code + 1, 4);
  if (digits.size() < 3 || (digits.size() == 4 && digits[3] != ' '))
    refuse("Bad status line: '" + std::string(line.substr(0, 100)) + "'");
  for (const char c : digits.substr(0, 3)) {
    if (c < '0' || c > '9') refuse("Bad status line: '" + std::string(line.substr(0, 100)) + "'");
    head_.status = head_.status * 10 + (c - '0');
  }
  if (digits.size() == 4) head_.reason = trim(line.substr(code + 5));
}

void HeadReader::field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    if (name_.empty()) refuse("The first header line is the continuation of another");
    (value_ += value_.empty() ? "" : " ") += trim(line);  // RFC 9112, 5.2
    const std::size_t limit = rules_ == Rules::requests ? total_limit : 8190;
    if (value_.size() > limit) refuse("The value of the header field '" + name_ + "' is too long");
    return;
  }
  finish_field();
  const std::size_t most = rules_ == Rules::requests ? 99 : 128;
  if (head_.headers.size() >= most) refuse("got more than " + std::to_string(most) + " headers");
  const auto colon = line.find(':');
  if (colon == line.npos) refuse("A header line without a colon");
  const std::string_view value = trim(line.substr(colon + 1));
  static constexpr std::string_view ends("\r\n\0", 3);
  if (value.find_first_of(ends) != value.npos)
    refuse("A header value with a line end or a NUL in it");
  const auto is_control = [](unsigned char c) { return (c < ' ' && c != '\t') || c == 127; };
  if (rules_ == Rules::aiohttp && std::any_of(value.begin(), value.end(), is_control))
    refuse("A header value with a control character in it");
  const std::string_view name = line.substr(0, colon);
  const auto is_visible = [](unsigned char c) { return c > ' ' && c < 127; };
  if (name.empty()) refuse("A header line without a name");
  // http.client takes what is no token, too.
  if (rules_ == Rules::aiohttp ? !is_token(name)
                               : !std::all_of(name.begin(), name.end(), is_visible))
    refuse("Invalid header name: '" + std::string(name.substr(0, 100)) + "'");
  name_ = name;
  value_ = value;
}

void HeadReader::finish_field() {
  if (!name_.empty()) head_.headers.add(name_, value_);
  name_.clear();
  value_.clear();
}

// Two lengths that differ: whoever else reads the answer may believe the other.
void HeadReader::check_lengths() const {
  const auto lengths = head_.headers.getall("Content-Length");
  const auto differs = [&](const std::string& length) { return length != lengths.front(); };
  if (std::any_of(lengths.begin(), lengths.end(), differs) ||
      (rules_ == Rules::aiohttp && lengths.size() > 1) ||
      (lengths.size() == 1 && lengths.front().find(',') != std::string::npos))
    throw Failure{Failure::Kind::bad_header, "Content-Length contained multiple unmatching values"};
  if (rules_ == Rules::aiohttp && !lengths.empty()) {
    const std::string& length = lengths.front();
    if (length.empty() || length.size() > 18 ||
        length.find_first_not_of("0123456789") != std::string::npos)
      refuse("Invalid Content-Length");
    if (head_.headers.contains("Transfer-Encoding"))
      refuse("Content-Length can't be present with Transfer-Encoding");
  }
  for (const std::string& coding : head_.headers.getall("Transfer-Encoding"))
    if (!equal_ignoring_case(coding, "chunked") && !equal_ignoring_case(coding, "identity"))
      refuse("A Transfer-Encoding that nobody asked for: '" + coding + "'");
}

}  // namespace fiber::http
