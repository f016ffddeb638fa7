// Lines that are fields Set-Cookie, one after the other; and lines of cookies.txt.
#include <fiber/http/cookies.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

constexpr const char* urls[] = {"https://www.example.com/a/b", "http://example.com/",
                                "http://127.0.0.1/", "http://[::1]/", "http://a.co.uk/x"};

std::int64_t now() { return 1'700'000'000; }

void cookies(std::string_view data) {
  for (const char* url : urls) {
    http::CookieStore store(true, &now);
    const http::CookiePlace place = http::cookie_place(url);
    std::vector<std::string> fields;
    for (const std::string_view line : fuzz::lines_of(data)) {
      http::parse_cookie_date(line);
      if (const auto read = http::parse_netscape_line(line)) {
        const auto again = http::parse_netscape_line(http::netscape_line(*read));
        fuzz::require(again && again->name == read->name && again->value == read->value &&
                          again->domain == read->domain && again->expires == read->expires,
                      "a cookie changes when it is saved");
      }
      if (const auto cookie = http::parse_set_cookie(line, place, now())) {
        fuzz::require(!cookie->name.empty(), "a cookie without a name");
        fuzz::require(http::domain_matches(place.host, cookie->domain), "a cookie of others");
        fuzz::require(place.secure || !cookie->secure, "Secure, and without TLS");
        const auto again = http::parse_netscape_line(http::netscape_line(*cookie));
        fuzz::require(again && again->name == cookie->name && again->value == cookie->value,
                      "a cookie is lost when it is saved");
      }
      fields.emplace_back(line);
    }
    store.set(url, fields);
    for (const char* to : urls)
      fuzz::require(fuzz::is_one_line(store.header(to)), "a line break in Cookie");
    fuzz::require(store.all().size() <= http::CookieStore::most_of_site, "too many cookies");
  }
}

}  // namespace

FUZZ_TARGET(cookies)
