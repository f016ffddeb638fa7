#include <fiber/http/url.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include <curl/curl.h>
#ifdef FIBER_HTTP_IDN
#include <idn2.h>
#endif

namespace fiber::http {
namespace {

using Kind = Failure::Kind;

struct Free {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
  void operator()(char* text) const noexcept { curl_free(text); }
};
using Url = std::unique_ptr<CURLU, Free>;

Url new_url() {
  Url url(curl_url());
  if (!url) throw std::bad_alloc();
  return url;
}

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  const CURLUcode code = curl_url_get(url, which, &text, flags);
  if (code == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLUE_OK) return {};
  return std::unique_ptr<char, Free>(text).get();
}

bool is_unreserved(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != 0 && std::strchr("_.-~", c));
}

void append_percent(std::string& out, unsigned char c) {
  static constexpr char hex[] = "0123456789ABCDEF";
  (out += '%').append({hex[c >> 4], hex[c & 15]});
}

void append_quoted(std::string& out, std::string_view text) {
  for (const unsigned char c : text) {
    if (is_unreserved(c))
      out += static_cast<char>(c);
    else if (c == ' ')
      out += '+';
    else
      append_percent(out, c);
  }
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that "%41" at `at` stands for, -1 if nothing of that form is there.
int quoted_byte(std::string_view text, std::size_t at) {
  if (at + 2 >= text.size() || text[at] != '%') return -1;
  const int high = hex_value(text[at + 1]), low = hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string unquote(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int byte = quoted_byte(text, i);
    out += byte < 0 ? text[i] : static_cast<char>(byte);
    if (byte >= 0) i += 2;
  }
  return out;
}

// requests.utils.requote_uri: quotes what may not stand in a URL, and no character that may. A
// text with a percent sign that quotes nothing has not been quoted yet: the sign is one more.
std::string requote(std::string_view text) {
  bool quoted = true;
  for (auto at = text.find('%'); at != text.npos; at = text.find('%', at + 1))
    quoted = quoted && quoted_byte(text, at) >= 0;
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '%' && quoted) {
      const auto byte = static_cast<unsigned char>(quoted_byte(text, i));
      if (is_unreserved(byte))
        out += static_cast<char>(byte);
      else
        out += text.substr(i, 3);
      i += 2;
    } else if (is_unreserved(c) || (c != 0 && std::strchr("!#$&'()*+,/:;=?@[]", c))) {
      out += static_cast<char>(c);
    } else {
      append_percent(out, c);
    }
  }
  return out;
}

std::string_view strip(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first == text.npos ? std::string_view{} : text.substr(first);
}

// RFC 3986, appendix B, with a backslash that ends the authority: "http://a\@b/" is a page of `a`
// to browsers and urllib3, and must not be one of `b` to whoever connects.
struct Parts {
  explicit Parts(std::string_view text) {
    const auto colon = text.find_first_of(":/\\?#");
    if (colon != text.npos && text[colon] == ':') {
      scheme = text.substr(0, colon);
      text.remove_prefix(colon + 1);
    }
    if (text.starts_with("//")) {
      text.remove_prefix(2);
      authority = text.substr(0, text.find_first_of("/\\?#"));
      text.remove_prefix(authority.size());
    }
    path = text.substr(0, text.find_first_of("?#"));
    text.remove_prefix(path.size());
    query = text.substr(0, text.find('#'));
    fragment = text.substr(query.size());
  }
  std::string_view scheme, authority, path;
  std::string_view query, fragment;  // with their marks
};

[[noreturn]] void refuse(std::string_view text) {
  throw Failure{Kind::invalid_url, "Failed to parse: " + std::string(text)};
}

#ifdef FIBER_HTTP_IDN
// libcurl converts host names from the charset of the locale; here they are UTF-8 always.
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

// A URL of these parts, in curl's spelling. `text` is the whole for the messages.
std::string assemble(const Parts& parts, const Params& params, std::string_view text) {
  const auto at = parts.authority.rfind('@');
  const std::string_view host =
      at == parts.authority.npos ? parts.authority : parts.authority.substr(at + 1);
  std::string whole(parts.scheme);
  whole += "://";
  if (at != parts.authority.npos) whole += requote(parts.authority.substr(0, at)) + "@";
  whole += host;
  if (!parts.path.starts_with('/')) whole += '/';
  whole += requote(parts.path);
  whole += requote(parts.query);
  if (!params.empty()) {
    if (parts.query.empty())
      whole += '?';
    else if (parts.query.size() > 1)
      whole += '&';
    whole += urlencode(params);
  }
  whole += requote(parts.fragment);

  const Url url = new_url();
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, whole.c_str(), 0);
  if (code == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLUE_OK) refuse(text);
  const std::string name = part(url.get(), CURLUPART_HOST);
  if (name.empty()) refuse(text);
  const bool ascii = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c < 128; });
  if (!ascii && curl_url_set(url.get(), CURLUPART_HOST, to_ascii(name, text).c_str(), 0))
    refuse(text);
  return part(url.get(), CURLUPART_URL);
}

