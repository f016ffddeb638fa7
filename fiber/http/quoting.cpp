#include <fiber/http/quoting.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/headers.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace fiber::http {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Returns the size of the well-formed character at the front; 0 if there is none.
std::size_t utf8_size(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  std::size_t size = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (text.size() < size || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < size; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  return size;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const std::size_t size = utf8_size(bytes);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

std::string valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t size = utf8_size(bytes);
    text += size == 0 ? kReplacement : bytes.substr(0, size);
    bytes.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return text;
}

std::string unquote(std::string_view text, bool plus) {
  std::string spaced;
  if (plus && text.find('+') != text.npos) {
    spaced = text;
    std::replace(spaced.begin(), spaced.end(), '+', ' ');
    text = spaced;
  }
  std::string bytes = unquote_to_bytes(text);
  return is_valid_utf8(bytes) ? bytes : valid_utf8(bytes);
}

bool is_latin1(std::string_view charset) noexcept {
  return charset == "iso-8859-1" || charset == "latin-1" || charset == "latin1";
}

std::string from_latin1(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xC0 | byte >> 6);
      text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return text;
}

std::string quote(std::string_view text, std::string_view safe) {
  std::string quoted;
  for (const char c : text) {
    if (is_unreserved(c) || safe.find(c) != std::string_view::npos)
      quoted += c;
    else
      append_percent(quoted, static_cast<unsigned char>(c));
  }
  return quoted;
}

std::string quote_form(const Params& fields) {
  std::string text;
  for (const auto& [name, value] : fields)
    text += (text.empty() ? "" : "&") + quote(name, "") + "=" + quote(value, "");
  return text;
}

void append_query(std::string& url, const Params& fields) {
  if (fields.empty()) return;
  (url += url.find('?') == std::string::npos ? '?' : '&') += quote_form(fields);
}

Params parse_form(std::string_view text, bool latin1, std::size_t limit) {
  // In ISO-8859-1 the text was decoded already, but for its escapes.
  const auto plain = [latin1](std::string_view quoted) {
    if (!latin1) return unquote(quoted, true);
    std::string decoded;
    for (std::size_t i = 0; i < quoted.size(); ++i) {
      if (const int byte = percent_byte(quoted, i); byte >= 0) {
        decoded += from_latin1(std::string(1, static_cast<char>(byte)));
        i += 2;
      } else {
        decoded += quoted[i] == '+' ? ' ' : quoted[i];
      }
    }
    return decoded;
  };
  Params pairs;
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    if (pairs.size() == limit) throw ValueError("Max number of fields exceeded");
    const std::size_t equals = pair.find('=');
    pairs.emplace_back(plain(pair.substr(0, equals)), equals == std::string_view::npos
                                                          ? std::string()
                                                          : plain(pair.substr(equals + 1)));
  }
  return pairs;
}

namespace {

// Returns the size of the quoted value at the front with its quotes; 0 if there is none that ends
// before the next semicolon or the end of the text.
std::size_t size_of_quoted(std::string_view text) noexcept {
  if (!text.starts_with('"')) return 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      const std::size_t next = text.find_first_not_of(" \t", i + 1);
      return next == std::string_view::npos || text[next] == ';' ? i + 1 : 0;
    }
  }
  return 0;
}

// Undoes the quoting of http.cookies: \" and \\, and \073 for a byte.
std::string unquote_cookie(std::string_view text) {
  const auto digit = [&](std::size_t i, char most) {
    return i < text.size() && text[i] >= '0' && text[i] <= most;
  };
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      value += text[i];
    } else if (digit(i + 1, '3') && digit(i + 2, '7') && digit(i + 3, '7')) {
      value += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      value += text[++i];
    }
  }
  return value;
}

}  // namespace

Params parse_cookies(std::string_view header) {
  Params cookies;
  while (!header.empty()) {
    const std::size_t end = header.find(';');
    const std::size_t equals = header.find('=');
    if (equals < end) {
      const std::string_view name = strip(header.substr(0, equals));
      const std::size_t first =
          std::min(header.find_first_not_of(" \t", equals + 1), header.size());
      if (const std::size_t size = size_of_quoted(header.substr(first)); size != 0) {
        if (is_token(name))
          cookies.emplace_back(name, unquote_cookie(header.substr(first + 1, size - 2)));
        header.remove_prefix(first + size);
      } else if (is_token(name)) {
        const std::size_t count = end == std::string_view::npos ? end : end - equals - 1;
        cookies.emplace_back(name, strip(header.substr(equals + 1, count)));
      }
    }
    const std::size_t next = header.find(';');
    header = next == std::string_view::npos ? std::string_view() : header.substr(next + 1);
  }
  return cookies;
}

// --- dates --------------------------------------------------------------------------------------

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

int month_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kMonths.size(); ++i)
    if (equal_ignoring_case(kMonths[i], name)) return static_cast<int>(i);
  return -1;
}

}  // namespace

