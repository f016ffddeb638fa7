// aiohttp.CookieJar keeps, sends, saves and loads cookies.

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include "support/aiohttp_session.hpp"
#include "support/folder.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <cstdio>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>

namespace aiohttp = fiber::aiohttp;
using namespace std::string_literals;
using aiohttp::CookieJar;
using aiohttp::Params;
using fiber::asyncio::await;
using support::HttpServer;
using support::TemporaryFile;
using support::text_of;
using support::with_session;

namespace {

std::string cookie_of(const std::string& request) {
  const auto at = request.find("\r\nCookie: ");
  if (at == request.npos) return "-";
  return request.substr(at + 10, request.find("\r\n", at + 2) - at - 10);
}

CookieJar jar_of(const std::string& text) {
  const TemporaryFile file(text);
  CookieJar jar;
  jar.load(file.path());
  return jar;
}

}  // namespace

TEST_CASE("a jar outlives its session, and may be shared") {
  HttpServer server;
  CookieJar jar;
  with_session({.cookie_jar = jar}, [&](aiohttp::ClientSession& session) {
    await(session.get(server.url("/set-cookie?a=1")));
    CHECK(session.cookie_jar().size() == 1);
  });
  CHECK(jar.size() == 1);
  with_session({.cookie_jar = jar}, [&](aiohttp::ClientSession& session) {
    await(session.get(server.url("/echo")));
    CHECK(cookie_of(server.received().back()) == "a=1");
    jar.clear();
    await(session.get(server.url("/echo")));
    CHECK(cookie_of(server.received().back()) == "-");
  });
}

TEST_CASE("a request that is made again has the cookies of now, in their place") {
  HttpServer server;
  with_session([&](aiohttp::ClientSession& session) {
    const auto ask = [&] {
      await(session.get(server.url("/echo")));
      return server.received().back();
    };
    const std::string plain = ask();
    CHECK(ask() == plain);
    CookieJar jar = session.cookie_jar();
    for (const std::string& value : {"1"s, "2"s}) {
      jar.update_cookies({{"a", value}}, server.url("/"));
      std::string with_cookie = ask();
      const std::string field = "\r\nCookie: a=" + value;
      const auto at = with_cookie.find(field);
      REQUIRE(at != with_cookie.npos);
      CHECK(with_cookie.erase(at, field.size()) == plain);
    }
    jar.clear();
    CHECK(ask() == plain);
  });
}

TEST_CASE("a jar is never empty: moving it is copying it") {
  CookieJar jar;
  CookieJar other(std::move(jar));
  other.update_cookies({{"a", "1"}});
  CHECK(jar.size() == 1);
  with_session({.cookie_jar = jar}, [](aiohttp::ClientSession& session) {
    CHECK(session.cookies() == fiber::http::Params{{"a", "1"}});
  });
}

TEST_CASE("a jar that keeps nothing") {
  HttpServer server;
  aiohttp::DummyCookieJar jar;
  jar.update_cookies({{"b", "2"}});
  with_session({.cookie_jar = jar}, [&](aiohttp::ClientSession& session) {
    await(session.get(server.url("/set-cookie?a=1")));
    await(session.get(server.url("/echo")));
    CHECK(cookie_of(server.received().back()) == "-");
    CHECK(session.cookies().empty());
  });
}

TEST_CASE("cookies that are put in are sent to their host, or to all") {
  HttpServer server;
  CookieJar jar;
  jar.update_cookies({{"all", "1"}, {"all", "2"}});
  jar.update_cookies({{"here", "3"}}, server.url("/a/b"));
  jar.update_cookies({{"there", "4"}}, "http://example.com/");
  with_session({.cookie_jar = jar}, [&](aiohttp::ClientSession& session) {
    await(session.get(server.url("/a/c")));
    CHECK(cookie_of(server.received().back()) == "here=3; all=2");
    await(session.get(server.url("/b")));
    CHECK(cookie_of(server.received().back()) == "all=2");
  });
  CHECK(jar.filter_cookies(server.url("/a/c")) == Params{{"here", "3"}, {"all", "2"}});
  CHECK(jar.filter_cookies("http://example.com/x") == Params{{"there", "4"}, {"all", "2"}});
  CHECK(jar.filter_cookies("http://www.example.com/x") == Params{{"all", "2"}});
  CHECK_THROWS_AS(jar.filter_cookies("no url"), fiber::ValueError);
}

TEST_CASE("characters that cannot stand in a cookie are refused") {
  CookieJar jar;
  for (const std::string& name : {""s, "a b"s, "a=b"s, "a;b"s, "a\r\nb"s, "a\0b"s, "a\tb"s})
    CHECK_THROWS_AS(jar.update_cookies({{name, "x"}}, "http://example.com/"), fiber::ValueError);
  for (const std::string& value : {"a;b"s, "a\r\nb"s, "a\0b"s, "a\tb"s})
    CHECK_THROWS_AS(jar.update_cookies({{"n", value}}), fiber::ValueError);
  CHECK(jar.size() == 0);
}

