// URLs are prepared, refused, and resolved. The results are those of requests and yarl, except for
// the differences in fiber/requests/README.md.

#include <fiber/http/failure.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace http = fiber::http;
using namespace std::string_literals;
using http::Failure;
using http::prepare_url;

namespace {

using Table = std::vector<std::pair<std::string, std::string>>;

template <class Function>
std::string result_of(Function function) {
  try {
    return function();
  } catch (const Failure& failure) {
    switch (failure.kind) {
      case Failure::Kind::missing_schema: return "MissingSchema";
      case Failure::Kind::invalid_schema: return "InvalidSchema";
      case Failure::Kind::invalid_url: return "InvalidURL";
      default: return "another failure: " + failure.text;
    }
  }
}

std::string prepared(std::string_view url) {
  return result_of([&] { return prepare_url(url, {}); });
}

}  // namespace

TEST_CASE("a URL is made fit to be sent, and is then left alone") {
  const Table table = {
      {"http://h", "http://h/"},
      {"HTTP://H/", "http://h/"},
      {"http://h?", "http://h/"},
      {"http://h#", "http://h/"},
      {"http://h/?#", "http://h/"},
      {"http://h?a=b", "http://h/?a=b"},
      {"http://h/a b/\"<>\\^`{|}", "http://h/a%20b/%22%3C%3E%5C%5E%60%7B%7C%7D"},
      {"http://h/%7e%2F%c3%a4%20", "http://h/~%2F%C3%A4%20"},
      {"http://h/\u00e4?\u00f6#\u00fc", "http://h/%C3%A4?%C3%B6#%C3%BC"},
      {"http://h/%", "http://h/%25"},
      {"http://h/%zz%7e", "http://h/%25zz%257E"},
      {"http://h/a?%", "http://h/a?%25"},
      {"http://h/a;p=1/!$&'()*+,=:@", "http://h/a;p=1/!$&'()*+,=:@"},
      {"http://h/[x]?[x]#[x]", "http://h/%5Bx%5D?%5Bx%5D#%5Bx%5D"},
      {"http://h/a/./b/../c", "http://h/a/c"},
      {"http://h/..", "http://h/"},
      {"http://h/../..//x/.", "http://h//x/"},
      {"http://h/a/%2e%2E/b", "http://h/b"},
      {"http://h//a", "http://h//a"},
      {"http://h/a\\..\\b", "http://h/a%5C..%5Cb"},
      {"http://h/a?b/../c", "http://h/a?b/../c"},
      {"http://h:080/", "http://h:80/"},
      {"http://h:/", "http://h/"},
      {"http://h:0/", "http://h:0/"},
      {"http://h:65535/", "http://h:65535/"},
      {"http://u@h/", "http://u@h/"},
      {"http://u:p:q@h/", "http://u:p:q@h/"},
      {"http://u@v@h/", "http://u%40v@h/"},
      {"http://u%40:%3a@h/", "http://u%40:%3A@h/"},
      {"http://u b:\u00e4[@h/", "http://u%20b:%C3%A4%5B@h/"},
      {"http://@h/", "http://h/"},
      {"http://:@h/", "http://:@h/"},
      {"http://a\\@b/", "http://a/%5C@b/"},
      {"http://a/@b/", "http://a/@b/"},
      {"http://[::1]:80/", "http://[::1]:80/"},
      {"http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"},
      {"http://[FE80::A%25eth0]/", "http://[fe80::a%25eth0]/"},
      {"http://[fe80::a%eth0]/", "http://[fe80::a%25eth0]/"},
      {"http://127.1/", "http://127.0.0.1/"},
      {"http://0x7f000001/", "http://127.0.0.1/"},
      {"http://017700000001/", "http://127.0.0.1/"},
      {"http://2130706433/", "http://127.0.0.1/"},
      {"http://1.2.3.256/", "http://1.2.3.256/"},
      {"http://1.2.3.4.5/", "http://1.2.3.4.5/"},
      {"http://h.1/", "http://h.1/"},
      {"http://127.0.0.1./", "http://127.0.0.1/"},
      {"http://b\u00fccher.EXAMPLE/", "http://xn--bcher-kva.example/"},
      {"http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"},
      {"http://stra\u00dfe.example/", "http://xn--strae-oqa.example/"},
      {"http://\uff45xample.com/", "http://example.com/"},
      {"http://\uff11\uff12\uff17.1/", "http://127.0.0.1/"},
      {"http://ex%61mple.com/", "http://example.com/"},
      {"http://a_b.c-/", "http://a_b.c-/"},
      {"http://h./", "http://h./"},
      {"http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"},
  };
  for (const auto& [url, expected] : table) {
    CHECK_MESSAGE(prepared(url) == expected, url);
    CHECK(prepared(expected) == expected);
  }
  CHECK(prepared(" \t\r\nhttp://h/a ") == "http://h/a%20");
  CHECK(prepared("http://h/a\nb\tc\x7f?\r#\n") == "http://h/a%0Ab%09c%7F?%0D#%0A");
  CHECK(prepared("http://h/\xe4\xff") == "http://h/%E4%FF");
}

