// One exchange without I/O: the bytes sent, and the results of bytes received in pieces of any
// size.
#include <fiber/http/answer.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/transfer.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/http_client.hpp"

namespace http = fiber::http;
using http::AnswerParser;
using http::Rules;
using http::Transfer;
using Kind = http::Failure::Kind;

namespace {

const std::string ok = "HTTP/1.1 200 OK\r\n";
const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";

std::string name_of(const http::Failure& failure) {
  switch (failure.kind) {
    case Kind::bad_response: return "bad_response";
    case Kind::bad_header: return "bad_header";
    case Kind::payload: return "payload";
    case Kind::disconnected: return "disconnected";
    case Kind::unrewindable: return "unrewindable";
    default: return "other";
  }
}

// Feeds bytes in pieces of this size, then the end of the connection if `cut`, and returns the
// events: "interim, 200, body of 5, end, keeps".
std::string events(std::string_view bytes, std::size_t piece, Rules rules, bool cut = false,
                   bool bodiless = false) {
  AnswerParser parser(rules);
  parser.begin(bodiless);
  std::string all, body;
  const auto add = [&](const std::string& event) { all += (all.empty() ? "" : ", ") + event; };
  const auto end = [&] {
    if (!body.empty()) add("\"" + body + "\"");
    add(parser.keeps_alive() ? "end, keeps" : "end");
  };
  try {
    while (!bytes.empty()) {
      std::string_view in = bytes.substr(0, piece);
      bytes.remove_prefix(in.size());
      for (;;) {
        const auto event = parser.next(in);
        if (event == AnswerParser::Event::more) break;
        if (event == AnswerParser::Event::interim) add("interim");
        if (event == AnswerParser::Event::head) add(std::to_string(parser.head().status));
        if (event == AnswerParser::Event::data) body += parser.data();
        if (event != AnswerParser::Event::end) continue;
        end();
        const std::size_t left = in.size() + bytes.size();
        return all + (left > 0 ? ", " + std::to_string(left) + " more" : "");
      }
    }
    if (cut) {
      parser.end_of_input();
      if (parser.complete()) end();
    }
  } catch (const http::Failure& failure) {
    if (!body.empty()) add("\"" + body + "\"");
    add(name_of(failure));
  }
  return all;
}

http::Outgoing request(std::string method, http::Body body = {}, http::Headers headers = {}) {
  return {.rules = Rules::requests,
          .method = std::move(method),
          .url = "http://example.com/path?q=1#part",
          .headers = std::move(headers),
          .body = std::move(body)};
}

// Returns all bytes that the transfer has to send now.
std::string sent(Transfer& transfer) {
  std::string all;
  for (auto piece = transfer.output(); !piece.empty(); piece = transfer.output()) {
    all += piece.substr(0, 7);  // the room of the connection
    transfer.sent(std::min<std::size_t>(piece.size(), 7));
  }
  return all;
}

std::string sent(http::Outgoing outgoing) {
  Transfer transfer(std::move(outgoing), nullptr, 1 << 20);
  transfer.attach(false);
  return sent(transfer);
}

std::string without_encodings(std::string text) {
  const std::string line = "Accept-Encoding: " + std::string(http::accepted_encodings) + "\r\n";
  const auto at = text.find(line);
  if (at != text.npos) text.erase(at, line.size());
  return text;
}

}  // namespace

