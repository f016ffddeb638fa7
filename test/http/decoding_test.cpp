// The bytes of a body become content and text: codings, their limits, charsets.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/http/charset.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/requests.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_outcome.hpp"
#include "support/http_server.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <zlib.h>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace requests = fiber::requests;
using asyncio::await;
using fiber::http::decode;
using support::HttpServer;
using support::text_of;
using support::with_session;

using namespace std::string_literals;

namespace {

// Compresses a text. `bits`: 31 for gzip, 15 for deflate in zlib's wrapping, -15 for raw deflate.
std::string compress(const std::string& text, int bits = 31) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, bits, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string answer(const std::string& coding, const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Encoding: " + coding +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

const std::string fffd = "\ufffd";

}  // namespace

TEST_CASE("codings are undone, and unknown ones are left alone") {
  HttpServer server;
  const std::string gzip = compress("hello"), zlib = compress("hello", 15),
                    raw = compress("hello", -15);
  std::string wrong_sum = gzip;
  wrong_sum[gzip.size() - 8] = static_cast<char>(wrong_sum[gzip.size() - 8] ^ 1);
  const std::string error_a = "ClientPayloadError", error_r = "ContentDecodingError";
  struct Case {
    std::string coding, body, requests_says, aiohttp_says;
  };
  for (const Case& each : std::vector<Case>{
           {"gzip", gzip, "200 hello", "200 hello"},
           {" GZip ", gzip, "200 hello", "200 hello"},
           {"x-gzip", gzip, "200 hello", "200 hello"},
           {"gzip", gzip + gzip, "200 hellohello", "200 hellohello"},
           {"gzip", gzip + std::string(3, '\0'), "200 hello", "200 hello"},
           {"gzip", gzip + "junk", "200 hello", "200 hello"},
           {"gzip", gzip + "\x1fjunk", "200 hello", "200 hello"},
           {"gzip", "", "200 ", "200 "},
           {"gzip", "nonsense", error_r, error_a},
           {"gzip", wrong_sum, error_r, error_a},
           {"deflate", zlib, "200 hello", "200 hello"},
           {"deflate", raw, "200 hello", "200 hello"},
           {"deflate", zlib.substr(0, zlib.size() - 2), "200 hello", error_a},
           {"deflate", zlib.substr(0, 2), "200 ", error_a},
           {"deflate", "", "200 ", "200 "},
           {"identity", "x", "200 x", "200 x"},
           {"utf-8", "x", "200 x", "200 x"},
           {"gzip, unheard-of", gzip, "200 " + gzip, "200 " + gzip},
           {"deflate, gzip", compress(zlib), "200 hello", "200 " + compress(zlib)},
           {"gzip\r\nContent-Encoding: gzip", compress(gzip), "200 hello", "200 " + compress(gzip)},
           {"gzip,gzip,gzip,gzip,gzip,gzip", gzip, error_r, error_a},
       }) {
    server.answer_with("/coded", {answer(each.coding, each.body)});
    CAPTURE(each.coding);
    CAPTURE(each.requests_says);
    CHECK(support::with_requests(server.url("/coded")) == each.requests_says);
    CHECK(support::with_aiohttp(server.url("/coded")) == each.aiohttp_says);
  }
}

TEST_CASE("br and zstd are undone where Accept-Encoding names them, and zstd is whole or wrong") {
  HttpServer server;
  const std::string accepted = fiber::http::accepted_encodings;
  const std::string br("\x0b\x02\x80hello\x03", 9);
  const std::string zstd("\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello", 14);
  const auto check = [&](const std::string& coding, const std::string& body) {
    const bool known = accepted.find(coding) != accepted.npos;
    server.answer_with("/coded", {answer(coding, body)});
    CHECK(support::with_requests(server.url("/coded")) == "200 " + (known ? "hello" : body));
    server.answer_with("/coded", {answer(coding, "\xff\xff\xff\xff")});
    CHECK(support::with_requests(server.url("/coded")) ==
          (known ? "ContentDecodingError" : "200 \xff\xff\xff\xff"));
    CHECK(support::with_aiohttp(server.url("/coded")) ==
          (known ? "ClientPayloadError" : "200 \xff\xff\xff\xff"));
  };
  check("br", br);
  check("zstd", zstd);
  if (accepted.find("zstd") != accepted.npos)
    for (const std::size_t size : {std::size_t{1}, std::size_t{9}, zstd.size() - 1}) {
      server.answer_with("/coded", {answer("zstd", zstd.substr(0, size))});
      CHECK(support::with_requests(server.url("/coded")) == "ContentDecodingError");
      CHECK(support::with_aiohttp(server.url("/coded")) == "ClientPayloadError");
    }
  CHECK(requests::get(server.url("/echo")).content.find("Accept-Encoding: " + accepted + "\r\n") !=
        std::string::npos);
}

TEST_CASE("an error late in a body is thrown after the bytes before it") {
  HttpServer server;
  std::string body = compress(HttpServer::body(1'000'000));
  body[body.size() - 6] = static_cast<char>(body[body.size() - 6] ^ 1);
  server.answer_with("/coded", {answer("gzip", body)});
  auto response = requests::get(server.url("/coded"), {.stream = true});
  std::string got;
  CHECK_THROWS_AS(
      [&] {
        for (const auto& piece : response.iter_content(0)) got += piece;
      }(),
      requests::ContentDecodingError);
  CHECK(got == HttpServer::body(1'000'000));
}

TEST_CASE("a bomb is decompressed as it is read, piece by piece, and others have their turns") {
  HttpServer server;
  constexpr std::size_t size = 32 * 1024 * 1024;
  server.answer_with("/bomb", {answer("gzip", compress(std::string(size, '\0')))});
  std::size_t most = 0, total = 0;
  const auto count = [&](std::string_view piece) {
    most = std::max(most, piece.size());
    total += piece.size();
  };
  CHECK(requests::get(server.url("/bomb"), {.stream_to = count}).ok());
  CHECK(total == size);
  CHECK(most <= 256 * 1024);
  most = total = 0;
  with_session([&](aiohttp::ClientSession& session) {
    int turns = 0;
    bool done = false;
    auto other = asyncio::create_task([&] {
      while (!done) {
        await(asyncio::sleep(0));
        ++turns;
      }
    });
    asyncio::with(session.get(server.url("/bomb")), [&](auto& response) {
      for (const std::string& piece : response.content.iter_any()) count(piece);
    });
    done = true;
    await(other);
    CHECK(turns >= static_cast<int>(size / (1024 * 1024)));
  });
  CHECK(total == size);
  CHECK(most <= 64 * 1024);
}

TEST_CASE("max_body_size bounds what is decompressed, and what is not compressed") {
  HttpServer server;
  server.answer_with("/bomb", {answer("gzip", compress(std::string(4'000'000, '\0')))});
  server.answer_with("/plain", {answer("identity", std::string(4'000'000, 'x'))});
  server.answer_with("/fits", {answer("gzip", compress("12345"))});
  for (const char* path : {"/bomb", "/plain"}) {
    CHECK(support::with_requests(server.url(path), {.max_body_size = 3'999'999}) ==
          "ContentDecodingError");
    CHECK(support::with_requests(server.url(path), {.max_body_size = 4'000'000}).size() ==
          4'000'004);
    CHECK(support::with_aiohttp(server.url(path), {.max_body_size = 3'999'999}) ==
          "ClientPayloadError");
    CHECK(support::with_aiohttp(server.url(path), {.max_body_size = 4'000'000}).size() ==
          4'000'004);
  }
  requests::Session session;
  session.max_body_size = 4;
  CHECK(text_of<requests::ContentDecodingError>([&] { session.get(server.url("/fits")); }) ==
        "The body has more bytes than max_body_size=4 for url: " + server.url("/fits"));
  CHECK(session.get(server.url("/fits"), {.max_body_size = 5}).content == "12345");
  with_session({.max_body_size = 4}, [&](aiohttp::ClientSession& client) {
    auto response = await(client.get(server.url("/fits")));
    CHECK(await(response.content.read(100)) == "1234");
    CHECK_THROWS_AS(await(response.content.read(100)), aiohttp::ClientPayloadError);
  });
}

TEST_CASE("codings within codings that hold no content end early") {
  const std::string nothing = compress("");
  std::string members;
  while (members.size() <= 20'000'000) members += nothing;
  HttpServer server;
  server.answer_with("/empty", {answer("gzip, gzip", compress(members))});
  server.answer_with("/few", {answer("gzip, gzip", compress(nothing + compress("text")))});
  CHECK(support::with_requests(server.url("/empty")) == "ContentDecodingError");
  CHECK(support::with_requests(server.url("/few")) == "200 text");
}

TEST_CASE("the body of an error that is larger than the buffer for pieces arrives whole") {
  HttpServer server;
  const std::string body = HttpServer::body(3'000'000);
  server.answer_with("/error", {"HTTP/1.1 500 E\r\nContent-Length: 3000000\r\n\r\n" + body});
  const auto response = requests::get(server.url("/error"), {.stream_to = [](std::string_view) {}});
  CHECK(response.content == body);
}

TEST_CASE("a charset that Python does not know is taken for UTF-8, whatever iconv knows") {
  const std::string bytes = "\x40\x81\xa4\x0e";
  for (const std::string& name :
       {std::string("ISO-2022-CN-EXT"), std::string("ISO-2022-CN"), std::string("UTF-16//TRANSLIT"),
        std::string("latin1//IGNORE"), std::string("../../tmp/x"), std::string("latin1\0x", 8),
        std::string("\xff\xfe"), std::string(100'000, 'a'), std::string("iso-8859-"),
        std::string("iso-8859-99999999999"), std::string("INTERNAL"), std::string("UCS-4"),
        std::string()}) {
    CAPTURE(name.substr(0, 20));
    CHECK(decode(bytes, name) == "@" + fffd + fffd + "\x0e");
  }
}

TEST_CASE("charsets are found under Python's spellings") {
  for (const char* name : {"cp819", "csISOLatin1", "ISO_8859-1:1987", "iso-ir-100", "8859"})
    CHECK_MESSAGE(decode("\xe4", name) == "\u00e4", name);
  for (const char* name : {"ibm850", "850", "cspc850multilingual"})
    CHECK_MESSAGE(decode("\x84", name) == "\u00e4", name);
  CHECK(decode("\x82\xa0", "ms_kanji") == "\u3042");
  CHECK(decode("\xb0\xa1", "korean") == "\uac00");
  CHECK(decode("\xb0\xa1", "chinese") == "\u554a");
  for (const char* name : {"latin-1", "latin1", "L1", "ISO-8859-1", "iso8859_1", "ISO_8859-1"})
    CHECK(decode("gr\xfc\xdf", name) == "gr\u00fc\u00df");
  CHECK(decode("\x80", "windows-1252") == "\u20ac");
  CHECK(decode("\x80", "cp1252") == "\u20ac");
  CHECK(decode("\xa4", "ISO-8859-15") == "\u20ac");
  CHECK(decode("\xc1", "KOI8-R") == "\u0430");
  CHECK(decode("\x82\xa0", "Shift_JIS") == "\u3042");
  CHECK(decode("\xa4\xa2", "euc_jp") == "\u3042");
  CHECK(decode("\x1b$B$\"\x1b(B", "ISO-2022-JP") == "\u3042");
  CHECK(decode(std::string("\xff\xfe\xe4\0", 4), "utf-16") == "\u00e4");
  CHECK(decode(std::string("\0\xe4", 2), "UTF-16BE") == "\u00e4");
  CHECK(decode("\xef\xbb\xbfx", "utf-8-sig") == "x");
  CHECK(decode("\xe4", "us-ascii") == fffd);
}

TEST_CASE("malformed UTF-8 is replaced as Python replaces it") {
  CHECK(decode("cut \xe2\x82", "utf-8") == "cut " + fffd);
  CHECK(decode("\xe2\x82x", "utf-8") == fffd + "x");
  CHECK(decode("\xc0\x80", "utf-8") == fffd + fffd);
  CHECK(decode("\xed\xa0\x80", "utf-8") == fffd + fffd + fffd);
  CHECK(decode("\xf4\x90\x80\x80", "utf-8") == fffd + fffd + fffd + fffd);
  CHECK(decode("\xf0\x9f\x98", "utf-8") == fffd);
  CHECK(decode("\xf0\x9f\x98\x80", "utf-8") == "\U0001F600");
  CHECK(decode(std::string("a\0b", 3), "utf-8") == std::string("a\0b", 3));
}

TEST_CASE("a character that is cut off at the end is one U+FFFD, in every charset") {
  CHECK(decode("x\x82", "shift_jis") == "x" + fffd);
  CHECK(decode("x\xa4", "euc-jp") == "x" + fffd);
  CHECK(decode("x\x81", "gb18030") == "x" + fffd);
  CHECK(decode(std::string("x\0y", 3), "utf-16le") == "x" + fffd);
  CHECK(decode("\x1b$B$", "iso-2022-jp") == fffd);
  // A letter at the end that another byte could have changed is not lost.
  CHECK(decode("\x88\x66", "big5-hkscs") == "\u00ca");
  CHECK(decode("\x88\x62", "big5-hkscs") == "\u00ca\u0304");
}

TEST_CASE("text behind a malformed character is read from its own beginning") {
  CHECK(decode("\xdf\xd8x"s + '\0' + "y" + '\0', "utf-16-le") == fffd + "xy");
  CHECK(decode("\xd8\xdf"s + '\0' + "x" + '\0' + "y", "utf-16-be") == fffd + "xy");
  CHECK(decode("\xff\xff\xff\xffx\0\0\0"s, "utf-32-le") == fffd + "x");
  CHECK(decode("\0\0\xd8\0\0\0\0x"s, "utf-32-be") == fffd + "x");
}

TEST_CASE("backslash and tilde are those of ASCII in the charsets of Japan and Korea") {
  CHECK(decode("{\"\x82\xa0\": \"~\\n\"}", "shift_jis") == "{\"\u3042\": \"~\\n\"}");
  for (const char* name :
       {"shift_jis", "cp932", "euc-jp", "iso-2022-jp", "johab", "euc-kr", "cp949"})
    CHECK_MESSAGE(decode("\\~", name) == "\\~", name);
  CHECK(decode("\x80", "ptcp154") == "\u0496");
}

TEST_CASE("every byte string in every charset is decoded within its bounds") {
  for (const char* name : {"utf-8",         "utf-7",       "utf-16", "utf-32",    "big5",
                           "big5-hkscs",    "cp932",       "cp949",  "euc-jp",    "euc-kr",
                           "euc-jisx0213",  "gb18030",     "gb2312", "gbk",       "iso-2022-jp",
                           "iso-2022-jp-2", "iso-2022-kr", "johab",  "shift_jis", "shift_jisx0213",
                           "tis-620",       "no-such"})
    for (int first = 0; first < 256; first += 5)
      for (const int second : {0x00, 0x0e, 0x1b, 0x24, 0x30, 0x40, 0x7e, 0x80, 0xa1, 0xfe, 0xff}) {
        // The buffer has exactly this size, so that AddressSanitizer sees a read beyond it.
        const std::vector<char> bytes{static_cast<char>(first), static_cast<char>(second)};
        decode({bytes.data(), 2}, name);
        decode({bytes.data(), 1}, name);
      }
}
