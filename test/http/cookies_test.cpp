// Cookies, by the rules of RFC 6265bis: dates, fields, hosts, paths, limits of a store.

#include <fiber/http/cookies.hpp>
#include <fiber/http/set_cookie.hpp>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace http = fiber::http;
using namespace std::string_literals;
using http::CookieStore;
using http::parse_cookie_date;

namespace {

constexpr std::int64_t now = 1'000'000'000;
std::int64_t time_now = now;
std::int64_t test_time() { return time_now; }

http::CookiePlace place(const std::string& url) { return http::cookie_place(url); }

// Returns "name=value domain path" with marks; "-" for a cookie that is ignored.
std::string parsed(const std::string& field,
                   const std::string& url = "http://www.example.com/a/b") {
  const auto cookie = http::parse_set_cookie(field, place(url), now);
  if (!cookie) return "-";
  std::string text = cookie->name + "=" + cookie->value + " " + (cookie->host_only ? "" : ".") +
                     cookie->domain + " " + cookie->path;
  if (cookie->secure) text += " secure";
  if (cookie->http_only) text += " http_only";
  if (!cookie->same_site.empty()) text += " " + cookie->same_site;
  if (cookie->expires != 0) text += " " + std::to_string(cookie->expires - now);
  return text;
}

struct Store : CookieStore {
  Store() : CookieStore(true, &test_time) { time_now = now; }
  void set(const std::string& url, const std::string& field) { CookieStore::set(url, {field}); }
};

}  // namespace

TEST_CASE("dates of cookies are taken apart, however they are written") {
  constexpr std::int64_t moment = 784111777;  // 1994-11-06 08:49:37
  for (const char* text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994", "6 november 1994 8:49:37", "1994 nov 06 08:49:37junk",
        "08:49:37 6 Nov 1994", "Nov/6/1994;08:49:37", "6 Nov 94 08:49:37", "6th Nov 1994y 8:49:37",
        "odd 06 odd Nov 1994 5 08:49:37 09:00:00"})
    CHECK_MESSAGE(parse_cookie_date(text) == moment, std::string(text));
  for (const char* text : {"", "Sun, 06 Nov 1994", "06 Nov 08:49:37", "1994 08:49:37 Nov",
                           "06 No 1994 08:49:37", "32 Nov 1994 08:49:37", "00 Nov 1994 08:49:37",
                           "31 Nov 1994 08:49:37", "29 Feb 1999 08:49:37", "06 Nov 1600 08:49:37",
                           "06 Nov 1994 24:00:00", "06 Nov 1994 08:60:00", "06 Nov 1994 08:49:60",
                           "06 Nov 1994 08:49", "06 Nov 1994 008:49:37", "06 Nov 19941 08:49:37",
                           "06 Nov 4 08:49:37", "123 Nov 1994 08:49:37"})
    CHECK_MESSAGE(parse_cookie_date(text) == std::nullopt, std::string(text));
  CHECK(parse_cookie_date("1 Jan 1970 00:00:00") == 0);
  CHECK(parse_cookie_date("1 Jan 69 00:00:00") == 3124224000);
  CHECK(parse_cookie_date("1 Jan 70 00:00:00") == 0);
  CHECK(parse_cookie_date("29 Feb 2000 23:59:59") == 951868799);
  CHECK(parse_cookie_date("31 Dec 9999 23:59:59") == 253402300799);
}

TEST_CASE("a field is a pair and its attributes") {
  CHECK(parsed("a=b") == "a=b www.example.com /a");
  CHECK(parsed(" a \t=  b c ; Path=/x") == "a=b c www.example.com /x");
  CHECK(parsed("a=\"b;c\"") == "a=\"b www.example.com /a");
  CHECK(parsed("a==b=") == "a==b= www.example.com /a");
  CHECK(parsed("a=") == "a= www.example.com /a");
  CHECK(parsed("a=b; path=/1; PATH=/2;Path=relative") == "a=b www.example.com /a");
  CHECK(parsed("a=b; Path=/1; Path=/2") == "a=b www.example.com /2");
  CHECK(parsed("a=b; Path=") == "a=b www.example.com /a");
  CHECK(parsed("a=b; httponly=no; junk; =; ;;") == "a=b www.example.com /a http_only");
  CHECK(parsed("a=b; SameSite=strict") == "a=b www.example.com /a Strict");
  CHECK(parsed("a=b; SameSite=None; SameSite=odd") == "a=b www.example.com /a");
  CHECK(parsed("a=b; Secure", "https://e.example/") == "a=b e.example / secure");
  CHECK(parsed("a=b; Path=/" + std::string(1024, 'x')) == "a=b www.example.com /a");
}

