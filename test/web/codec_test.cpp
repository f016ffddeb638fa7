#include <fiber/exceptions.hpp>
#include <fiber/http/compression.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/pattern.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/websocket.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/http_heads.hpp"

namespace http = fiber::http;
using support::get;
using namespace std::string_literals;

namespace {

// Returns 200 for a head that is accepted, else the status of the refusal.
int status_of(const std::string& head, http::HeadLimits limits = {}) {
  http::MessageParser parser(http::MessageParser::Kind::request, limits);
  http::Head out;
  return parser.head(head, out) ? 200 : parser.fault().status;
}

// Returns the body of a request that is parsed in pieces; "!" and the reason if it is refused.
std::string body_of(const std::string& fields, const std::string& sent, std::size_t piece) {
  http::MessageParser parser(http::MessageParser::Kind::request);
  http::Head head;
  const std::string text = get(fields);
  if (!parser.head(text, head)) return "!head";
  std::string held;
  std::string body;
  for (std::size_t at = 0; !parser.done();) {
    http::BodyStep step;
    if (!parser.step(held, step)) return "!" + std::to_string(parser.fault().status);
    body += step.data;
    held.erase(0, step.consumed);
    if (!step.data.empty() || !step.need_more) continue;
    if (at == sent.size()) return "?" + body;
    held += sent.substr(at, piece);
    at += std::min(piece, sent.size() - at);
  }
  return body;
}

std::string match(std::string_view expression, std::string_view text) {
  http::Pattern pattern;
  pattern.add_literal("/");
  pattern.add_group(expression);
  std::vector<std::string_view> groups;
  return pattern.match(text, groups) ? std::string(groups.at(0)) : "no";
}

}  // namespace

