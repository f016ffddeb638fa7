#include <fiber/http/url.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#ifdef FIBER_HTTP_IDN
#include <idn2.h>
#endif

namespace fiber::http {
namespace {

using Kind = Failure::Kind;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 128; });
}

[[noreturn]] void refuse(std::string_view text) {
  throw Failure{Kind::invalid_url, "Failed to parse: " + std::string(text)};
}

bool is_http(std::string_view scheme) noexcept {
  return equal_ignoring_case(scheme, "http") || equal_ignoring_case(scheme, "https");
}

// --- quoting ------------------------------------------------------------------------------------

// The characters that each part may have besides unreserved ones (RFC 3986, appendix A).
constexpr CharSet userinfo_characters("!$&'()*+,;=:");
constexpr CharSet path_characters("!$&'()*+,;=:@/");
constexpr CharSet query_characters("!$&'()*+,;=:@/?");

// Quotes the characters that are not allowed, and unquotes unreserved ones. In a text with a
// percent sign that begins no escape, every percent sign is quoted, too.
// Python: urllib3's _encode_invalid_chars(), then requests.utils.unquote_unreserved().
void append_requoted(std::string& out, std::string_view text, const CharSet& allowed) {
  bool quoted = true;
  for (auto at = text.find('%'); quoted && at != text.npos; at = text.find('%', at + 1))
    quoted = percent_byte(text, at) >= 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    const bool escape = c == '%' && quoted;
    if (escape) {
      c = static_cast<char>(percent_byte(text, i));
      i += 2;
    } else if (c == '%' && percent_byte(text, i) >= 0) {
      out += "%25" + upper(text.substr(i + 1, 2));
      i += 2;
      continue;
    }
    if (is_unreserved(c) || (!escape && allowed.has(c)))
      out += c;
    else
      append_percent(out, static_cast<unsigned char>(c));
  }
}

// Removes dot segments from a path that begins with a slash (RFC 3986, 5.2.4).
std::string without_dot_segments(std::string_view path) {
  std::vector<std::string_view> segments;
  for (std::size_t begin = 1; begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    const bool up = segment == "..";
    if (up && !segments.empty()) segments.pop_back();
    if (!up && segment != ".")
      segments.push_back(segment);
    else if (end == path.size())
      segments.emplace_back();  // a dot segment at the end leads to a directory
    begin = end + 1;
  }
  std::string out;
  for (const std::string_view segment : segments) (out += '/') += segment;
  return out.empty() ? "/" : out;
}

// --- hosts --------------------------------------------------------------------------------------

#ifdef FIBER_HTTP_IDN
std::string to_ascii(const std::string& host, std::string_view whole) {
  char* ascii = nullptr;
  int code = idn2_to_ascii_8z(host.c_str(), &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (code == IDN2_MALLOC) throw std::bad_alloc();
  if (code != IDN2_OK)
    throw Failure{Kind::invalid_url, "URL has an invalid label: " + std::string(whole)};
  const std::unique_ptr<char, decltype(&idn2_free)> owner(ascii,
                                                          [](void* text) { idn2_free(text); });
  return ascii;
}
#else
std::string to_ascii(const std::string&, std::string_view whole) {
  throw Failure{Kind::invalid_url,
                "URL has an invalid label (this library was built without libidn2, which converts "
                "host names to ASCII): " +
                    std::string(whole)};
}
#endif

// Reads one number of an address as inet_aton() and browsers do: "10", "012", "0xa".
std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.starts_with('0')) {
    base = 8;
  }
  if (text.size() > 16) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : text) {
    const int digit = hex_value(c);
    if (digit < 0 || digit >= base) return std::nullopt;
    number = number * static_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(digit);
  }
  return number;
}

// Returns "127.0.0.1" for "127.1", "0x7f.1", "2130706433", which the system's resolver accepts,
// too: one machine gets one name. Returns nothing for any other host.
std::optional<std::string> address_of(std::string_view host) {
  if (host.empty() || !is_digit(host.front())) return std::nullopt;
  if (host.ends_with('.')) host.remove_suffix(1);
  std::array<std::uint64_t, 4> numbers{};
  std::size_t count = 0;
  for (bool more = true; more; ++count) {
    const auto dot = host.find('.');
    const std::string_view part = host.substr(0, dot);
    const auto number = number_of(part);
    if (part.empty() || count == numbers.size() || !number) return std::nullopt;
    numbers[count] = *number;
    more = dot != host.npos;
    if (more) host.remove_prefix(dot + 1);
  }
  std::uint64_t address = numbers[count - 1];
  if (address >= std::uint64_t{1} << 8 * (5 - count)) return std::nullopt;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (numbers[i] > 255) return std::nullopt;
    address |= numbers[i] << 8 * (3 - i);
  }
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text.append(text.empty() ? "" : ".").append(std::to_string(address >> shift & 255));
  return text;
}