TEST_CASE("texts that are no URL of a host are refused") {
  const std::vector<std::string> urls = {
      "http:/h",          "http:h",         "http:\\\\h",        "http://:80/",
      "http://u@/",       "http://u@:80",   "http://[",          "http://[]/",
      "http://[::1/",     "http://::1/",    "http://[::1]x/",    "http://[::1]:x/",
      "http://[g::]/",    "http://[::1%]/", "http://[::1%a/b]/", "http://[1.2.3.4]/",
      "http://h:x/",      "http://h:-1/",   "http://h:65536/",   "http://h:8 0/",
      "http://h:\u0663/", "http://a b/",    "http://a\tb/",      "http://a<b/",
      "http://a|b/",      "http://a^b/",    "http://a%/",        "http://a%zz/",
      "http://a%00/",     "http://a%2fb/",  "http://a%20b/",     "http://a\uff0500/",
      "http://a\uff0fb/", "http://*.h/",    "http://.h/",        "http://./",
      "http://a..b/",     "http://\u00ad/", "http://%C2%AD:80/", "http://\u200b\u2060/"};
  for (const std::string& url : urls) CHECK_MESSAGE(prepared(url) == "InvalidURL", url);
  for (const std::string& url : {"http://a\0b/"s, "http://h/\0"s, "http://a\x7f/"s, "http://\xff/"s,
                                 "http://a\nb/"s, "http://[fe80::1%\0]/"s})
    CHECK(prepared(url) == "InvalidURL");
  for (const char* url : {"", "h", "//h/", "/x", "h/a b"}) CHECK(prepared(url) == "MissingSchema");
  for (const char* url :
       {"ftp://h/", "h:80", "httpx://h/", "1http://h/", ":", "://h/", "file:///x"})
    CHECK(prepared(url) == "InvalidSchema");
}

TEST_CASE("whatever is taken is fit to be sent, and stays as it is") {
  const std::vector<std::string> pieces = {
      "http:", "https:", "//",   "/",    "\\",  "?",     "#",      "@",      ":",      "[",
      "]",     "::1",    "%",    "%2e",  "%2E", "%00",   "%25",    "..",     ".",      "a",
      "B",     "0x",     "127",  ".1",   "80",  "99999", "\u00e4", "\u65e5", "\uff0e", " ",
      "\t",    "\n",     "\x7f", "\xff", "\"",  "<",     "|",      "^",      "&",      "=",
      "+",     "~",      "*",    "xn--", "-",   "_",     "\u00ad"};
  std::mt19937 random(1);
  const auto any = [&](std::size_t most) {
    std::string text;
    for (std::size_t left = random() % most; left > 0; --left)
      text += pieces[random() % pieces.size()];
    return text;
  };
  int taken = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::string given = "http://" + any(12), location = any(8);
    const auto look_at = [&](const std::string& url) {
      CAPTURE(location);
      REQUIRE(prepared(url) == url);
      const bool visible =
          std::all_of(url.begin(), url.end(), [](unsigned char c) { return c > ' ' && c < 127; });
      REQUIRE(visible);
      const http::UrlParts parts = http::split_url(url);
      REQUIRE(!parts.host.empty());
      REQUIRE(parts.host.find_first_of("/?#@\\") == parts.host.npos);
      REQUIRE(parts.path.starts_with('/'));
      REQUIRE((std::string(parts.path) + "/").find("/../") == std::string::npos);
      REQUIRE(http::same_origin(url, url));
      ++taken;
    };
    CAPTURE(given);
    // A URL that begins with a blank is taken apart, also if it would stay as it is.
    REQUIRE(prepared(given) == prepared("\t" + given));
    try {
      const std::string url = prepare_url(given, {});
      look_at(url);
      look_at(http::resolve_url(url, location));
    } catch (const Failure& failure) {
      REQUIRE((failure.kind == Failure::Kind::invalid_url ||
               failure.kind == Failure::Kind::invalid_schema));
    }
  }
  CHECK(taken > 5'000);
}

TEST_CASE("parameters join the query") {
  const http::Params params = {{"a", "\u00e4 b"}, {"&", "="}};
  CHECK(prepare_url("http://h", params) == "http://h/?a=%C3%A4+b&%26=%3D");
  CHECK(prepare_url("http://h/?", params) == "http://h/?a=%C3%A4+b&%26=%3D");
  CHECK(prepare_url("http://h/?x#f", params) == "http://h/?x&a=%C3%A4+b&%26=%3D#f");
}