TEST_CASE("malformed cookies are ignored") {
  for (const std::string& field :
       {""s, "junk"s, "=x"s, " = x"s, "junk; a=b"s, "a=b\0c"s, "a=b\rc"s, "a=b; Path=/\n"s,
        "a=b\x7f"s, "a=b\x01"s, "a=b\tc"s, "a=b; Path=/a\tb"s})
    CHECK_MESSAGE(parsed(field) == "-", field);
  CHECK(parsed("a=b; Secure") == "-");
  CHECK(parsed("ab=" + std::string(4094, 'x')) != "-");
  CHECK(parsed("ab=" + std::string(4095, 'x')) == "-");
}

TEST_CASE("Max-Age goes before Expires, and both may lie anywhere") {
  const std::string base = "a=b www.example.com /a";
  CHECK(parsed("a=b; Max-Age=10") == base + " 10");
  CHECK(parsed("a=b; Max-Age=10; Expires=Sun, 06 Nov 1994 08:49:37 GMT") == base + " 10");
  CHECK(parsed("a=b; Expires=Sun, 09 Sep 2001 01:46:41 GMT; Max-Age=x") == base + " 1");
  CHECK(parsed("a=b; Expires=never") == base);
  CHECK(parsed("a=b; Max-Age=1; Max-Age=") == base + " 1");
  CHECK(parsed("a=b; Max-Age=+1") == base);
  CHECK(parsed("a=b; Max-Age=-") == base);
  const auto expires = [](const std::string& attribute) {
    return http::parse_set_cookie("a=b; " + attribute, place("http://e.example/"), now)->expires;
  };
  CHECK(expires("Max-Age=0") < 0);
  CHECK(expires("Max-Age=-5") < 0);
  CHECK(expires("Max-Age=-99999999999999999999") < 0);
  CHECK(expires("Max-Age=99999999999999999999") == INT64_MAX);
  CHECK(expires("Max-Age=9223372036854775807") == INT64_MAX);
  CHECK(expires("Expires=1 Jan 1970 00:00:00") < 0);
}

TEST_CASE("a cookie is for the host of the answer, or a domain with it") {
  CHECK(parsed("a=b; Domain=example.com") == "a=b .example.com /a");
  CHECK(parsed("a=b; Domain=.EXAMPLE.com") == "a=b .example.com /a");
  CHECK(parsed("a=b; Domain=www.example.com") == "a=b .www.example.com /a");
  CHECK(parsed("a=b; Domain=") == "a=b www.example.com /a");
  CHECK(parsed("a=b; Domain=x; Domain=example.com") == "a=b .example.com /a");
  for (const char* domain : {"a.www.example.com", "ple.com", "example.org", "com", ".com", "com.",
                             "example.com.", "..com", "ex\xc3\xa4mple.com"})
    CHECK_MESSAGE(parsed("a=b; Domain="s + domain) == "-", std::string(domain));
  CHECK(parsed("a=b; Domain=localhost", "http://localhost/") == "a=b localhost /");
  CHECK(parsed("a=b; Domain=localhost", "http://a.localhost/") == "-");
  CHECK(parsed("a=b; Domain=127.0.0.1", "http://127.0.0.1:8080/") == "a=b 127.0.0.1 /");
  CHECK(parsed("a=b; Domain=0.0.1", "http://127.0.0.1/") == "-");
  CHECK(parsed("a=b", "http://[::1]:8080/") == "a=b [::1] /");
  CHECK(parsed("a=b; Domain=[::1]", "http://[::1]/") == "a=b [::1] /");
}