TEST_CASE("cookies that fit a URL are found") {
  const CookieJar jar = jar_of(
      ".example.com\tTRUE\t/\tFALSE\t0\tdomain\t1\n"
      "example.com\tFALSE\t/\tFALSE\t0\thost\t2\n"
      "example.com\tFALSE\t/a\tFALSE\t0\tpath\t3\n"
      "example.com\tFALSE\t/\tTRUE\t0\tsecure\t4\n"
      "#HttpOnly_example.com\tFALSE\t/\tFALSE\t0\thidden\t5\n");
  const auto names = [&](const std::string& url) {
    std::string all;
    for (const auto& cookie : jar.filter_cookies(url)) all += cookie.first + " ";
    return all;
  };
  CHECK(names("http://example.com/a/b").starts_with("path "));
  CHECK(jar.filter_cookies("http://example.com/a/b").size() == 4);
  CHECK(jar.filter_cookies("http://example.com/a").size() == 4);
  CHECK(jar.filter_cookies("http://example.com/ab").size() == 3);
  CHECK(jar.filter_cookies("https://EXAMPLE.com").size() == 4);
  CHECK(names("http://www.example.com/") == "domain ");
  CHECK(names("http://badexample.com/") == "");
  CHECK(names("http://com/") == "");
}

TEST_CASE("a saved jar is loaded again as it was") {
  const std::string later = std::to_string(std::time(nullptr) + 3600);
  const std::string text = ".example.com\tTRUE\t/\tFALSE\t" + later + "\ta\t1 2\n" +
                           "example.com\tFALSE\t/p\tTRUE\t0\tb\t\n" +
                           "#HttpOnly_example.org\tFALSE\t/\tFALSE\t0\tc\t=3\n" +
                           "\tFALSE\t/\tFALSE\t0\td\t4\n";
  const CookieJar jar = jar_of("# Netscape HTTP Cookie File\n\n" + text + "\r\n");
  CHECK(jar.size() == 4);
  TemporaryFile file;
  std::remove(file.path().c_str());
  jar.save(file.path());
  struct stat status;
  REQUIRE(::stat(file.path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  const std::string saved = file.content();
  CHECK(saved.starts_with("# Netscape HTTP Cookie File\n"));
  const std::string lines = "\n" + text;  // each line with the end of the one before
  for (std::size_t begin = 0, end = 0; begin + 1 < lines.size(); begin = end) {
    end = lines.find('\n', begin + 1);
    CHECK(saved.find(lines.substr(begin, end + 1 - begin)) != saved.npos);
  }
  CookieJar again;
  again.update_cookies({{"old", "x"}});
  again.load(file.path());
  CHECK(again.size() == 4);
  again.save(file.path());
  CHECK(file.content().size() == saved.size());
}

TEST_CASE("a file that others can read is replaced by one that they cannot") {
  CookieJar jar;
  jar.update_cookies({{"a", "1"}});
  const TemporaryFile file("old");
  REQUIRE(::chmod(file.path().c_str(), 0644) == 0);
  jar.save(file.path());
  struct stat status;
  REQUIRE(::stat(file.path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(file.content().ends_with("\ta\t1\n"));
  jar.save("/dev/null");
  REQUIRE(::stat("/dev/null", &status) == 0);
  CHECK(S_ISCHR(status.st_mode));
}

TEST_CASE("a file of http.cookiejar is read") {
  const CookieJar jar = jar_of(
      "# Netscape HTTP Cookie File\nh.example\tFALSE\t/\tFALSE\t\ts\t1\n"
      "\tTRUE\t/\tFALSE\t0\tany\t2\n");
  CHECK(jar.filter_cookies("http://h.example/") == aiohttp::Params{{"s", "1"}, {"any", "2"}});
}

TEST_CASE("a file that makes no sense changes nothing") {
  CookieJar jar;
  jar.update_cookies({{"a", "1"}});
  for (const std::string& line :
       {"junk"s, "a\tTRUE\t/\tFALSE\t0\tname"s, "a\tTRUE\t/\tFALSE\t0\tname\tvalue\tmore"s,
        "a\tmaybe\t/\tFALSE\t0\tname\tvalue"s, "a\tTRUE\t/\tFALSE\t1e9\tname\tvalue"s,
        "a\tTRUE\t/\tFALSE\t99999999999999999999\tname\tvalue"s, "a\tTRUE\t/\tFALSE\t0\t\tvalue"s,
        "a\tTRUE\t/\tFALSE\t0\tname\tva\0lue"s, "a\tTRUE\t/\tFALSE\t0\tname\tva\rlue"s}) {
    const TemporaryFile file("b\tFALSE\t/\tFALSE\t0\tgood\tx\n" + line + "\n");
    const std::string expected =
        "invalid Netscape format cookies file '" + file.path() + "': '" + line + "'";
    // what() ends at a NUL.
    CHECK(text_of<fiber::ValueError>([&] { jar.load(file.path()); }) == expected.c_str());
    CHECK(jar.size() == 1);
  }
  CHECK_THROWS_AS(jar.load("/nowhere/at/all"), fiber::FileNotFoundError);
  CHECK_THROWS_AS(jar.save("/nowhere/at/all"), fiber::FileNotFoundError);
}

TEST_CASE("cookies end, and may be taken out") {
  CookieJar jar = jar_of(
      "example.com\tFALSE\t/\tFALSE\t1\told\tx\n"
      "example.com\tFALSE\t/\tFALSE\t0\ta\t1\n"
      "www.example.com\tFALSE\t/\tFALSE\t0\tb\t2\n"
      "example.org\tFALSE\t/\tFALSE\t0\tc\t3\n");
  CHECK(jar.size() == 3);
  jar.update_cookies({{"d", "4"}});
  jar.clear([](const aiohttp::Morsel& morsel) { return morsel.key == "c"; });
  CHECK(jar.size() == 3);
  jar.clear_domain("Example.com");
  CHECK(jar.size() == 1);
  CHECK(jar.morsels()[0].key == "d");
}