TEST_CASE("Location is resolved against the URL of the request") {
  const Table table = {
      {"c", "http://h.example/a/c#f"},
      {"./", "http://h.example/a/#f"},
      {"../c", "http://h.example/c#f"},
      {"../../../c", "http://h.example/c#f"},
      {"..", "http://h.example/#f"},
      {"?x", "http://h.example/a/b?x#f"},
      {"?x#g", "http://h.example/a/b?x#g"},
      {"#g", "http://h.example/a/b?q#g"},
      {"#", "http://h.example/a/b?q#f"},
      {"", "http://h.example/a/b?q#f"},
      {"/c", "http://h.example/c#f"},
      {"/./c/..", "http://h.example/#f"},
      {"//o.example/c", "http://o.example/c#f"},
      {"//O.example:80", "http://o.example:80/#f"},
      {"///c", "http://h.example/c#f"},
      {"////c", "http://h.example//c#f"},
      {"http:c", "http://h.example/c#f"},
      {"http:/c", "http://h.example/c#f"},
      {"http:///c", "http://h.example/c#f"},
      {"https://o.example", "https://o.example/#f"},
      {"HTTP://o.example/?x", "http://o.example/?x#f"},
      {"a b?%7e", "http://h.example/a/a%20b?~#f"},
      {"\\\\o.example/", "http://h.example/a/%5C%5Co.example/#f"},
      {"//o.example\\@h.example/", "http://o.example/%5C@h.example/#f"},
      {"8080:c", "http://h.example/a/8080:c#f"},
      {":c", "http://h.example/a/:c#f"},
      {"c:d", "InvalidSchema"},
      {"//u:p@o.example/", "http://u:p@o.example/#f"},
      {"/c?http://o.example/", "http://h.example/c?http://o.example/#f"},
      {"/\u00e4", "http://h.example/%C3%A4#f"},
      {"%2e%2e/c", "http://h.example/c#f"},
      {"//[::1]:8/", "http://[::1]:8/#f"},
  };
  for (const auto& [location, expected] : table)
    CHECK_MESSAGE(result_of([&] {
                    return http::resolve_url("http://h.example/a/b?q#f", location);
                  }) == expected,
                  location);
  CHECK(result_of([] { return http::resolve_url("http://h/", "a\0"s); }) == "InvalidURL");
  CHECK(http::resolve_url("http://[fe80::1%25eth0]:8/x", "y") == "http://[fe80::1%25eth0]:8/y");
}

TEST_CASE("the parts of a prepared URL") {
  const std::string url = "https://u:p@[fe80::1%25eth0]:8443/a/b?c#d";
  const http::UrlParts parts = http::split_url(url);
  CHECK(parts.scheme == "https");
  CHECK(parts.userinfo == "u:p");
  CHECK(parts.host == "[fe80::1%25eth0]");
  CHECK(parts.port == 8443);
  CHECK(parts.target == "/a/b?c");
  CHECK(parts.path == "/a/b");
  CHECK(http::split_url("https://h/").port == 443);
  CHECK(http::split_url("http://h/#f").target == "/");
  CHECK(http::split_url("").host == "");
  CHECK(http::origin_of("http://h/") == "h:80");
  CHECK(http::origin_of("https://u@[::1]/") == "[::1]:443");
  CHECK(http::origin_of("http://h:1234567890123/") == "h:80");
}

TEST_CASE("credentials are taken out of a URL") {
  const auto taken = [](std::string url) {
    const auto auth = http::take_credentials(url);
    return (auth ? auth->username + "|" + auth->password + " " : "") + url;
  };
  CHECK(taken("http://u:p@h/@") == "u|p http://h/@");
  CHECK(taken("http://u%40:p%3A%zz@h/") == "u@|p:%zz http://h/");
  CHECK(taken("http://u@h/") == "u| http://h/");
  CHECK(taken("http://:@h/") == "http://h/");
  CHECK(taken("http://h/u:p@x") == "http://h/u:p@x");
}

TEST_CASE("one origin is one scheme, host and port, or the https of http at the usual ports") {
  CHECK(http::same_origin("http://h/a", "http://h:80/b"));
  CHECK(http::same_origin("http://h/", "https://h:443/"));
  CHECK(http::same_origin("http://u@h/", "http://v@h/"));
  CHECK(!http::same_origin("https://h/", "http://h/"));
  CHECK(!http::same_origin("http://h/", "http://h:81/"));
  CHECK(!http::same_origin("http://h:81/", "https://h/"));
  CHECK(!http::same_origin("http://h/", "http://h./"));
  CHECK(!http::same_origin("http://[fe80::1%25a]/", "http://[fe80::1%25b]/"));
  CHECK(!http::same_origin("", ""));
}