#ifdef FIBER_HTTP_PSL
TEST_CASE("no cookie is for the hosts of several owners") {
  CHECK(parsed("a=b; Domain=co.uk", "http://www.example.co.uk/") == "-");
  CHECK(parsed("a=b; Domain=example.co.uk", "http://www.example.co.uk/") == "a=b .example.co.uk /");
  CHECK(parsed("a=b; Domain=github.io", "http://me.github.io/") == "-");
  CHECK(parsed("a=b; Domain=github.io", "http://github.io/") == "a=b github.io /");
  CHECK(http::site_of("a.b.example.co.uk") == "example.co.uk");
  CHECK(http::site_of("co.uk") == "co.uk");
}
#endif

TEST_CASE("the site of a host") {
  CHECK(http::site_of("a.b.example.com") == "example.com");
  CHECK(http::site_of("example.com.") == "example.com");
  CHECK(http::site_of("com") == "com");
  CHECK(http::site_of("localhost") == "localhost");
  CHECK(http::site_of("127.0.0.1") == "127.0.0.1");
  CHECK(http::site_of("[::1]") == "[::1]");
  CHECK(http::site_of("") == "");
}

TEST_CASE("names that promise something keep it") {
  const std::string https = "https://www.example.com/";
  CHECK(parsed("__Secure-a=b; Secure", https) == "__Secure-a=b www.example.com / secure");
  CHECK(parsed("__Secure-a=b", https) == "-");
  CHECK(parsed("__SECURE-a=b", https) == "-");
  CHECK(parsed("__Secure-a=b; Secure") == "-");
  CHECK(parsed("__Host-a=b; Secure; Path=/", https) == "__Host-a=b www.example.com / secure");
  for (const char* rest :
       {"", "; Secure", "; Path=/", "; Secure; Path=/x", "; Secure; Path=/; Domain=example.com",
        "; Secure; Path=/; Domain=www.example.com"})
    CHECK_MESSAGE(parsed("__host-a=b"s + rest, https) == "-", std::string(rest));
}

TEST_CASE("hosts and paths that match") {
  CHECK(http::domain_matches("a.example.com", "example.com"));
  CHECK(http::domain_matches("example.com", "example.com"));
  CHECK(!http::domain_matches("example.com", "a.example.com"));
  CHECK(!http::domain_matches("badexample.com", "example.com"));
  CHECK(!http::domain_matches("1.2.3.4", "3.4"));
  CHECK(http::domain_matches("1.2.3.4", "1.2.3.4"));
  CHECK(http::path_matches("/a/b", "/a"));
  CHECK(http::path_matches("/a", "/a"));
  CHECK(http::path_matches("/a/", "/a/"));
  CHECK(http::path_matches("/ab", "/"));
  CHECK(!http::path_matches("/ab", "/a"));
  CHECK(!http::path_matches("/a", "/a/"));
  CHECK(!http::path_matches("/A", "/a"));
  for (const auto& [path, expected] : {std::pair("/", "/"),
                                       {"/a", "/"},
                                       {"/a/", "/a"},
                                       {"/a/b", "/a"},
                                       {"", "/"},
                                       {"junk/x", "/"}})
    CHECK(http::default_cookie_path(path) == expected);
}

TEST_CASE("cookies are sent in order: longer paths first, then the older ones") {
  Store store;
  store.set("http://www.example.com/a/b", "one=1; Path=/");
  store.set("http://www.example.com/a/b", "two=2; Domain=example.com; Path=/");
  store.set("http://www.example.com/a/b", "deep=3");
  store.set("http://example.com/", "host=4");
  store.set("https://www.example.com/", "safe=5; Secure; Path=/a");
  store.set("http://www.example.com/a/b", "one=6; Path=/");
  CHECK(store.header("http://www.example.com/a/c?x#y") == "deep=3; one=6; two=2");
  CHECK(store.header("https://WWW.example.com:444/a/c") == "deep=3; safe=5; one=6; two=2");
  CHECK(store.header("http://www.example.com") == "one=6; two=2");
  CHECK(store.header("http://example.com/a") == "two=2; host=4");
  CHECK(store.header("http://other.example.com/a") == "two=2");
  CHECK(store.header("http://example.org/") == "");
  store.add({.name = "all", .value = "7"});
  CHECK(store.header("http://example.org/") == "all=7");
  CHECK(store.header("http://example.com/a") == "two=2; host=4; all=7");
}