TEST_CASE("input that a proxy could read differently is refused") {
  CHECK(status_of(get("")) == 200);
  CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.0\r\n\r\n") == 200);
  CHECK(status_of(get("Host: y\r\n")) == 400);
  CHECK(status_of("GET / HTTP/2.0\r\nHost: x\r\n\r\n") == 505);
  for (const std::string& fields : {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"s,
                                    "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"s,
                                    "Content-Length: 1\r\nContent-Length: 1\r\n"s,
                                    "Content-Length: 1, 1\r\n"s,
                                    "Content-Length: +1\r\n"s,
                                    "Content-Length: -1\r\n"s,
                                    "Content-Length: 0x1\r\n"s,
                                    "Content-Length: \r\n"s,
                                    "Content-Length: 18446744073709551616\r\n"s,
                                    "Transfer-Encoding: gzip, chunked\r\n"s,
                                    "Transfer-Encoding: identity\r\n"s,
                                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"s,
                                    "Transfer-Encoding: xchunked\r\n"s,
                                    "Transfer-Encoding : chunked\r\n"s,
                                    "A : b\r\n"s,
                                    " A: b\r\n"s,
                                    "A: b\r\n c\r\n"s,
                                    "A:\r\n\tb\r\n"s,
                                    "A: b\nB: c\r\n"s,
                                    "A: b\rc\r\n"s,
                                    "A: b\0c\r\n"s,
                                    "A\r\n"s,
                                    ": b\r\n"s,
                                    "A(: b\r\n"s,
                                    "A: b\x7F\r\n"s}) {
    CAPTURE(fields);
    CHECK(status_of(get(fields)) == 400);
  }
  CHECK(status_of("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
  CHECK(status_of("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n") != 200);
  CHECK(status_of(get("A: \xC3\xA4\r\n")) == 200);
}

TEST_CASE("a target has one of the four forms") {
  const auto of = [](const std::string& method, const std::string& target) {
    return status_of(method + " " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  };
  for (const char* good : {"/", "//a", "/a?b#c", "http://x", "http://x/a", "http://x?a", "*"})
    CHECK(of("GET", good) == 200);
  for (const char* bad : {"a", "a/b", "../a", "?a", "#a", "x:80", "http:/a", "http:", "a/http://x",
                          "http://", "http:///a", "http://?a"})
    CHECK(of("GET", bad) == 400);
  CHECK(of("CONNECT", "x:80") == 200);
}

TEST_CASE("a head has limits") {
  const http::HeadLimits limits{.line = 30, .field = 20, .fields = 3, .head = 1000};
  CHECK(status_of(get("A: " + std::string(19, 'b') + "\r\n"), limits) == 200);
  CHECK(status_of(get("A: " + std::string(20, 'b') + "\r\n"), limits) == 431);
  CHECK(status_of(get("A: b\r\nC: d\r\n"), limits) == 200);
  CHECK(status_of(get("A: b\r\nC: d\r\nE: f\r\n"), limits) == 431);
  const auto with_line_of = [&](std::size_t size) {
    return "GET /" + std::string(size - 14, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n";
  };
  CHECK(status_of(with_line_of(30), limits) == 200);
  CHECK(status_of(with_line_of(31), limits) == 414);
}

TEST_CASE("an empty body in chunks, however its end comes") {
  for (const std::string& sent :
       {"0\r\n\r\n"s, "00\r\n\r\n"s, "0;a\r\n\r\n"s, "0\r\nA: b\r\n\r\n"s})
    for (std::size_t piece = 1; piece <= sent.size(); ++piece) {
      CAPTURE(sent);
      CAPTURE(piece);
      CHECK(body_of("Transfer-Encoding: chunked\r\n", sent, piece).empty());
      CHECK(body_of("Transfer-Encoding: chunked\r\n", "4\r\n00\r\n\r\n" + sent, piece) == "00\r\n");
      CHECK(body_of("Transfer-Encoding: chunked\r\n", sent.substr(0, piece - 1), 1) == "?");
    }
  CHECK(body_of("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n", 1) == "!400");
}

TEST_CASE("a head gives method, target, length, fields and the peer's wishes") {
  http::MessageParser parser(http::MessageParser::Kind::request);
  http::Head head;
  REQUIRE(
      parser.head("POST /a?b HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
                  "Upgrade: websocket\r\ncontent-LENGTH: 12\r\nExpect: 100-continue\r\n\r\n",
                  head));
  CHECK(head.method == "POST");
  CHECK(head.target == "/a?b");
  CHECK(head.content_length == 12);
  CHECK(head.keep_alive);
  CHECK(head.upgrade);
  CHECK(head.expects);
  CHECK_FALSE(head.chunked);
  CHECK(head.field("host") == "h");
  CHECK_FALSE(parser.done());
  // The parser is used a second time.
  REQUIRE(parser.head("GET / HTTP/1.0\r\n\r\n", head));
  CHECK(head.fields.empty());
  CHECK_FALSE(head.keep_alive);
  CHECK_FALSE(head.content_length.has_value());
  CHECK(parser.done());
}

TEST_CASE("bodies, however their bytes are cut") {
  const std::string chunks = "5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n";
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{99}}) {
    CAPTURE(piece);
    CHECK(body_of("Content-Length: 5\r\n", "hello", piece) == "hello");
    CHECK(body_of("Content-Length: 5\r\n", "hell", piece) == "?hell");
    CHECK(body_of("Transfer-Encoding: chunked\r\n", chunks, piece) == "hello!");
    for (const std::string& bad :
         {"+5\r\nhello\r\n0\r\n\r\n"s, " 5\r\nhello\r\n0\r\n\r\n"s, "0x5\r\nhello\r\n0\r\n\r\n"s,
          "5 \r\nhello\r\n0\r\n\r\n"s, "\r\nhello\r\n0\r\n\r\n"s, "5\r\nhelloX\r\n0\r\n\r\n"s,
          "5\r\nhello\n0\r\n\r\n"s, "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n"s,
          "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"s, "g\r\nhello\r\n0\r\n\r\n"s}) {
      CAPTURE(bad);
      CHECK(body_of("Transfer-Encoding: chunked\r\n", bad, piece) == "!400");
    }
  }
}

TEST_CASE("a malformed line of a body is refused at its end, whatever follows") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{99}}) {
    CAPTURE(piece);
    for (const std::string& before : {""s, "1\r\nx\r\n"s}) {
      CAPTURE(before);
      const std::string x = before.empty() ? "" : "x";
      for (const std::string& bad :
           {"5\n"s, "5;a\n"s, "5;a=\"\n"s, "5;a=\"\r\n"s, "5;a=\"\\\"\r\n"s, "0\n\n"s,
            "0;a=\"\r\n"s, "0\r\nA: b\n"s, "0\r\nA: b\r\n c\r\n"s}) {
        CAPTURE(bad);
        CHECK(body_of("Transfer-Encoding: chunked\r\n", before + bad, piece) == "!400");
      }
      for (const std::string& good : {"0;a=\"b;\\\"\"\r\n\r\n"s, "0\r\nA: \"\r\nB: b\r\n\r\n"s}) {
        CAPTURE(good);
        CHECK(body_of("Transfer-Encoding: chunked\r\n", before + good, piece) == x);
      }
    }
  }
}

