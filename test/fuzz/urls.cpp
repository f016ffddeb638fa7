// A URL, and on the next lines targets of redirects, and proxies.
#include <fiber/http/failure.hpp>
#include <fiber/http/route.hpp>
#include <fiber/http/url.hpp>

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

void check(const std::string& url) {
  fuzz::require(std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < '\x7f'; }),
                "a character that is in no URL");
  fuzz::require_same(url, http::prepare_url(url, {}), "a URL changes when it is made ready again");
  // With a blank in front the URL is taken apart, also if it would stay as it is.
  fuzz::require_same(url, http::prepare_url(" " + url, {}), "the short way leads elsewhere");
  const http::UrlParts parts = http::split_url(url);
  fuzz::require(parts.scheme == "http" || parts.scheme == "https", "another scheme");
  fuzz::require(!parts.host.empty() && parts.target.starts_with('/'), "no host or no path");
  fuzz::require(parts.port >= 0 && parts.port < 65536, "a port that there is not");
  fuzz::require(parts.host.find_first_of("/\\?#@ ") == parts.host.npos, "a strange host");
  fuzz::require(http::same_origin(url, url), "not of its own origin");
  std::string plain = url;
  http::take_credentials(plain);
  fuzz::require(http::origin_of(plain) == http::origin_of(url), "credentials are of the origin");
  const http::Route route = http::route_of({.url = url}, parts);
  fuzz::require(fuzz::is_one_line(route.origin) && fuzz::is_one_line(route.host),
                "a line break in Host");
}

void urls(std::string_view data) {
  std::string base = "http://example.com/a/b?c";
  for (const std::string_view line : fuzz::lines_of(data)) {
    try {
      check(http::prepare_url(line, {}));
    } catch (const http::Failure&) {
    }
    try {
      const http::Route route = http::route_of(
          {.url = base, .proxies = {{"all", std::string(line)}}}, http::split_url(base));
      fuzz::require(fuzz::is_one_line(http::proxy_authorization(route)), "a line break");
    } catch (const http::Failure&) {
    }
    try {
      std::string led = http::resolve_url(base, line);
      check(led);
      base = std::move(led);
    } catch (const http::Failure&) {
    }
  }
}

}  // namespace

FUZZ_TARGET(urls)