TEST_CASE("a cookie for a host and one for its domain are two") {
  Store store;
  store.set("http://example.com/", "a=1");
  store.set("http://example.com/", "a=2; Domain=example.com");
  store.set("http://example.com/", "a=3; Path=/x");
  CHECK(store.header("http://example.com/x") == "a=3; a=1; a=2");
  store.set("http://example.com/", "a=4");
  CHECK(store.names_and_values() == http::Params{{"a", "4"}, {"a", "2"}, {"a", "3"}});
}

TEST_CASE("cookies end") {
  Store store;
  const std::string url = "http://example.com/";
  store.set(url, "a=1; Max-Age=10");
  store.set(url, "b=2; Max-Age=20");
  store.set(url, "c=3");
  store.set(url, "gone=4; Max-Age=0");
  CHECK(store.header(url) == "a=1; b=2; c=3");
  time_now += 9;
  CHECK(store.all().size() == 3);
  time_now += 1;
  CHECK(store.header(url) == "b=2; c=3");
  CHECK(store.names_and_values() == http::Params{{"b", "2"}, {"c", "3"}});
  store.set(url, "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(store.header(url) == "c=3");
  store.set(url, "c=; Max-Age=-1");
  CHECK(store.all().empty());
}

TEST_CASE("a cookie that came without TLS does not hide a secure one") {
  Store store;
  store.set("https://www.example.com/a/", "s=1; Secure; Path=/a; Domain=example.com");
  for (const char* field : {"s=2; Path=/a", "s=2; Path=/a; Domain=example.com", "s=2; Path=/a/b",
                            "s=; Path=/a; Domain=example.com; Max-Age=0"})
    store.set("http://www.example.com/a/", field);
  CHECK(store.header("https://www.example.com/a/b") == "s=1");
  store.set("http://www.example.com/a/", "s=3; Path=/");
  store.set("http://example.org/a/", "s=4; Path=/a");
  CHECK(store.header("https://www.example.com/a/b") == "s=1; s=3");
  store.set("https://www.example.com/a/", "s=5; Path=/a; Domain=example.com");
  CHECK(store.header("http://www.example.com/a/b") == "s=5; s=3");
}

TEST_CASE("one site has so many cookies, and no more") {
  Store store;
  store.set("https://www.example.com/", "secure=1; Secure");
  store.set("http://www.example.com/", "first=1");
  store.set("http://www.example.com/", "second=1; Max-Age=5");
  for (std::size_t i = 3; i < CookieStore::most_of_site; ++i) {
    store.set("http://h" + std::to_string(i) + ".example.com/", "n=1");
    store.header("http://www.example.com/");  // the cookies for this URL stay in use
  }
  CHECK(store.all().size() == CookieStore::most_of_site);
  store.set("http://www.example.com/", "more=1");
  CHECK(store.header("https://www.example.com/") == "secure=1; first=1; second=1; more=1");
  CHECK(store.header("http://h3.example.com/") == "");
  CHECK(store.header("http://h4.example.com/") == "n=1");
  time_now += 10;
  store.set("http://www.example.com/", "last=1");
  CHECK(store.header("https://www.example.com/") == "secure=1; first=1; more=1; last=1");
  CHECK(store.header("http://h5.example.com/") == "n=1");
  CHECK(store.all().size() == CookieStore::most_of_site);
}

TEST_CASE("a store has so many cookies, and no more") {
  Store store;
  store.set("http://example.com/", "first=1");
  store.set("http://example.com/", "second=1");
  for (std::size_t i = 2; i < CookieStore::most; ++i)
    store.set("http://h" + std::to_string(i) + ".example/", "n=1");
  CHECK(store.header("http://example.com/") == "first=1; second=1");
  store.set("http://example.net/", "more=1");
  store.set("http://example.net/", "more=2");
  CHECK(store.all().size() == CookieStore::most);
  CHECK(store.header("http://example.com/") == "first=1; second=1");
  CHECK(store.header("http://h2.example/") == "");
  CHECK(store.header("http://h3.example/") == "n=1");
}

TEST_CASE("one site's flood leaves the others' cookies alone") {
  Store store;
  store.set("http://example.org/", "mine=1");
  for (int i = 0; i < 5000; ++i)
    store.set("http://h" + std::to_string(i % 50) + ".example.com/",
              "n" + std::to_string(i) + "=1");
  CHECK(store.header("http://example.org/") == "mine=1");
  CHECK(store.all().size() == CookieStore::most_of_site + 1);
}

TEST_CASE("a store takes out, and takes in, what it is told to") {
  Store store;
  store.set("http://example.com/", "a=1");
  store.set("http://example.com/", "b=2");
  const auto before = store.all();
  store.set("http://example.com/", "a=3");
  store.erase({before[0].serial, before[1].serial});
  CHECK(store.names_and_values() == http::Params{{"a", "3"}});
  store.replace({{.name = "x", .value = "1", .domain = "example.com"}, {.name = "y"}});
  CHECK(store.header("http://www.example.com/") == "x=1; y=");
  store.set("http://www.example.com/", "z=2");
  CHECK(store.names_and_values() == http::Params{{"x", "1"}, {"y", ""}, {"z", "2"}});
  store.clear();
  CHECK(store.all().empty());
  CookieStore none(false);
  none.set("http://example.com/", {"a=1"});
  none.add({.name = "b"});
  none.replace({{.name = "c"}});
  CHECK(none.all().empty());
}

TEST_CASE("a line of cookies.txt is read and written unchanged, a malformed one is no cookie") {
  for (const std::string& line :
       {".example.com\tTRUE\t/\tFALSE\t12\ta\t1 2"s, "#HttpOnly_a\tFALSE\t/p\tTRUE\t0\tb\t"s,
        "\tFALSE\t/\tFALSE\t0\td\t4"s})
    CHECK(http::netscape_line(*http::parse_netscape_line(line)) == line);
  // A cookie for every host has no dot in front of its domain.
  CHECK_FALSE(http::parse_netscape_line("\tTRUE\t/\tFALSE\t0\td\t4")->host_only);
  CHECK_FALSE(http::parse_netscape_line("\tFALSE\t/\tFALSE\t0\td\t4")->host_only);
  CHECK(!http::parse_netscape_line("a\tTRUE\t/\tFALSE\t0\tname"));
  CHECK(http::parse_netscape_line("Example.COM\tTRUE\tx\tFALSE\t-1\tn\tv")->domain ==
        "example.com");
}

TEST_CASE("whatever is kept can be written to a file, and goes to its own host alone") {
  const std::vector<std::string> pieces = {
      "=",          ";",          " ",
      "\t",         ",",          "\"",
      "a",          "b",          "__Host-",
      "__secure-",  "Path=/",     "; Path=/x",
      "; Path=",    "; Domain=",  "example",
      ".com",       "www.",       "co.uk",
      "; Secure",   "; HttpOnly", "; SameSite=Lax",
      "; Max-Age=", "; Expires=", "Sun, 06 Nov 2044 08:49:37 GMT",
      "1",          "-",          "9",
      "\xc3\xa4",   "\xff",       "\x01",
      "\r",         "\n",         std::string(1, '\0'),
      "#",          "/"};
  std::mt19937 random(1);
  Store store;
  std::size_t kept = 0;
  for (int i = 0; i < 30'000; ++i) {
    std::string field = "n";
    for (auto left = random() % 12; left > 0; --left) field += pieces[random() % pieces.size()];
    const char* urls[] = {"http://www.example.com/a/b", "https://www.example.co.uk/",
                          "http://[::1]/x"};
    const std::string url = urls[random() % 3];
    store.clear();
    store.set(url, field);
    for (const http::Cookie& cookie : store.all()) {
      CAPTURE(field);
      ++kept;
      const auto again = http::parse_netscape_line(http::netscape_line(cookie));
      REQUIRE(again);
      REQUIRE(http::netscape_line(*again) == http::netscape_line(cookie));
      REQUIRE(again->value == cookie.value);
      REQUIRE(store.header(url).find_first_of("\r\n;") == std::string::npos);
      REQUIRE(store.header("https://other.com/a/b") == "");
      REQUIRE(store.header("https://other.co.uk/a/b") == "");
    }
  }
  CHECK(kept > 1'000);
}

TEST_CASE("any thread may use a store") {
  CookieStore store;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&store, t] {
      const std::string url = "http://h" + std::to_string(t) + ".example/";
      for (int i = 0; i < 300; ++i) {
        store.set(url, {"n" + std::to_string(i % 20) + "=1", "x=1; Max-Age=0"});
        store.header(url);
        if (i % 50 == 0) store.all();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(store.all().size() == 80);
}
