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

bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr CharSet blanks(" \t\r\n");

std::string_view trim(std::string_view text) {
  while (!text.empty() && blanks.has(text.front())) text.remove_prefix(1);
  while (!text.empty() && blanks.has(text.back())) text.remove_suffix(1);
  return text;
}

// Whether the text has an end of a line inside: a program that copies the text into a header would
// send the rest as another field.
bool breaks_line(std::string_view text) {
  static constexpr CharSet ends({"\r\n\0", 3});
  return ends.find_in(text) != text.npos;
}

// All control characters but the tab.
constexpr CharSet controls(
    {"\0\x01\x02\x03\x04\x05\x06\x07\x08\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13"
     "\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f",
     32});

void check_value(std::string_view value, Rules rules) {
  if (controls.find_in(value) == value.npos) return;
  if (breaks_line(value)) refuse("A header value contains a line end or a NUL");
  if (rules == Rules::aiohttp) refuse("A header value contains a control character");
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
  const bool blank = line.empty() || (blanks.has(line.front()) && trim(line).empty());
  if (!in_head_) {
    // The parser of aiohttp skips empty lines before the status line, and some servers send them.
    if (blank && rules_ == Rules::aiohttp && head_.status == 0) return false;
    status_line(line);
    in_head_ = true;
    return false;
  }
  if (!blank) {
    field(line);
    return false;
  }
  // A 1xx status announces another head, except 101, even if no upgrade was asked for.
  in_head_ = false;
  interim_ = head_.status < 200 && head_.status != 101;
  if (!interim_) {
    if (known_.content_length) check_lengths();
    if (known_.transfer_encoding) check_codings();
    check_connection();
    complete_ = true;
  }
  head_.headers = Headers(std::move(fields_));
  return complete_;
}

void HeadReader::status_line(std::string_view line) {
  while (!line.empty() && blanks.has(line.back())) line.remove_suffix(1);
  if (head_.status != 0) head_ = {};
  known_ = {};
  lengths_ = 0;
  fields_ = core::Ref(new detail::PackedHeaders);
  const auto bad = [&] { refuse("Bad status line: '" + std::string(line.substr(0, 100)) + "'"); };
  // "HTTP/1.1 200" without a reason
  constexpr std::size_t shortest = 12;
  if (line.size() < shortest || !line.starts_with("HTTP/") || line[6] != '.' || line[8] != ' ' ||
      !is_digit(line[7]) || (line.size() > shortest && line[shortest] != ' ') ||
      breaks_line(line.substr(shortest)))
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
    if (fields_->size() == 0) refuse("The first header line begins with white space");
    const std::string_view more = trim(line);
    check_value(more, rules_);
    const std::size_t place = fields_->last();
    if (!fields_->at(place).value.empty()) fields_->lengthen(" ");  // RFC 9112, 5.2
    fields_->lengthen(more);
    const auto [name, value] = fields_->at(place);
    const std::size_t limit = rules_ == Rules::requests ? total_limit : 8190;
    if (value.size() > limit)
      refuse("The value of the header field '" + std::string(name) + "' is too long");
    return;
  }
  const std::size_t most = rules_ == Rules::requests ? 99 : 128;
  if (fields_->size() >= most) refuse("got more than " + std::to_string(most) + " headers");
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
  fields_->add(name, value);
  note(name);
}

void HeadReader::note(std::string_view name) noexcept {
  const auto is = [&](std::string_view one) { return equal_ignoring_case(name, one); };
  switch (name.size()) {
    case 10:
      known_.connection |= is("Connection");
      known_.set_cookie |= is("Set-Cookie");
      break;
    case 14:
      if (!is("Content-Length")) break;
      known_.content_length = true;
      if (lengths_++ == 0) length_place_ = fields_->last();
      break;
    case 16: known_.content_encoding |= is("Content-Encoding"); break;
    case 17: known_.transfer_encoding |= is("Transfer-Encoding"); break;
    default: break;
  }
}

// Refuses two lengths that differ: a proxy may have used the other one.
void HeadReader::check_lengths() {
  const std::string_view length = fields_->at(length_place_).value;
  const bool several = lengths_ > 1;
  bool differ = false;
  if (several)
    for (const auto [name, value] : *fields_)
      differ = differ || (equal_ignoring_case(name, "Content-Length") && value != length);
  if (differ || (rules_ == Rules::aiohttp && several) ||
      (!several && length.find(',') != length.npos))
    throw Failure{Failure::Kind::bad_header, "Content-Length contained multiple unmatching values"};
  const bool is_number = !length.empty() && std::all_of(length.begin(), length.end(), &is_digit);
  if (!is_number || (rules_ == Rules::aiohttp && length.size() > 18))
    refuse("Invalid Content-Length: '" + std::string(length.substr(0, 100)) + "'");
  if (rules_ == Rules::aiohttp && known_.transfer_encoding)
    refuse("Content-Length can't be present with Transfer-Encoding");
  content_length_ = length;
}

void HeadReader::check_codings() {
  for (const auto [name, coding] : *fields_) {
    if (!equal_ignoring_case(name, "Transfer-Encoding")) continue;
    const bool chunked = equal_ignoring_case(coding, "chunked");
    if (!chunked && !equal_ignoring_case(coding, "identity"))
      refuse("Unsupported Transfer-Encoding: '" + std::string(coding) + "'");
    known_.chunked = known_.chunked || chunked;
  }
}

// RFC 9112, 9.3.
void HeadReader::check_connection() {
  bool closes = false, keeps = false;
  if (known_.connection)
    for (const auto [name, value] : *fields_) {
      if (!equal_ignoring_case(name, "Connection")) continue;
      closes = closes || list_has(value, "close");
      keeps = keeps || list_has(value, "keep-alive");
    }
  keeps_alive_ = !closes && (keeps || !old_);
}

}  // namespace fiber::http