std::string format_date(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                kDays[static_cast<std::size_t>(parts.tm_wday)].data(), parts.tm_mday,
                kMonths[static_cast<std::size_t>(parts.tm_mon)].data(), parts.tm_year + 1900,
                parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

std::optional<std::int64_t> parse_date(std::string_view given) noexcept {
  char text[64] = {};
  if (given.size() >= sizeof text) return std::nullopt;
  std::copy(given.begin(), given.end(), text);
  std::tm parts{};
  char month[4] = {};
  int year = 0;
  const bool parsed =
      // IMF-fixdate; the obsolete form of RFC 850; the form of asctime.
      std::sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", &parts.tm_mday, month,
                  &year, &parts.tm_hour, &parts.tm_min, &parts.tm_sec) == 6 ||
      std::sscanf(text, "%*[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT", &parts.tm_mday, month,
                  &year, &parts.tm_hour, &parts.tm_min, &parts.tm_sec) == 6 ||
      std::sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d", month, &parts.tm_mday,
                  &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &year) == 6;
  if (!parsed || year < 0) return std::nullopt;
  if (year < 70) year += 2000;
  if (year < 100) year += 1900;
  parts.tm_year = year - 1900;
  parts.tm_mon = month_of(month);
  const std::chrono::year_month_day date(
      std::chrono::year(year), std::chrono::month(static_cast<unsigned>(parts.tm_mon + 1)),
      std::chrono::day(static_cast<unsigned>(parts.tm_mday)));
  if (parts.tm_mon < 0 || parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour < 0 ||
      parts.tm_hour > 23 || parts.tm_min < 0 || parts.tm_min > 59 || parts.tm_sec < 0 ||
      parts.tm_sec > 60 || !date.ok())
    return std::nullopt;
  return static_cast<std::int64_t>(::timegm(&parts));
}

// --- lists --------------------------------------------------------------------------------------

std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty())
    if (const std::string_view part = take_item(text); !part.empty()) parts.push_back(part);
  return parts;
}

namespace {

// Returns the weight in thousandths: "0.5" is 500. A text that is no weight is 0.
int weight_of(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || (text.front() != '0' && text.front() != '1')) return 0;
  if (text.size() > 1 && text[1] != '.') return 0;
  int weight = (text.front() - '0') * 1000;
  int place = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (c < '0' || c > '9') return 0;
    weight += (c - '0') * place;
    place /= 10;
  }
  return weight <= 1000 ? weight : 0;
}

}  // namespace

int coding_weight(const std::vector<std::string_view>& accepted, std::string_view coding) noexcept {
  int of_any = 0;
  for (std::string_view list : accepted) {
    while (!list.empty()) {
      std::string_view item = take_item(list);
      const std::string_view name = take_item(item, ';');
      const bool is_any = name == "*" && coding != "identity";
      if (!is_any && !equal_ignoring_case(name, coding)) continue;
      int weight = 1000;
      if (!item.empty()) {
        const std::string_view parameter = take_item(item, '=');
        weight = equal_ignoring_case(parameter, "q") ? weight_of(strip(item)) : 0;
      }
      if (!is_any) return weight;
      of_any = weight;
    }
  }
  return of_any;
}

std::string_view MediaType::parameter(std::string_view name) const noexcept {
  for (const auto& [its_name, value] : parameters)
    if (its_name == name) return value;
  return {};
}

MediaType parse_media_type(std::string_view text) {
  MediaType result;
  std::size_t at = text.find(';');
  result.type = lower(strip(text.substr(0, at)));
  while (at != std::string_view::npos) {
    text.remove_prefix(at + 1);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) break;
    const std::size_t next = text.find(';');
    if (next < equals) {  // a parameter without a value
      at = next;
      continue;
    }
    const std::string name = lower(strip(text.substr(0, equals)));
    std::string_view rest = strip(text.substr(equals + 1));
    std::string value;
    if (!rest.empty() && rest.front() == '"') {
      std::size_t i = 1;
      for (; i < rest.size() && rest[i] != '"'; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
        value += rest[i];
      }
      text = rest.substr(std::min(i + 1, rest.size()));
      at = text.find(';');
    } else {
      at = rest.find(';');
      value = strip(rest.substr(0, at));
      text = rest;
    }
    result.parameters.emplace_back(name, std::move(value));
  }
  return result;
}

// --- the rest -----------------------------------------------------------------------------------

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 102: return "Processing";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 208: return "Already Reported";
    case 226: return "IM Used";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 305: return "Use Proxy";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Request Entity Too Large";
    case 414: return "Request-URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Requested Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 418: return "I'm a Teapot";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Entity";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 506: return "Variant Also Negotiates";
    case 507: return "Insufficient Storage";
    case 508: return "Loop Detected";
    case 510: return "Not Extended";
    case 511: return "Network Authentication Required";
    default: return {};
  }
}

bool is_field_value(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7F) || c == '\t';
  });
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  std::uint32_t word = 0;
  std::size_t padding = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<std::uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<std::uint32_t>(c - 'a' + 26);
    else if (c >= '0' && c <= '9')
      digit = static_cast<std::uint32_t>(c - '0' + 52);
    else if (c == '+')
      digit = 62;
    else if (c == '/')
      digit = 63;
    else if (c == '=' && i + 2 >= text.size())
      ++padding;
    else
      return std::nullopt;
    if (padding != 0 && c != '=') return std::nullopt;
    word = word << 6 | digit;
    if (i % 4 == 3)
      for (std::size_t k = 0; k < 3 - padding; ++k)
        bytes += static_cast<char>(word >> (16 - 8 * k) & 0xFF);
  }
  return bytes;
}

std::string html_escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#x27;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace fiber::http