TEST_CASE("an answer is the same in whatever pieces it comes") {
  struct Case {
    std::string bytes, expected;
    bool bodiless = false;
  };
  for (const Case& each : std::vector<Case>{
           {ok + "Content-Length: 5\r\n\r\nhello", "200, \"hello\", end, keeps"},
           {ok + "Content-Length: 0\r\n\r\n", "200, end, keeps"},
           {ok + "Content-Length: 5\r\n\r\n", "200, end, keeps", true},
           {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "204, end, keeps"},
           {"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "304, end, keeps"},
           {"HTTP/1.1 100 Go\r\nA: b\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + ok +
                "Content-Length: 1\r\n\r\nx",
            "interim, interim, 200, \"x\", end, keeps"},
           {chunked + "5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nX: y\r\n\r\n",
            "200, \"hello world\", end, keeps"},
           {chunked + "A\r\n0123456789\r\n000\r\n\r\n", "200, \"0123456789\", end, keeps"},
           {ok + "Connection: x, Close\r\nContent-Length: 1\r\n\r\nx", "200, \"x\", end"},
           {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "200, \"x\", end"},
           {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            "200, \"x\", end, keeps"},
           {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "101, end"},
           {chunked + "xyz\r\n", "200, payload"},
           {chunked + "\r\n", "200, payload"},
           {chunked + " 1\r\n", "200, payload"},
           {chunked + "1 x\r\n", "200, payload"},
           {chunked + "10000000000000000\r\n", "200, payload"},
           {chunked + "1\r\nxy\r\n", "200, \"x\", payload"},
           {chunked + "0\r\nno field\r\n\r\n", "200, payload"},
           {ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "bad_header"},
           {ok + "Content-Length: +5\r\n\r\n", "bad_response"},
           {ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad_response"},
           {"HTTP/1.1 99 X\r\n\r\n", "bad_response"},
           {"HTTP/1.1 2000 X\r\n\r\n", "bad_response"},
           {"HTTX/1.1 200 OK\r\n", "bad_response"},
           {" HTTP/1.1 200 OK\r\n\r\n", "bad_response"},
           {ok + "no colon\r\n\r\n", "bad_response"},
       }) {
    CAPTURE(each.bytes);
    for (const Rules rules : {Rules::requests, Rules::aiohttp})
      for (std::size_t piece = 1; piece <= each.bytes.size(); ++piece)
        REQUIRE(events(each.bytes, piece, rules, false, each.bodiless) == each.expected);
  }
}

TEST_CASE("a head of many fields keeps each of them, and lines that go on") {
  std::string bytes = ok + "Content-Length: 0\r\n";
  for (int i = 0; i < 90; ++i)
    bytes += "X-" + std::to_string(i) + ": " + std::string(i, 'v') + "\r\n  more\r\n";
  for (const Rules rules : {Rules::requests, Rules::aiohttp}) {
    AnswerParser parser(rules);
    parser.begin(false);
    const std::string whole = bytes + "\r\n";
    std::string_view in = whole;
    REQUIRE(parser.next(in) == AnswerParser::Event::head);
    const http::Headers headers = parser.head().headers;
    CHECK(headers.size() == 91);
    for (int i = 0; i < 90; ++i)
      CHECK(headers.get("x-" + std::to_string(i)) ==
            std::string(i, 'v') + (i > 0 ? " more" : "more"));
    CHECK(headers["content-length"] == "0");
  }
}

TEST_CASE("a body without a length goes on to the end, and its connection with it") {
  const std::string bytes = ok + "\r\nto the end";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    CHECK(events(bytes, piece, Rules::requests, true) == "200, \"to the end\", end");
    CHECK(events(bytes, piece, Rules::aiohttp) == "200");  // the answer has not ended yet
  }
}

TEST_CASE("an answer that is cut anywhere is not complete") {
  for (const std::string& whole :
       {ok + "Content-Length: 5\r\n\r\nhello", chunked + "5\r\nhello\r\n0\r\nX: y\r\n\r\n"}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::string got = events(whole.substr(0, size), 3, Rules::aiohttp, true);
      CAPTURE(size);
      CHECK(got.find("end") == got.npos);
      // A cut within the head gives no head; a cut after the head breaks the body.
      CHECK(got.ends_with("payload") == (got.find("200") != got.npos));
    }
    CHECK(events(whole, 3, Rules::aiohttp, true).ends_with("end, keeps"));
  }
}