// Returns "[fe80::1%25eth0]" for the text between brackets.
std::string bracketed_address(std::string_view text, std::string_view whole) {
  const auto percent = text.find('%');
  in6_addr address{};
  char normal[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, std::string(text.substr(0, percent)).c_str(), &address) != 1 ||
      !inet_ntop(AF_INET6, &address, normal, sizeof normal))
    refuse(whole);
  if (percent == text.npos) return "[" + std::string(normal) + "]";
  std::string_view zone = text.substr(percent + 1);
  if (zone.starts_with("25") && zone.size() > 2) zone.remove_prefix(2);
  const auto may_stand = [](char c) { return is_unreserved(c) || c == '%'; };
  if (zone.empty() || !std::all_of(zone.begin(), zone.end(), may_stand)) refuse(whole);
  std::string host = "[" + std::string(normal) + "%25";
  append_requoted(host, zone, CharSet(""));
  return host += ']';
}

bool is_forbidden_in_host(unsigned char c) noexcept {
  static constexpr CharSet delimiters("#%/:<>?@[\\]^|");
  return c <= ' ' || c == 127 || delimiters.has(static_cast<char>(c));
}

[[noreturn]] void refuse_no_host(std::string_view text) {
  throw Failure{Kind::invalid_url, "Invalid URL '" + std::string(text) + "': No host supplied"};
}

std::string host_of(std::string_view text, std::string_view whole) {
  if (text.starts_with('[')) return bracketed_address(text.substr(1, text.size() - 2), whole);
  for (auto at = text.find('%'); at != text.npos; at = text.find('%', at + 1))
    if (percent_byte(text, at) <= 0) refuse(whole);
  std::string host = unquote_to_bytes(text);
  // The mapping may turn letters into forbidden characters of ASCII: the check comes afterwards.
  host = lower(is_ascii(host) ? host : to_ascii(host, whole));
  if (std::any_of(host.begin(), host.end(), is_forbidden_in_host)) refuse(whole);
  // The mapping drops characters such as a soft hyphen: resolvers take "" for this machine.
  if (host.empty()) refuse_no_host(whole);
  if (host.starts_with('*') || host.starts_with('.'))
    throw Failure{Kind::invalid_url, "URL has an invalid label."};
  if (auto address = address_of(host)) return *std::move(address);
  if (host.find("..") != host.npos)
    throw Failure{Kind::invalid_url, "Failed to parse: '" + host + "', label empty or too long"};
  return host;
}

// Returns the port without leading zeros: "8080" for "08080".
std::string_view port_of(std::string_view text, std::string_view whole) {
  if (!std::all_of(text.begin(), text.end(), is_digit)) refuse(whole);
  while (text.size() > 1 && text.starts_with('0')) text.remove_prefix(1);
  if (text.size() > 5 || (text.size() == 5 && text > "65535")) refuse(whole);
  return text;
}

// --- parts --------------------------------------------------------------------------------------