bool is_http(std::string_view scheme) {
  return equal_ignoring_case(scheme, "http") || equal_ignoring_case(scheme, "https");
}

}  // namespace

std::string urlencode(const Params& params) {
  std::string out;
  for (const auto& [name, value] : params) {
    if (!out.empty()) out += '&';
    append_quoted(out, name);
    out += '=';
    append_quoted(out, value);
  }
  return out;
}

std::string prepare_url(std::string_view given, const Params& params) {
  const std::string text(strip(given));
  if (text.find('\0') != text.npos) refuse(text);
  const auto colon = text.find(':');
  if (colon == text.npos)
    throw Failure{
        Kind::missing_schema,
        "Invalid URL '" + text + "': No scheme supplied. Perhaps you meant https://" + text + "?"};
  if (!is_http(std::string_view(text).substr(0, colon)))
    throw Failure{Kind::invalid_schema, "No connection adapters were found for '" + text + "'"};
  const Parts parts(text);
  if (parts.authority.empty())
    throw Failure{Kind::invalid_url, "Invalid URL '" + text + "': No host supplied"};
  return assemble(parts, params, text);
}

std::string resolve_url(const std::string& base, std::string_view location) {
  const Parts from(base);
  Parts to(location);
  if (location.find('\0') != location.npos) refuse(location);
  if (!to.scheme.empty() && !is_http(to.scheme))
    throw Failure{Kind::invalid_schema,
                  "No connection adapters were found for '" + std::string(location) + "'"};
  const bool same_scheme = to.scheme.empty() || equal_ignoring_case(to.scheme, from.scheme);
  if (to.authority.empty() && !same_scheme)
    throw Failure{Kind::invalid_url,
                  "Invalid URL '" + std::string(location) + "': No host supplied"};
  if (to.fragment.empty()) to.fragment = from.fragment;
  if (to.scheme.empty()) to.scheme = from.scheme;

  std::string merged;
  if (to.authority.empty()) {
    to.authority = from.authority;
    if (to.path.empty()) {
      to.path = from.path;
      if (to.query.empty()) to.query = from.query;
    } else if (!to.path.starts_with('/')) {
      merged = std::string(from.path.substr(0, from.path.rfind('/') + 1)).append(to.path);
      to.path = merged;
    }
  }
  return assemble(to, {}, location);
}

std::optional<BasicAuth> take_credentials(std::string& url) {
  const Parts parts(url);
  const auto at = parts.authority.rfind('@');
  if (at == parts.authority.npos) return std::nullopt;
  const std::string_view user_info = parts.authority.substr(0, at);
  const auto colon = user_info.find(':');
  BasicAuth auth{unquote(user_info.substr(0, colon)), {}};
  if (colon != user_info.npos) auth.password = unquote(user_info.substr(colon + 1));
  url.erase(static_cast<std::size_t>(parts.authority.data() - url.data()), at + 1);
  if (auth.username.empty() && auth.password.empty()) return std::nullopt;
  return auth;
}

bool same_origin(const std::string& from, const std::string& to) {
  const auto a = new_url(), b = new_url();
  if (curl_url_set(a.get(), CURLUPART_URL, from.c_str(), 0) != CURLUE_OK ||
      curl_url_set(b.get(), CURLUPART_URL, to.c_str(), 0) != CURLUE_OK)
    return false;
  const auto both = [&](CURLUPart which, unsigned flags = 0) {
    return std::pair(part(a.get(), which, flags), part(b.get(), which, flags));
  };
  const auto [host, other_host] = both(CURLUPART_HOST);
  if (host.empty() || !equal_ignoring_case(host, other_host)) return false;
  const auto schemes = both(CURLUPART_SCHEME), ports = both(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (schemes.first == schemes.second) return ports.first == ports.second;
  return schemes == std::pair<std::string, std::string>("http", "https") &&
         ports == std::pair<std::string, std::string>("80", "443");
}

std::string origin_of(const std::string& text) {
  const Url url = new_url();
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return {};
  return part(url.get(), CURLUPART_HOST) + ":" +
         part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

}  // namespace fiber::http