TEST_CASE("the head of a chunk and all trailers have a limit, however their bytes are cut") {
  const auto body = [](const std::string& sent, std::size_t piece) {
    return body_of("Transfer-Encoding: chunked\r\n", sent, piece);
  };
  const auto many = [](const std::string& line, std::size_t count) {
    std::string lines;
    for (std::size_t i = 0; i < count; ++i) lines += line;
    return lines;
  };
  for (const std::size_t piece : {std::size_t{1}, std::size_t{512}, std::size_t{100'000}}) {
    CAPTURE(piece);
    for (const std::string& before : {""s, "1\r\nx\r\n"s}) {
      CAPTURE(before);
      const std::string x = before.empty() ? "" : "x";
      const std::string end = "\r\nhello\r\n0\r\n\r\n";
      CHECK(body(before + "5;a=" + std::string(8000, 'b') + end, piece) == x + "hello");
      CHECK(body(before + "5;a=" + std::string(8200, 'b') + end, piece) == "!400");
      CHECK(body(before + "5;a=" + std::string(8200, 'b'), piece) == "!400");
      CHECK(body(before + std::string(8200, '0') + "5" + end, piece) == "!400");
      CHECK(body(before + "0\r\n" + many("A: b\r\n", 127) + "\r\n", piece) == x);
      CHECK(body(before + "0\r\n" + many("A: b\r\n", 129) + "\r\n", piece) == "!400");
      CHECK(body(before + "0\r\nA: " + std::string(8000, 'b') + "\r\n\r\n", piece) == x);
      CHECK(body(before + "0\r\nA: " + std::string(8200, 'b') + "\r\n\r\n", piece) == "!400");
      CHECK(body(before + "0\r\nA:" + std::string(8200, ' ') + "b\r\n\r\n", piece) == "!400");
      CHECK(body(before + "0\r\nA: " + std::string(8200, 'b'), piece) == "!400");
    }
  }
}

TEST_CASE("patterns match as Python's do") {
  CHECK(match("\\d+", "/12") == "12");
  CHECK(match("\\d+", "/12a") == "no");
  CHECK(match("[a-c]{2,3}", "/abc") == "abc");
  CHECK(match("[a-c]{2,3}", "/a") == "no");
  CHECK(match("[^/]+", "/a/b") == "no");
  CHECK(match(".*", "/a/b") == "a/b");
  CHECK(match("a|bc|b", "/bc") == "bc");
  CHECK(match("(?:ab)*c?", "/ababc") == "ababc");
  CHECK(match("(a|b)+\\.x", "/abba.x") == "abba.x");
  CHECK(match("a??b", "/ab") == "ab");
  CHECK(match("(a*)*b", "/" + std::string(2000, 'a')) == "no");  // and fast
  for (const char* bad :
       {"(", "a)", "[a", "*", "a**", "a{2,1}", "\\", "\\q", "(?=a)", "^a", "[b-a]"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(match(bad, "/a"), fiber::ValueError);
  }
}

TEST_CASE("dates, forms, cookies, types") {
  CHECK(http::format_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
  for (const char* date : {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                           "Sun Nov  6 08:49:37 1994"})
    CHECK(http::parse_date(date) == 784111777);
  for (const char* none : {"yesterday", "Sun, 30 Feb 1994 08:49:37 GMT",
                           "Tue, 29 Feb 1900 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT"})
    CHECK_FALSE(http::parse_date(none).has_value());
  CHECK(http::parse_form("a=1&b=x+y%21&c&=d") ==
        http::Params{{"a", "1"}, {"b", "x y!"}, {"c", ""}, {"", "d"}});
  CHECK(http::parse_cookies("a=1; b=\"2\"; bad name=3; c") == http::Params{{"a", "1"}, {"b", "2"}});
  CHECK(http::parse_form("a&&b&", false, 2).size() == 2);
  CHECK_THROWS_AS(http::parse_form("a&b&c", false, 2), fiber::ValueError);
  CHECK(http::parse_form("a=%e9+\u00E9%zz", true) == http::Params{{"a", "\u00E9 \u00E9%zz"}});
  CHECK(http::parse_cookies("a=\"x;y\" ; b=\"\\073\\054 \\\"q\\\" \\\\\";c = 3") ==
        http::Params{{"a", "x;y"}, {"b", ";, \"q\" \\"}, {"c", "3"}});
  CHECK(http::parse_cookies("a=\"open; b=\"1\"2; c=\"\\; d=\"\"") ==
        http::Params{{"a", "\"open"}, {"b", "\"1\"2"}, {"c", "\"\\"}, {"d", ""}});
  const auto type = http::parse_media_type("Text/HTML; Charset=\"utf-8\"; x; b=c\\");
  CHECK(type.type == "text/html");
  CHECK(type.parameter("charset") == "utf-8");
  CHECK(http::unquote("%41%zz%e2%82%ac%ff") == "A%zz\u20AC\uFFFD");
  CHECK(http::base64("hello") == "aGVsbG8=");
  CHECK(http::base64_decode("aGVsbG8=") == "hello");
  CHECK_FALSE(http::base64_decode("a").has_value());
}

TEST_CASE("a small input that stands for a large output is not large at once") {
  std::string packed;
  http::Compressor compressor(http::Wrapping::gzip);
  compressor.feed(std::string(10'000'000, 'a'), packed);
  compressor.finish(packed);
  http::Decompressor decompressor(http::Wrapping::gzip);
  std::string_view rest = packed;
  std::string out;
  CHECK(decompressor.feed(rest, out, 1000) == http::Decompressor::Result::more_output);
  CHECK(out.size() == 1000);
  std::size_t total = out.size();
  auto result = http::Decompressor::Result::more_output;
  while (result == http::Decompressor::Result::more_output) {
    out.clear();
    result = decompressor.feed(rest, out, 65536);
    REQUIRE(out.size() <= 65536);
    total += out.size();
  }
  CHECK(result == http::Decompressor::Result::end);
  CHECK(total == 10'000'000);
  CHECK(decompressor.complete());
}

// --- WebSocket ----------------------------------------------------------------------------------

namespace {

// Parses frames one byte at a time: returns the messages, then "!" and the code of a fault.
std::string read_frames(const std::string& bytes, http::FrameReader::Options options) {
  http::FrameReader reader(options);
  std::string all;
  for (const char byte : bytes) {
    reader.feed({&byte, 1});
    while (const auto message = reader.next())
      all += std::to_string(static_cast<int>(message->opcode)) + ":" + message->data + " ";
  }
  if (reader.fault() != 0) all += "!" + std::to_string(reader.fault());
  return all;
}

}  // namespace

TEST_CASE("the handshake's answer") {
  CHECK(http::accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  http::DeflateTerms terms;
  CHECK(http::answer_extensions("foo, permessage-deflate; client_max_window_bits", terms) ==
        "permessage-deflate");
  CHECK(http::answer_extensions("permessage-deflate; server_max_window_bits=10; "
                                "server_no_context_takeover",
                                terms) ==
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10");
  CHECK(terms.own_bits == 10);
  CHECK(http::answer_extensions("permessage-deflate; server_max_window_bits=99", terms) == "");
}

TEST_CASE("frames are as RFC 6455 has them") {
  const http::FrameReader::Options server{.masked = false};
  CHECK(read_frames("\x81\x05Hello", server) == "1:Hello ");
  CHECK(read_frames("\x01\x03Hel\x89\x01p\x80\x02lo", server) == "9:p 1:Hello ");
  CHECK(read_frames("\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58", {}) == "1:Hello ");
  CHECK(read_frames("\x81\x05Hello", {}) == "!1002");                 // not masked
  CHECK(read_frames("\x81\x85\x37\xFA\x21\x3D", server) == "!1002");  // masked
  CHECK(read_frames("\xC1\x01x", server) == "!1002");                 // a reserved bit
  CHECK(read_frames("\x83\x01x", server) == "!1002");                 // an unknown opcode
  CHECK(read_frames("\x80\x01x", server) == "!1002");                 // nothing to continue
  CHECK(read_frames("\x01\x01x\x81\x01y", server) == "!1002");        // one within another
  CHECK(read_frames("\x09\x01x", server) == "!1002");                 // a fragment of a ping
  CHECK(read_frames("\x89\x7E", server) == "!1002");                  // a long ping
  CHECK(read_frames("\x88\x01x", server) == "!1002");                 // half a code
  CHECK(read_frames(std::string("\x88\x02\x03\xED", 4), server) == "!1002");  // 1005
  CHECK(read_frames("\x81\x01\xFF", server) == "!1007");
  CHECK(read_frames("\x82\x01\xFF", server) == "2:\xFF ");
  CHECK(read_frames(std::string("\x81\x7E\x00\x05Hello", 9), server) == "!1002");  // too wide
  CHECK(read_frames("\x82\x05hello", {.masked = false, .most = 4}) == "!1009");
  CHECK(read_frames("\x02\x03hel\x80\x02lo", {.masked = false, .most = 4}) == "!1009");
}

TEST_CASE("a compressed message may have a last block, as an example of RFC 7692 has") {
  const http::DeflateTerms deflate{.own_bits = 15, .peer_bits = 15};
  const http::FrameReader::Options options{.masked = false, .deflate = deflate};
  const std::string last("\xC1\x08\xF3\x48\xCD\xC9\xC9\x07\x00\x00", 10);
  const std::string plain("\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00", 9);
  CHECK(read_frames(plain + last + last + plain, options) == "1:Hello 1:Hello 1:Hello 1:Hello ");
  const std::string two("\xC1\x0E\xF3\x48\xCD\xC9\xC9\x07\x00\xF2\x48\xCD\xC9\xC9\x07\x00", 16);
  CHECK(read_frames(two, options) == "1:HelloHello ");
}

TEST_CASE("messages that one side writes the other reads") {
  const http::DeflateTerms deflate{.own_bits = 15, .peer_bits = 15};
  const http::DeflateTerms fresh{
      .own_bits = 9, .peer_bits = 15, .own_fresh = true, .peer_fresh = true};
  for (const http::DeflateTerms& terms : {http::DeflateTerms{}, deflate, fresh}) {
    for (const bool mask : {false, true}) {
      http::FrameWriter writer(mask, terms);
      http::FrameReader reader({.masked = mask, .deflate = terms});
      for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 200000U}) {
        std::string sent(size, 'x');
        for (std::size_t i = 0; i < size; i += 7) sent[i] = static_cast<char>('a' + i % 23);
        std::string bytes;
        writer.write(http::Opcode::binary, sent, bytes);
        reader.feed(bytes);
        const auto message = reader.next();
        REQUIRE(message.has_value());
        CHECK(message->data == sent);
      }
    }
  }
  // A decompression bomb is refused.
  http::FrameWriter writer(false, deflate);
  std::string bytes;
  writer.write(http::Opcode::text, std::string(5'000'000, 'a'), bytes);
  http::FrameReader reader({.masked = false, .deflate = deflate});
  reader.feed(bytes);
  CHECK_FALSE(reader.next().has_value());
  CHECK(reader.fault() == 1009);
}
