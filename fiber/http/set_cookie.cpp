#include <fiber/http/set_cookie.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <system_error>
#include <utility>

#ifdef FIBER_HTTP_PSL
#include <libpsl.h>
#endif

namespace fiber::http {
namespace {

constexpr std::size_t most_bytes = 4096;
constexpr std::size_t most_bytes_of_attribute = 1024;
constexpr std::string_view http_only_mark = "#HttpOnly_";

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

bool is_control(unsigned char c) noexcept { return (c < ' ' && c != '\t') || c == 127; }

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// --- dates --------------------------------------------------------------------------------------

bool is_delimiter(unsigned char c) noexcept {
  return c == '\t' || (c >= 0x20 && c <= 0x2F) || (c >= 0x3B && c <= 0x40) ||
         (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
}

// Takes a number of `least` to `most` digits off the front; returns -1 if there is none.
int take_number(std::string_view& text, std::size_t least, std::size_t most) noexcept {
  std::size_t size = 0;
  int number = 0;
  for (; size < text.size() && is_digit(text[size]); ++size) {
    if (size == most) return -1;
    number = number * 10 + (text[size] - '0');
  }
  text.remove_prefix(size);
  return size < least ? -1 : number;
}

// Returns hours, minutes and seconds of "12:34:56", which may be followed by anything but a digit.
using Time = std::array<int, 3>;
std::optional<Time> time_of(std::string_view token) noexcept {
  Time time{};
  for (std::size_t i = 0; i < time.size(); ++i) {
    if (i > 0) {
      if (!token.starts_with(':')) return std::nullopt;
      token.remove_prefix(1);
    }
    time[i] = take_number(token, 1, 2);
    if (time[i] < 0) return std::nullopt;
  }
  return time;
}

int month_of(std::string_view token) noexcept {
  static constexpr std::array<std::string_view, 12> months = {
      "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
  for (std::size_t i = 0; i < months.size(); ++i)
    if (starts_with_ignoring_case(token, months[i])) return static_cast<int>(i) + 1;
  return -1;
}

// The parts of a date. Each part is the first token that fits.
struct DateParts {
  void add(std::string_view token) noexcept {
    if (!time && (time = time_of(token))) return;
    if (std::string_view rest = token; day < 0 && (day = take_number(rest, 1, 2)) >= 0) return;
    if (month < 0 && (month = month_of(token)) >= 0) return;
    if (year < 0) year = take_number(token, 2, 4);
  }

  std::optional<Time> time;
  int day = -1, month = -1, year = -1;
};

// --- domains ------------------------------------------------------------------------------------

// Whether the host is an address. As in browsers, a host whose last part is a number counts as one.
bool is_address(std::string_view host) noexcept {
  if (host.starts_with('[')) return true;
  if (host.ends_with('.')) host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);
  return !last.empty() && std::all_of(last.begin(), last.end(), is_digit);
}

#ifdef FIBER_HTTP_PSL
bool is_public_suffix(std::string_view domain) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  return psl_is_public_suffix(psl_builtin(), std::string(domain).c_str()) != 0;
}
std::size_t size_of_site(std::string_view host) {
  const std::string name(host);
  const char* site = psl_registrable_domain(psl_builtin(), name.c_str());
  return site ? name.size() - static_cast<std::size_t>(site - name.c_str()) : name.size();
}
#else
bool is_public_suffix(std::string_view domain) {
  return domain.find('.') >= domain.size() - domain.ends_with('.');
}
std::size_t size_of_site(std::string_view host) {
  const auto last = host.rfind('.');
  if (last == host.npos || last == 0) return host.size();
  const auto before = host.rfind('.', last - 1);
  return before == host.npos ? host.size() : host.size() - before - 1;
}
#endif

// --- attributes ---------------------------------------------------------------------------------

struct Attributes {
  std::optional<std::int64_t> expires, max_age;
  std::string_view domain, path, same_site;
  bool secure = false, http_only = false;
};

std::int64_t max_age_of(std::string_view digits, std::int64_t now) noexcept {
  std::int64_t seconds = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  constexpr auto latest = std::numeric_limits<std::int64_t>::max();
  if (read.ec != std::errc()) seconds = digits.starts_with('-') ? 0 : latest;
  if (seconds <= 0) return std::numeric_limits<std::int64_t>::min();
  return seconds > latest - now ? latest : now + seconds;
}

void add_attribute(Attributes& all, std::string_view name, std::string_view value,
                   std::int64_t now) {
  if (value.size() > most_bytes_of_attribute) return;
  if (equal_ignoring_case(name, "Expires")) {
    if (const auto date = parse_cookie_date(value)) all.expires = date;
  } else if (equal_ignoring_case(name, "Max-Age")) {
    const std::string_view digits = value.substr(value.starts_with('-') ? 1 : 0);
    if (!digits.empty() && std::all_of(digits.begin(), digits.end(), is_digit))
      all.max_age = max_age_of(value, now);
  } else if (equal_ignoring_case(name, "Domain")) {
    all.domain = value.substr(value.starts_with('.') ? 1 : 0);
  } else if (equal_ignoring_case(name, "Path")) {
    all.path = value;
  } else if (equal_ignoring_case(name, "Secure")) {
    all.secure = true;
  } else if (equal_ignoring_case(name, "HttpOnly")) {
    all.http_only = true;
  } else if (equal_ignoring_case(name, "SameSite")) {
    all.same_site = {};
    for (const std::string_view known : {"Strict", "Lax", "None"})
      if (equal_ignoring_case(value, known)) all.same_site = known;
  }
}

// Returns the name and the value of the text between two semicolons.
std::pair<std::string_view, std::string_view> split_pair(std::string_view text) noexcept {
  const auto equals = text.find('=');
  if (equals == text.npos) return {strip(text), {}};
  return {strip(text.substr(0, equals)), strip(text.substr(equals + 1))};
}

// Returns false if the domain does not contain the answer's host, or has several owners.
bool set_domain(Cookie& cookie, std::string_view wanted, const CookiePlace& from) {
  cookie.domain = from.host;
  cookie.host_only = true;
  if (wanted.empty()) return true;
  const std::string domain = lower(wanted);
  if (domain == from.host && (is_address(domain) || is_public_suffix(domain))) return true;
  if (is_public_suffix(domain) || !domain_matches(from.host, domain)) return false;
  cookie.domain = domain;
  cookie.host_only = false;
  return true;
}

bool keeps_promise_of_name(const Cookie& cookie, std::string_view path_attribute) {
  if (starts_with_ignoring_case(cookie.name, "__Secure-")) return cookie.secure;
  if (starts_with_ignoring_case(cookie.name, "__Host-"))
    return cookie.secure && cookie.host_only && path_attribute == "/";
  return true;
}

}  // namespace

std::optional<std::int64_t> parse_cookie_date(std::string_view text) {
  DateParts parts;
  while (!text.empty()) {
    const auto size = static_cast<std::size_t>(
        std::find_if(text.begin(), text.end(), is_delimiter) - text.begin());
    if (size > 0) parts.add(text.substr(0, size));
    text.remove_prefix(std::min(size + 1, text.size()));
  }
  if (!parts.time || parts.day < 0 || parts.month < 0 || parts.year < 0) return std::nullopt;
  if (parts.year >= 70 && parts.year <= 99) parts.year += 1900;
  if (parts.year <= 69) parts.year += 2000;
  const std::chrono::year_month_day date(std::chrono::year(parts.year),
                                         std::chrono::month(static_cast<unsigned>(parts.month)),
                                         std::chrono::day(static_cast<unsigned>(parts.day)));
  const auto [hours, minutes, seconds] = *parts.time;
  if (parts.year < 1601 || !date.ok() || hours > 23 || minutes > 59 || seconds > 59)
    return std::nullopt;
  const std::chrono::sys_seconds moment = std::chrono::sys_days(date) + std::chrono::hours(hours) +
                                          std::chrono::minutes(minutes) +
                                          std::chrono::seconds(seconds);
  return moment.time_since_epoch().count();
}

CookiePlace cookie_place(const std::string& url) {
  const UrlParts parts = split_url(url);
  return {lower(parts.host), parts.path.empty() ? "/" : std::string(parts.path),
          equal_ignoring_case(parts.scheme, "https")};
}

std::string default_cookie_path(std::string_view path) {
  const auto slash = path.rfind('/');
  if (!path.starts_with('/') || slash == 0) return "/";
  return std::string(path.substr(0, slash));
}

bool domain_matches(std::string_view host, std::string_view domain) {
  if (host == domain) return true;
  return host.size() > domain.size() && host.ends_with(domain) &&
         host[host.size() - domain.size() - 1] == '.' && !is_address(host);
}

bool path_matches(std::string_view path, std::string_view of_cookie) {
  return path.starts_with(of_cookie) && (path.size() == of_cookie.size() ||
                                         of_cookie.ends_with('/') || path[of_cookie.size()] == '/');
}

bool is_sent_to(const Cookie& cookie, const CookiePlace& to) {
  const bool is_for_host =
      cookie.domain.empty() ||
      (cookie.host_only ? to.host == cookie.domain : domain_matches(to.host, cookie.domain));
  return is_for_host && path_matches(to.path, cookie.path) && (to.secure || !cookie.secure);
}

std::string_view site_of(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return is_address(host) ? host : host.substr(host.size() - size_of_site(host));
}

std::optional<Cookie> parse_set_cookie(std::string_view field, const CookiePlace& from,
                                       std::int64_t now) {
  if (std::any_of(field.begin(), field.end(), is_control)) return std::nullopt;
  auto end = std::min(field.find(';'), field.size());
  if (field.substr(0, end).find('=') == field.npos) return std::nullopt;
  const auto [name, value] = split_pair(field.substr(0, end));
  if (name.empty() || name.size() + value.size() > most_bytes) return std::nullopt;
  Attributes attributes;
  while (end < field.size()) {
    field.remove_prefix(end + 1);
    end = std::min(field.find(';'), field.size());
    const auto [its_name, its_value] = split_pair(field.substr(0, end));
    add_attribute(attributes, its_name, its_value, now);
  }

  Cookie cookie{.name = std::string(name), .value = std::string(value)};
  cookie.secure = attributes.secure;
  cookie.http_only = attributes.http_only;
  cookie.same_site = attributes.same_site;
  cookie.path = attributes.path.starts_with('/') ? std::string(attributes.path)
                                                 : default_cookie_path(from.path);
  const auto& expires = attributes.max_age ? attributes.max_age : attributes.expires;
  if (expires) cookie.expires = *expires == 0 ? -1 : *expires;
  // A tab would end the field in a file of cookies.
  const bool has_tab = (cookie.name + cookie.value + cookie.path).find('\t') != std::string::npos;
  if (has_tab || (cookie.secure && !from.secure)) return std::nullopt;
  if (!set_domain(cookie, attributes.domain, from)) return std::nullopt;
  if (!keeps_promise_of_name(cookie, attributes.path)) return std::nullopt;
  return cookie;
}

void check_cookie(const std::string& name, const std::string& value) {
  const auto fits = [](const std::string& text, std::string_view without) {
    return std::none_of(text.begin(), text.end(), [&](unsigned char c) {
      return c < ' ' || c == 127 || without.find(static_cast<char>(c)) != without.npos;
    });
  };
  if (name.empty() || !fits(name, "=; ,\"")) throw ValueError("Illegal key '" + name + "'");
  if (!fits(value, ";")) throw ValueError("Illegal value of the cookie '" + name + "'");
}

std::string netscape_line(const Cookie& cookie) {
  std::string line(cookie.http_only ? http_only_mark : "");
  if (!cookie.host_only && !cookie.domain.empty()) line += '.';
  // The flag says whether the domain begins with a dot: http.cookiejar refuses any other.
  const bool dotted = !cookie.host_only && !cookie.domain.empty();
  line += cookie.domain + (dotted ? "\tTRUE\t" : "\tFALSE\t") + cookie.path;
  return line + (cookie.secure ? "\tTRUE\t" : "\tFALSE\t") + std::to_string(cookie.expires) + "\t" +
         cookie.name + "\t" + cookie.value;
}

std::optional<Cookie> parse_netscape_line(std::string_view line) {
  Cookie cookie;
  if (line.starts_with(http_only_mark)) {
    cookie.http_only = true;
    line.remove_prefix(http_only_mark.size());
  }
  std::array<std::string_view, 7> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto tab = line.find('\t');
    if ((tab == line.npos) != (i == 6)) return std::nullopt;
    fields[i] = line.substr(0, tab);
    line.remove_prefix(tab == line.npos ? line.size() : tab + 1);
  }
  for (const std::string_view field : fields)
    if (std::any_of(field.begin(), field.end(), is_control)) return std::nullopt;
  const auto is_flag = [](std::string_view field) { return field == "TRUE" || field == "FALSE"; };
  if (fields[4].empty()) fields[4] = "0";  // as http.cookiejar writes the end of a session
  const auto number =
      std::from_chars(fields[4].data(), fields[4].data() + fields[4].size(), cookie.expires);
  if (!is_flag(fields[1]) || !is_flag(fields[3]) || fields[5].empty() || number.ec != std::errc() ||
      number.ptr != fields[4].data() + fields[4].size())
    return std::nullopt;
  while (fields[0].starts_with('.')) fields[0].remove_prefix(1);
  cookie.domain = lower(fields[0]);
  cookie.host_only = fields[1] == "FALSE" && !cookie.domain.empty();
  cookie.path = fields[2].starts_with('/') ? fields[2] : "/";
  cookie.secure = fields[3] == "TRUE";
  cookie.name = fields[5];
  cookie.value = fields[6];
  return cookie;
}

}  // namespace fiber::http