bool is_scheme(std::string_view text) noexcept {
  const auto is_letter = [](char c) { return lower(c) >= 'a' && lower(c) <= 'z'; };
  return !text.empty() && is_letter(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
}

// RFC 3986, appendix B, but a backslash ends the authority: for browsers and urllib3 "http://a\@b/"
// is a page of `a`, and a connection to `b` would defeat their checks.
struct Parts {
  explicit Parts(std::string_view text) {
    const auto colon = text.find(':');
    if (colon != text.npos && is_scheme(text.substr(0, colon))) {
      scheme = text.substr(0, colon);
      text.remove_prefix(colon + 1);
    }
    if (text.starts_with("//")) {
      text.remove_prefix(2);
      static constexpr CharSet delimiters("/\\?#");
      authority = text.substr(0, delimiters.find_in(text));
      text.remove_prefix(authority.size());
    }
    static constexpr CharSet ends("?#");
    path = text.substr(0, ends.find_in(text));
    text.remove_prefix(path.size());
    query = text.substr(0, text.find('#'));
    fragment = text.substr(query.size());
    if (!query.empty()) query.remove_prefix(1);
    if (!fragment.empty()) fragment.remove_prefix(1);
  }
  std::string_view scheme, authority, path, query, fragment;  // without their delimiters
};

struct Authority {
  explicit Authority(std::string_view text) {
    if (const auto at = text.rfind('@'); at != text.npos) {
      userinfo = text.substr(0, at);
      text.remove_prefix(at + 1);
    }
    const auto bracket = text.starts_with('[') ? text.find(']') : 0;
    const auto end = bracket == text.npos ? text.npos : text.find(':', bracket);
    host = text.substr(0, end);
    if (end != text.npos) port = text.substr(end + 1);
  }
  std::string_view userinfo, host, port;
};

// Returns the URL of these parts. `text`: the whole URL, for messages.
std::string assemble(const Parts& parts, const Params& params, std::string_view text) {
  const Authority authority(parts.authority);
  if (authority.host.starts_with('[') && !authority.host.ends_with(']')) refuse(text);
  std::string url = lower(parts.scheme);
  url.reserve(text.size() + 16);
  url += "://";
  if (!authority.userinfo.empty()) {
    append_requoted(url, authority.userinfo, userinfo_characters);
    url += '@';
  }
  const std::string_view port = port_of(authority.port, text);
  if (authority.host.empty()) refuse_no_host(text);
  url += host_of(authority.host, text);
  if (!port.empty()) (url += ':') += port;

  const std::size_t path = url.size();
  if (!parts.path.starts_with('/')) url += '/';
  append_requoted(url, parts.path, path_characters);
  if (url.find("/.", path) != url.npos) {
    const std::string straight = without_dot_segments(std::string_view(url).substr(path));
    url.replace(path, url.npos, straight);
  }
  const std::size_t query = url.size();
  if (!parts.query.empty()) append_requoted(url += '?', parts.query, query_characters);
  if (!params.empty()) (url += query == url.size() ? '?' : '&') += urlencode(params);
  if (url.size() == query + 1) url.pop_back();  // no `?` before an empty query
  if (!parts.fragment.empty()) append_requoted(url += '#', parts.fragment, query_characters);
  return url;
}

// --- URLs that stay as they are -----------------------------------------------------------------

bool is_normal_port(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 5 && (text.size() < 5 || text <= "65535") &&
         text.front() != '0' && std::all_of(text.begin(), text.end(), is_digit);
}

// Whether assemble() would leave the host alone. A digit in front may begin an address.
bool is_normal_host(std::string_view text) noexcept {
  static constexpr CharSet characters("abcdefghijklmnopqrstuvwxyz0123456789-.");
  if (text.empty() || text.front() == '.' || text.find("..") != text.npos ||
      !std::all_of(text.begin(), text.end(), [](char c) { return characters.has(c); }))
    return false;
  if (!is_digit(text.front())) return true;
  char address[INET_ADDRSTRLEN] = {};
  in_addr parsed;
  return text.copy(address, sizeof address) < sizeof address &&
         inet_pton(AF_INET, address, &parsed) == 1;
}

// Whether prepare_url() would return the URL as it is: true for most URLs of programs, which saves
// a tenth of the time of a request.
bool is_normal(std::string_view url) noexcept {
  if (!url.starts_with("http")) return false;
  url.remove_prefix(url.starts_with("https") ? 5 : 4);
  if (!url.starts_with("://")) return false;
  url.remove_prefix(3);
  const std::string_view authority = url.substr(0, url.find('/'));
  url.remove_prefix(authority.size());
  const auto colon = authority.find(':');
  if (!is_normal_host(authority.substr(0, colon)) ||
      (colon != authority.npos && !is_normal_port(authority.substr(colon + 1))))
    return false;
  bool in_query = false;
  for (std::size_t i = 0; i < url.size(); ++i) {
    const char c = url[i];
    if (c == '?' && !in_query && i + 1 < url.size()) {
      in_query = true;
      continue;
    }
    const bool starts_dots = c == '.' && !in_query && url[i - 1] == '/';
    if (starts_dots ||
        (!is_unreserved(c) && !(in_query ? query_characters : path_characters).has(c)))
      return false;
  }
  return !url.empty();
}

}  // namespace

