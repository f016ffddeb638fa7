#include <fiber/http/url.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <curl/curl.h>

namespace fiber::http {
namespace {

struct Free {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
  void operator()(char* text) const noexcept { curl_free(text); }
};
using Url = std::unique_ptr<CURLU, Free>;

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return {};
  return std::unique_ptr<char, Free>(text).get();
}

void append_quoted(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  for (const unsigned char c : text) {
    const bool alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (alphanumeric || (c != 0 && std::strchr("_.-~", c)))
      out += static_cast<char>(c);
    else if (c == ' ')
      out += '+';
    else
      (out += '%').append({hex[c >> 4], hex[c & 15]});
  }
}

std::string_view strip(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first == text.npos ? std::string_view{} : text.substr(first);
}

// By hand: curl_url_set() would respell the quoted characters.
std::string with_query(std::string url, const Params& params) {
  if (params.empty()) return url;
  const auto end = std::min(url.find('#'), url.size());
  const char separator = url.find('?') < end ? '&' : '?';
  return url.insert(end, separator + urlencode(params));
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

Body::Body(const Params& form)
    : bytes_(urlencode(form)), content_type_("application/x-www-form-urlencoded"), given_(true) {}

std::string prepare_url(std::string_view given, const Params& params) {
  using Kind = Failure::Kind;
  const std::string text(strip(given));
  if (text.find('\0') != text.npos) throw Failure{Kind::invalid_url, "Failed to parse: " + text};
  const auto colon = text.find(':');
  if (colon == text.npos)
    throw Failure{
        Kind::missing_schema,
        "Invalid URL '" + text + "': No scheme supplied. Perhaps you meant https://" + text + "?"};
  const std::string_view scheme = std::string_view(text).substr(0, colon);
  if (!equal_ignoring_case(scheme, "http") && !equal_ignoring_case(scheme, "https"))
    throw Failure{Kind::invalid_schema, "No connection adapters were found for '" + text + "'"};
  const auto host = text.find_first_not_of('/', colon + 1);
  if (host != colon + 3 || std::strchr("?#", text[host]))
    throw Failure{Kind::invalid_url, "Invalid URL '" + text + "': No host supplied"};

  const Url url(curl_url());
  if (!url) throw std::bad_alloc();
  if (curl_url_set(url.get(), CURLUPART_URL, with_query(text, params).c_str(), CURLU_URLENCODE))
    throw Failure{Kind::invalid_url, "Failed to parse: " + text};
  return part(url.get(), CURLUPART_URL);
}

std::string origin_of(const std::string& text) {
  const Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return {};
  return part(url.get(), CURLUPART_HOST) + ":" +
         part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

}  // namespace fiber::http