TEST_CASE("lines without end are refused, not kept") {
  const std::string line(100'000, '1');
  for (const Rules rules : {Rules::requests, Rules::aiohttp})
    for (const std::size_t piece : {std::size_t{1}, std::size_t{4000}, line.size() * 2}) {
      CHECK(events("HTTP/1.1 200 " + line, piece, rules) == "bad_response");
      CHECK(events(ok + "X: " + line, piece, rules) == "bad_response");
      CHECK(events(chunked + "1;" + line, piece, rules) == "200, payload");
      CHECK(events(chunked + "0\r\nX: " + line, piece, rules) == "200, bad_response");
    }
}

TEST_CASE("line feeds alone end the lines of chunks for requests, and for nobody else") {
  const std::string bytes = chunked + "1\nx\n0\n\n";
  CHECK(events(bytes, 1, Rules::requests) == "200, \"x\", end, keeps");
  CHECK(events(bytes, 1, Rules::aiohttp) == "200, payload");
}

TEST_CASE("bytes behind an answer do not belong to it") {
  CHECK(events(ok + "Content-Length: 1\r\n\r\nxHTTP/1.1", 100, Rules::requests) ==
        "200, \"x\", end, keeps, 8 more");
}

TEST_CASE("a request has its parts in their order") {
  CHECK(without_encodings(sent(request("get"))) ==
        "GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\n\r\n");
  // A session of requests has Accept among its fields, and a session of aiohttp has not.
  http::Outgoing of_aiohttp = request("GET");
  of_aiohttp.rules = Rules::aiohttp;
  CHECK(without_encodings(sent(of_aiohttp)) ==
        "GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n");
  CHECK(without_encodings(sent(
            request("POST", "body", {{"X-Empty", ""}, {"host", "other"}, {"accept", "a/b"}}))) ==
        "POST /path?q=1 HTTP/1.1\r\nHost: other\r\nX-Empty:\r\naccept: a/b\r\n"
        "Content-Length: 4\r\n\r\nbody");
  CHECK(sent(request("DELETE")).find("\r\nContent-Length: 0\r\n") != std::string::npos);
  CHECK(sent(request("HEAD")).find("Content-Length") == std::string::npos);
  const std::string large(100'000, 'x');
  CHECK(sent(request("PUT", large)).ends_with("\r\nContent-Length: 100000\r\n\r\n" + large));
}

TEST_CASE("a body that is read while it is sent goes out with its length, or in chunks") {
  CHECK(sent(request("PUT", std::istringstream("text")))
            .ends_with("\r\nContent-Length: 4\r\n\r\ntext"));
  CHECK(sent(request("PUT", std::vector<std::string>{"one", "", "two"}))
            .ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
  const std::string large(70'000, 'x');
  CHECK(sent(request("PUT", std::vector<std::string>{large}))
            .ends_with("\r\n\r\n10000\r\n" + large.substr(0, 65536) + "\r\n1170\r\n" +
                       large.substr(65536) + "\r\n0\r\n\r\n"));
  CHECK(sent(request("POST", "body", {{"Transfer-Encoding", "chunked"}}))
            .ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"));
}

TEST_CASE("a proxy is asked for the whole URL, and told its own credentials alone") {
  http::Outgoing outgoing = request("GET");
  outgoing.proxies = {{"http", "http://us%65r:p@proxy:3128"}};
  CHECK(without_encodings(sent(outgoing)) ==
        "GET http://example.com/path?q=1 HTTP/1.1\r\nHost: example.com\r\n"
        "Proxy-Authorization: Basic dXNlcjpw\r\n\r\n");
  outgoing.url = "https://example.com:444/";
  outgoing.proxies = {{"https", "http://u:p@proxy:3128"}};
  const Transfer transfer(http::Outgoing(outgoing), nullptr, 1);
  CHECK(transfer.route().tunnels());
  CHECK(sent(outgoing).find("Proxy-Authorization") == std::string::npos);
  CHECK(sent(outgoing).starts_with("GET / HTTP/1.1\r\nHost: example.com:444\r\n"));
}

TEST_CASE(
    "no_proxy names addresses of IPv6 without brackets, or with them; the caller's goes first") {
  const support::EnvironmentVariable proxy("http_proxy", "http://proxy:3128");
  const auto through = [](http::Rules rules, std::string url, http::Params proxies = {}) {
    const http::Outgoing outgoing{
        .rules = rules, .url = url, .proxies = std::move(proxies), .trust_env = true};
    return http::route_of(outgoing, http::split_url(url)).through_proxy();
  };
  for (const http::Rules rules : {http::Rules::requests, http::Rules::aiohttp}) {
    for (const char* exception : {"::2", "[::2]"}) {
      const support::EnvironmentVariable no("no_proxy", exception);
      CHECK_FALSE(through(rules, "http://[::2]:9/x"));
      CHECK(through(rules, "http://[::3]:9/x"));
    }
  }
  const http::Params except = {{"no_proxy", "h.invalid"}};
  CHECK_FALSE(through(http::Rules::requests, "http://h.invalid/", except));
  CHECK(through(http::Rules::requests, "http://i.invalid/", except));
  CHECK(through(http::Rules::aiohttp, "http://h.invalid/", except));
}

TEST_CASE("connections stand for each other only if they lead to one place in one way") {
  const auto key = [](const std::string& url, auto... changes) {
    http::Outgoing outgoing = request("GET");
    outgoing.url = url;
    (changes(outgoing), ...);
    return Transfer(std::move(outgoing), nullptr, 1).route().key;
  };
  const auto proxy = [](std::string url) {
    return [url](http::Outgoing& outgoing) { outgoing.proxies = {{"all", url}}; };
  };
  const auto verify = [](http::Verify how) {
    return [how](http::Outgoing& outgoing) { outgoing.verify = how; };
  };
  const auto certificate = [](std::string path) {
    return [path](http::Outgoing& outgoing) { outgoing.certificate = path; };
  };
  const std::vector<std::string> different{
      key("http://a/"),
      key("http://b/"),
      key("http://a:81/"),
      key("https://a/"),
      key("http://a/", proxy("http://p")),
      key("http://a/", proxy("http://u:p@p")),
      key("http://a/", proxy("socks5://p")),
      key("https://a/", verify(false)),
      key("https://a/", verify("/bundle")),
      key("https://a/", certificate("/pem")),
      key("https://a/", proxy("http://p")),
  };
  for (std::size_t i = 0; i < different.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(different[i] != different[j]);
  CHECK(key("http://a/x?y") == key("http://a:80/z"));
  CHECK(key("http://a/", verify(false)) == key("http://a/"));  // no part of the key of http
}

TEST_CASE("a request goes out again on a new connection if an old one died, and it may") {
  const auto after_loss = [](std::string method, bool used, std::string_view answer) {
    Transfer transfer(request(std::move(method), "body"), nullptr, 1 << 20);
    transfer.attach(used);
    const std::string first = sent(transfer);
    if (!answer.empty()) transfer.received(answer);
    transfer.lost();
    if (!transfer.wants_connection()) return name_of(transfer.failure().value());
    CHECK(transfer.wants_new_connection());
    transfer.attach(false);
    CHECK(sent(transfer) == first);
    transfer.lost();
    CHECK(transfer.done());
    return std::string("again");
  };
  CHECK(after_loss("GET", true, "") == "again");
  CHECK(after_loss("PUT", true, "") == "again");
  CHECK(after_loss("POST", true, "") == "disconnected");
  CHECK(after_loss("PATCH", true, "") == "disconnected");
  CHECK(after_loss("GET", false, "") == "disconnected");
  CHECK(after_loss("GET", true, "H") == "disconnected");
  CHECK(after_loss("GET", true, ok + "Content-Length: 5\r\n\r\nhe") == "payload");

  Transfer transfer(request("PUT", std::vector<std::string>{"once"}), nullptr, 1 << 20);
  transfer.attach(true);
  sent(transfer);
  transfer.lost();
  CHECK(name_of(transfer.failure().value()) == "unrewindable");
}

TEST_CASE("a prepared request is sent by several transfers at once, whatever becomes of one") {
  const auto prepared = http::prepare(request("POST", "body"));
  Transfer first(prepared, nullptr, 1 << 20), second(prepared, nullptr, 1 << 20);
  first.attach(false);
  second.attach(false);
  const std::string bytes = sent(first);
  CHECK(bytes.ends_with("\r\n\r\nbody"));
  first.received("HTTP/1.1 303 See Other\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
  REQUIRE(first.next_hop());
  CHECK(first.request().method == "GET");
  CHECK(second.request().method == "POST");
  CHECK(sent(second) == bytes);
}

TEST_CASE("a connection is kept only after all of both sides, and nothing else") {
  const auto kept = [](const std::string& answer, bool send_all = true) {
    Transfer transfer(request("POST", std::string(100'000, 'x')), nullptr, 1 << 20);
    transfer.attach(false);
    if (send_all) sent(transfer);
    transfer.received(answer);
    CHECK(transfer.is_over() == (send_all || transfer.head().status >= 300));
    if (!transfer.is_over()) {
      sent(transfer);
      CHECK(transfer.is_over());
    }
    CHECK(transfer.succeeded());
    return transfer.keeps_connection();
  };
  CHECK(kept(ok + "Content-Length: 1\r\n\r\nx"));
  CHECK_FALSE(kept(ok + "Content-Length: 1\r\n\r\nx\r\n"));
  CHECK_FALSE(kept(ok + "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"));
  CHECK_FALSE(kept(ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  // The answer may come first; a body that the server refuses is not sent to its end.
  CHECK(kept(ok + "Content-Length: 1\r\n\r\nx", false));
  CHECK_FALSE(kept("HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\nx", false));
}

TEST_CASE("Expect: 100-continue holds the body back until it is wanted") {
  const auto begun = [] {
    auto transfer = std::make_unique<Transfer>(request("PUT", "body", {{"Expect", "100-continue"}}),
                                               nullptr, 1 << 20);
    transfer->attach(false);
    CHECK(sent(*transfer).ends_with("\r\n\r\n"));
    CHECK(transfer->expects_until().has_value());
    return transfer;
  };
  auto transfer = begun();
  transfer->received("HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(sent(*transfer) == "body");
  transfer->received(ok + "Content-Length: 0\r\n\r\n");
  CHECK(transfer->keeps_connection());

  transfer = begun();
  transfer->received("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
  CHECK(transfer->succeeded());
  CHECK_FALSE(transfer->keeps_connection());

  transfer = begun();
  transfer->stop_expecting();
  CHECK(sent(*transfer) == "body");
}

TEST_CASE("no more than the limit and one read are held, and nothing of it is lost") {
  Transfer transfer(request("GET"), nullptr, 1000);
  transfer.attach(false);
  sent(transfer);
  const std::string body(500'000, 'x');
  transfer.received(ok + "Content-Length: 500000\r\n\r\n");
  std::size_t fed = 0, taken = 0;
  int looks = 0;
  transfer.on_owner = [&] { ++looks; };
  while (!transfer.done()) {
    while (transfer.wants_input() && fed < body.size()) {
      transfer.received(std::string_view(body).substr(fed, 10'000));
      fed += 10'000;
      REQUIRE(fed - taken <= 11'000);
    }
    taken += transfer.take(700).size();
  }
  CHECK(looks > 0);
  CHECK(transfer.succeeded());
  while (transfer.available() > 0) taken += transfer.take(700).size();
  CHECK(taken == body.size());
}
