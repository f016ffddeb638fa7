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

// Whether a program that copies the text into a header would end the line in the middle of it.
bool breaks_line(std::string_view text) { return find_any(text, {"\r\n\0", 3}) != text.npos; }

void check_value(std::string_view value, Rules rules) {
  if (breaks_line(value)) refuse("A header value contains a line end or a NUL");
  const auto is_control = [](unsigned char c) { return (c < ' ' && c != '\t') || c == 127; };
  if (rules == Rules::aiohttp && std::any_of(value.begin(), value.end(), is_control))
    refuse("A header value contains a control character");
}

}  // namespace

bool HeadReader::add(std::string_view line) {
  size_ += line.size();
  if (size_ > total_limit) refuse("got more than 1 MiB of header lines");
  if (complete_) return false;  // trailers of a chunked body
  const std::size_t line_limit = rules_ == Rules::requests ? 65536 : 8190;
  if (line.size() > line_limit)
    refuse("got more than " + std::to_string(line_limit) + " bytes when reading header line");
  interim_ = false;
  if (!in_head_) {
    // The parser of aiohttp skips empty lines before the status line, and some servers send them.
    if (rules_ == Rules::aiohttp && head_.status == 0 && trim(line).empty()) return false;
    status_line(line.substr(0, line.find_last_not_of(" \t\r\n") + 1));
    in_head_ = true;
    return false;
  }
  if (!trim(line).empty()) {
    field(line);
    return false;
  }
  finish_field();
  // A 1xx status announces another head, except 101, even if no upgrade was asked for.
  in_head_ = false;
  interim_ = head_.status < 200 && head_.status != 101;
  if (interim_) return false;
  check_lengths();
  check_connection();
  complete_ = true;
  return true;
}

void HeadReader::status_line(std::string_view line) {
  head_ = {};
  const auto bad = [&] { refuse("Bad status line: '" + std::string(line.substr(0, 100)) + "'"); };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  // "HTTP/1.1 200" without a reason
  constexpr std::size_t shortest = 12;
  if (line.size() < shortest || !line.starts_with("HTTP/") || line[6] != '.' || line[8] != ' ' ||
      !is_digit(line[7]) || (line.size() > shortest && line[shortest] != ' ') || breaks_line(line))
    bad();
  const bool known = line[5] == '1' || line.substr(5, 3) == "0.9" ||
                     (rules_ == Rules::aiohttp && line.substr(5, 3) == "2.0");
  if (!known || line[9] < '1' || line[9] > '9' || !is_digit(line[10]) || !is_digit(line[11])) bad();
  old_ = line[5] == '0' || line.substr(5, 3) == "1.0";
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (line.size() > shortest) head_.reason = trim(line.substr(shortest));
}

void HeadReader::field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    if (name_.empty()) refuse("The first header line begins with white space");
    const std::string_view more = trim(line);
    check_value(more, rules_);
    (value_ += value_.empty() ? "" : " ") += more;  // RFC 9112, 5.2
    const std::size_t limit = rules_ == Rules::requests ? total_limit : 8190;
    if (value_.size() > limit) refuse("The value of the header field '" + name_ + "' is too long");
    return;
  }
  finish_field();
  const std::size_t most = rules_ == Rules::requests ? 99 : 128;
  if (head_.headers.size() >= most) refuse("got more than " + std::to_string(most) + " headers");
  const auto colon = line.find(':');
  if (colon == line.npos) refuse("A header line has no colon");
  const std::string_view value = trim(line.substr(colon + 1));
  check_value(value, rules_);
  const std::string_view name = line.substr(0, colon);
  const auto is_visible = [](unsigned char c) { return c > ' ' && c < 127; };
  if (name.empty()) refuse("A header line has no name");
  // http.client also accepts names that are not tokens.
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

// Refuses two lengths that differ: a proxy may have used the other one.
void HeadReader::check_lengths() const {
  const std::string* length = nullptr;
  bool several = false, differ = false, has_coding = false;
  for (const auto& [name, value] : head_.headers) {
    if (equal_ignoring_case(name, "Content-Length")) {
      several = length != nullptr;
      differ = differ || (several && value != *length);
      if (!several) length = &value;
    } else if (equal_ignoring_case(name, "Transfer-Encoding")) {
      has_coding = true;
    }
  }
  if (differ || (rules_ == Rules::aiohttp && several) ||
      (length && !several && length->find(',') != std::string::npos))
    throw Failure{Failure::Kind::bad_header, "Content-Length contained multiple unmatching values"};
  if (length) {
    const bool is_number =
        !length->empty() && length->find_first_not_of("0123456789") == std::string::npos;
    if (!is_number || (rules_ == Rules::aiohttp && length->size() > 18))
      refuse("Invalid Content-Length: '" + length->substr(0, 100) + "'");
    if (rules_ == Rules::aiohttp && has_coding)
      refuse("Content-Length can't be present with Transfer-Encoding");
  }
  if (has_coding) check_codings();
}

void HeadReader::check_codings() const {
  for (const std::string& coding : head_.headers.getall("Transfer-Encoding"))
    if (!equal_ignoring_case(coding, "chunked") && !equal_ignoring_case(coding, "identity"))
      refuse("Unsupported Transfer-Encoding: '" + coding + "'");
}

// RFC 9112, 9.3.
void HeadReader::check_connection() {
  bool closes = false, keeps = false;
  for (const auto& [name, value] : head_.headers) {
    if (!equal_ignoring_case(name, "Connection")) continue;
    closes = closes || list_has(value, "close");
    keeps = keeps || list_has(value, "keep-alive");
  }
  keeps_alive_ = !closes && (keeps || !old_);
}

}  // namespace fiber::http