std::string urlencode(const Params& params) {
  std::string out;
  const auto append = [&out](std::string_view text) {
    for (const char c : text) {
      if (is_unreserved(c))
        out += c;
      else if (c == ' ')
        out += '+';
      else
        append_percent(out, static_cast<unsigned char>(c));
    }
  };
  for (const auto& [name, value] : params) {
    if (!out.empty()) out += '&';
    append(name);
    out += '=';
    append(value);
  }
  return out;
}

std::string prepare_url(std::string_view given, const Params& params) {
  if (params.empty() && is_normal(given)) return std::string(given);
  const auto first = given.find_first_not_of(" \t\n\r\v\f");
  const std::string text(given.substr(std::min(first, given.size())));
  if (text.find('\0') != text.npos) refuse(text);
  const auto colon = text.find(':');
  if (colon == text.npos)
    throw Failure{
        Kind::missing_schema,
        "Invalid URL '" + text + "': No scheme supplied. Perhaps you meant https://" + text + "?"};
  if (!is_http(std::string_view(text).substr(0, colon)))
    throw Failure{Kind::invalid_schema, "No connection adapters were found for '" + text + "'"};
  return assemble(Parts(text), params, text);
}

std::string resolve_url(const std::string& base, std::string_view location) {
  const Parts from(base);
  Parts to(location);
  if (location.find('\0') != location.npos) refuse(location);
  const bool has_scheme = !to.scheme.empty();
  if (has_scheme && !is_http(to.scheme))
    throw Failure{Kind::invalid_schema,
                  "No connection adapters were found for '" + std::string(location) + "'"};
  const bool same_scheme = !has_scheme || equal_ignoring_case(to.scheme, from.scheme);
  if (to.authority.empty() && !same_scheme) refuse_no_host(location);
  if (to.fragment.empty()) to.fragment = from.fragment;
  if (!has_scheme) to.scheme = from.scheme;

  std::string merged;
  if (to.authority.empty()) {
    to.authority = from.authority;
    // A path beside a scheme begins at the root, as in requests.
    if (to.path.empty() && !has_scheme) {
      to.path = from.path;
      if (to.query.empty()) to.query = from.query;
    } else if (!to.path.starts_with('/') && !has_scheme) {
      merged = std::string(from.path.substr(0, from.path.rfind('/') + 1)).append(to.path);
      to.path = merged;
    }
  }
  return assemble(to, {}, location);
}

UrlParts split_url(std::string_view url) {
  const Parts parts(url);
  const Authority authority(parts.authority);
  UrlParts result{.scheme = parts.scheme,
                  .userinfo = authority.userinfo,
                  .host = authority.host,
                  .port = parts.scheme == "https" ? 443 : 80,
                  .target = url.substr(0, url.find('#')),
                  .path = parts.path};
  result.target.remove_prefix(static_cast<std::size_t>(parts.path.data() - url.data()));
  if (!authority.port.empty() && authority.port.size() <= 5) {
    result.port = 0;
    for (const char digit : authority.port) result.port = result.port * 10 + (digit - '0');
  }
  return result;
}

std::optional<BasicAuth> take_credentials(std::string& url) {
  if (url.find('@') == url.npos) return std::nullopt;
  const Parts parts(url);
  const auto at = parts.authority.rfind('@');
  if (at == parts.authority.npos) return std::nullopt;
  const std::string_view user_info = parts.authority.substr(0, at);
  const auto colon = user_info.find(':');
  BasicAuth auth{unquote_to_bytes(user_info.substr(0, colon)), {}};
  if (colon != user_info.npos) auth.password = unquote_to_bytes(user_info.substr(colon + 1));
  url.erase(static_cast<std::size_t>(parts.authority.data() - url.data()), at + 1);
  if (auth.username.empty() && auth.password.empty()) return std::nullopt;
  return auth;
}

bool same_origin(const std::string& from, const std::string& to) {
  const UrlParts a = split_url(from), b = split_url(to);
  if (a.host.empty() || a.host != b.host) return false;
  if (a.scheme == b.scheme) return a.port == b.port;
  return a.scheme == "http" && b.scheme == "https" && a.port == 80 && b.port == 443;
}

std::string origin_of(const std::string& url) {
  const UrlParts parts = split_url(url);
  return std::string(parts.host) + ":" + std::to_string(parts.port);
}

}  // namespace fiber::http
