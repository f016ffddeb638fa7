// json= and json() of both clients. The texts and messages are those of Python's json module.

#include <fiber/aiohttp.hpp>
#include <fiber/http/json.hpp>
#include <fiber/requests.hpp>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace requests = fiber::requests;
namespace aiohttp = fiber::aiohttp;
using fiber::asyncio::await;
using namespace std::string_literals;
using support::HttpServer;
using support::text_of;
using support::with_session;
using Value = nlohmann::json;

namespace {

std::string answer(const std::string& body, const std::string& type = "application/json") {
  return "HTTP/1.1 200 OK\r\n" + (type.empty() ? "" : "Content-Type: " + type + "\r\n") +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Returns the message of json.loads() for a text; "" if the text is JSON.
std::string fault(const std::string& text) {
  requests::Response response;
  response.content = text;
  response.encoding = "utf-8";
  try {
    response.json();
  } catch (const requests::JSONDecodeError& error) {
    CHECK(error.doc() == text);
    return error.what();
  }
  return "";
}

std::string dumps(const Value& value) { return requests::Json(value).text(); }

}  // namespace

TEST_CASE("json= is sent as json.dumps writes it, with its content type") {
  HttpServer server;
  const nlohmann::ordered_json value{{"b", 1}, {"a", {1.5, nullptr, true, "\u00e4\n"}}};
  const std::string text = R"({"b": 1, "a": [1.5, null, true, "\u00e4\n"]})";
  const auto sent = [&] { return server.received().back(); };
  CHECK(requests::post(server.url("/echo"), {.json = value}).ok());
  CHECK(sent().ends_with("\r\n\r\n" + text));
  CHECK(sent().find("Content-Type: application/json\r\n") != std::string::npos);
  CHECK(requests::post(server.url("/echo"),
                       {.json = value, .headers = {{"Content-Type", "application/x"}}})
            .ok());
  CHECK(sent().find("Content-Type: application/x\r\n") != std::string::npos);
  with_session([&](aiohttp::ClientSession& session) {
    await(session.put(server.url("/echo"), {.json = value}));
    CHECK(sent().ends_with("\r\n\r\n" + text));
    CHECK(sent().find("Content-Type: application/json\r\n") != std::string::npos);
  });
}

TEST_CASE("json= beside data=: requests sends the data, aiohttp refuses both") {
  HttpServer server;
  CHECK(requests::post(server.url("/echo"), {.data = "bytes", .json = Value{1}})
            .content.ends_with("\r\n\r\nbytes"));
  with_session([&](aiohttp::ClientSession& session) {
    CHECK(text_of<fiber::ValueError>([&] {
            await(session.post(server.url("/echo"), {.data = "bytes", .json = Value{1}}));
          }) == "data and json parameters can not be used at the same time");
  });
}

TEST_CASE("an empty form or text is no data in requests: json= is sent, or nothing") {
  HttpServer server;
  for (const requests::Body& empty : {requests::Body(requests::Params{}), requests::Body("")}) {
    const std::string sent =
        requests::post(server.url("/echo"), {.data = empty, .json = Value{1}}).content;
    CHECK(sent.ends_with("\r\n\r\n[1]"));
    CHECK(sent.find("Content-Type: application/json") != sent.npos);
    const std::string nothing = requests::post(server.url("/echo"), {.data = empty}).content;
    CHECK(nothing.find("Content-Type") == nothing.npos);
    CHECK(nothing.find("Content-Length: 0") != nothing.npos);
  }
}

TEST_CASE("null is None: there is no body") {
  HttpServer server;
  const auto echo = requests::post(server.url("/echo"), {.json = Value(nullptr)}).content;
  CHECK(echo.find("application/json") == echo.npos);
  CHECK(echo.ends_with("\r\n\r\n"));
  CHECK(requests::post(server.url("/echo"), {.json = Value::object()})
            .content.ends_with("\r\n\r\n{}"));
}

TEST_CASE("numbers and texts are written as json.dumps writes them") {
  const std::vector<std::pair<double, std::string>> floats = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1e16, "1e+16"},
      {1e15, "1000000000000000.0"},
      {123456789012345680.0, "1.2345678901234568e+17"},
      {0.0001, "0.0001"},
      {0.00001, "1e-05"},
      {-2.5e-7, "-2.5e-07"},
      {1e300, "1e+300"},
      {5e-324, "5e-324"},
      {1.0 / 3, "0.3333333333333333"},
      {100.0, "100.0"},
      {123456.789, "123456.789"},
  };
  for (const auto& [number, text] : floats) CHECK(dumps(number) == text);
  CHECK(dumps(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(dumps(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  CHECK(dumps("\u00e4\U0001F600\x7f\n\"\\/\b\f\r\t\x1f\0"s) ==
        R"("\u00e4\ud83d\ude00\u007f\n\"\\/\b\f\r\t\u001f\u0000")");
  CHECK(dumps({{"a", {Value::object(), Value::array(), {{"b", nullptr}}}}}) ==
        R"({"a": [{}, [], {"b": null}]})");
}

TEST_CASE("a value without a JSON text is not sent") {
  HttpServer server;
  const double infinity = std::numeric_limits<double>::infinity();
  const auto refused = [&](Value value) {
    return text_of<requests::InvalidJSONError>(
        [&] { requests::post(server.url("/echo"), {.json = value}); });
  };
  CHECK(refused({1, infinity}) == "Out of range float values are not JSON compliant");
  CHECK(refused({{"a", -infinity}}) == "Out of range float values are not JSON compliant");
  CHECK(refused(std::numeric_limits<double>::quiet_NaN()) ==
        "Out of range float values are not JSON compliant");
  CHECK(refused("a\xff") ==
        "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte");
  CHECK(refused({{"\xe2\x82", 1}}) ==
        "'utf-8' codec can't decode bytes in position 0-1: unexpected end of data");
  CHECK(text_of<fiber::TypeError>([] {
          dumps(Value::binary({1, 2}));
        }) == "Object of type bytes is not JSON serializable");
  CHECK(server.requests() == 0);
  with_session([&](aiohttp::ClientSession& session) {
    CHECK(text_of<fiber::ValueError>([&] {
            await(session.post(server.url("/echo"), {.json = Value("\xed\xa0\x80")}));
          }) == "'utf-8' codec can't decode byte 0xed in position 0: invalid continuation byte");
    CHECK(server.requests() == 0);
    // json.dumps() accepts infinities by default.
    await(session.post(server.url("/echo"), {.json = Value{infinity, -infinity}}));
    CHECK(server.received().back().ends_with("\r\n\r\n[Infinity, -Infinity]"));
  });
}

TEST_CASE("nested values fit the stack of a task, or are refused") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  HttpServer server;
  server.answer_with("/most", {answer(nested(500)), {}, 0, true});
  server.answer_with("/deep", {answer(nested(200'000)), {}, 0, true});
  server.answer_with("/broken", {answer(nested(500).substr(1)), {}, 0, true});
  server.answer_with("/text", {answer("\"\\\"" + nested(1000) + "\""), {}, 0, true});
  with_session([&](aiohttp::ClientSession& session) {
    auto response = await(session.get(server.url("/most")));
    const Value value = await(response.json());
    CHECK(dumps(value) == nested(500));
    CHECK(dumps(Value::parse(nested(200'000))) == nested(200'000));
    const auto fault = [&](const char* path) {
      auto got = await(session.get(server.url(path)));
      return text_of<aiohttp::JSONDecodeError>([&] { await(got.json()); });
    };
    CHECK(fault("/deep") ==
          "Arrays and objects are nested more than 500 deep: line 1 column 501 (char 500)");
    CHECK(fault("/broken") == "Extra data: line 1 column 999 (char 998)");
    auto text = await(session.get(server.url("/text")));
    CHECK(await(text.json()).get<std::string>() == "\"" + nested(1000));
  });
}

TEST_CASE("json() gives the value, of the kind that is asked for") {
  HttpServer server;
  server.answer_with("/json", {answer(R"( {"b": [1, 2.5, "\u00e4"], "a": null} )"), {}, 0, true});
  const auto response = requests::get(server.url("/json"));
  CHECK(response.json() == Value{{"b", {1, 2.5, "\u00e4"}}, {"a", nullptr}});
  CHECK(response.json()["b"][0].get<int>() == 1);
  CHECK(response.json<nlohmann::ordered_json>().begin().key() == "b");
  with_session([&](aiohttp::ClientSession& session) {
    auto got = await(session.get(server.url("/json")));
    CHECK(await(got.json()) == Value{{"b", {1, 2.5, "\u00e4"}}, {"a", nullptr}});
    CHECK(await(got.json<nlohmann::ordered_json>()).begin().key() == "b");
  });
}

TEST_CASE("texts that are not JSON are reported in Python's words") {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"", "Expecting value: line 1 column 1 (char 0)"},
      {"  ", "Expecting value: line 1 column 3 (char 2)"},
      {"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
      {"[", "Expecting value: line 1 column 2 (char 1)"},
      {"[1", "Expecting ',' delimiter: line 1 column 3 (char 2)"},
      {"[1,", "Expecting value: line 1 column 4 (char 3)"},
      {"[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"},
      {"{\"a\"}", "Expecting ':' delimiter: line 1 column 5 (char 4)"},
      {"{\"a\":}", "Expecting value: line 1 column 6 (char 5)"},
      {"{\"a\":1 \"b\"}", "Expecting ',' delimiter: line 1 column 8 (char 7)"},
      {"{a:1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
      {"\"abc", "Unterminated string starting at: line 1 column 1 (char 0)"},
      {"\"\\", "Unterminated string starting at: line 1 column 1 (char 0)"},
      {"\"a\nb\"", "Invalid control character at: line 1 column 3 (char 2)"},
      {"\"a\0b\""s, "Invalid control character at: line 1 column 3 (char 2)"},
      {"\"\\x\"", "Invalid \\escape: line 1 column 2 (char 1)"},
      {"\"\\u12G4\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"},
      {"\"\\u1234", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"},
      {"tru", "Expecting value: line 1 column 1 (char 0)"},
      {"01", "Extra data: line 1 column 2 (char 1)"},
      {"1.", "Extra data: line 1 column 2 (char 1)"},
      {"1e+", "Extra data: line 1 column 2 (char 1)"},
      {"-", "Expecting value: line 1 column 1 (char 0)"},
      {"+1", "Expecting value: line 1 column 1 (char 0)"},
      {"1 2", "Extra data: line 1 column 3 (char 2)"},
      {"[1]]", "Extra data: line 1 column 4 (char 3)"},
      {"\uFEFF{}", "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"},
      {"[\"\u00e4\", x]", "Expecting value: line 1 column 7 (char 6)"},
      {"{\"\u00e4\":\n \"b\",\n  x}",
       "Expecting property name enclosed in double quotes: line 3 column 3 (char 14)"},
      {"1\0"s, "Extra data: line 1 column 2 (char 1)"},
      {"\0"s, "Expecting value: line 1 column 1 (char 0)"},
      {"[1,\n2,\n,3]", "Expecting value: line 3 column 1 (char 7)"},
      {"\"\\ud83d\\ude00\" 1", "Extra data: line 1 column 16 (char 15)"},
      {"{\"a\":[{\"b\":", "Expecting value: line 1 column 12 (char 11)"},
      {"[1]//", "Extra data: line 1 column 4 (char 3)"},
      // messages of Python 3.13 and later
      {"[1 , ]", "Illegal trailing comma before end of array: line 1 column 4 (char 3)"},
      {"{\"a\":1,}", "Illegal trailing comma before end of object: line 1 column 7 (char 6)"},
      // texts that Python accepts, with values that a nlohmann::json cannot have
      {"[NaN]", "Expecting value: line 1 column 2 (char 1)"},
      {"-Infinity", "Expecting value: line 1 column 1 (char 0)"},
      {"[1e999]", "Out of range float values are not JSON compliant: line 1 column 2 (char 1)"},
      {"\"\\ud83d\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"},
      {"\"\\ude00\\ud83d\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"},
      // texts that are accepted
      {"1e-999", ""},
      {" [ ] ", ""},
      {"-0", ""},
      {"\"\\u0000\x7f\"", ""},
  };
  for (const auto& [text, expected] : texts) {
    CAPTURE(text);
    CHECK(fault(text) == expected);
  }
}

TEST_CASE("the attributes of the error say where it is") {
  requests::Response response;
  response.content = "{\"a\":\n \"\u00e4\" x";
  try {
    response.json();
    FAIL("nothing was thrown");
  } catch (const requests::InvalidJSONError& base) {
    const auto& error = dynamic_cast<const requests::JSONDecodeError&>(base);
    CHECK(error.msg() == "Expecting ',' delimiter");
    CHECK(error.pos() == 11);
    CHECK(error.lineno() == 2);
    CHECK(error.colno() == 6);
    CHECK(error.doc() == response.content);
  }
}

TEST_CASE("every text that the parser refuses has a place where it is wrong, and no other") {
  std::mt19937 random(1);
  const std::string alphabet = "{}[],:\"\\ntrue1e.-+ 0u\x01\xc3\xa4"s + '\0';
  for (int round = 0; round < 20'000; ++round) {
    std::string text = R"({"a": [1, -2.5e+1, true, {"b\u00e4": null}], "c": "d"})";
    for (int change = 0; change < 2; ++change) {
      const std::size_t at = random() % text.size();
      text[at] = alphabet[random() % alphabet.size()];
    }
    if (text.find('\xc3') != text.npos || text.find('\xa4') != text.npos) continue;
    CAPTURE(text);
    const std::string said = fault(text);
    const bool accepted = text.find('\0') == text.npos && Value::accept(text);
    CHECK((said == "") == accepted);
    if (accepted)
      CHECK(fiber::http::json_fault(text).text() ==
            "Extra data: line 1 column " + std::to_string(text.size() + 1) + " (char " +
                std::to_string(text.size()) + ")");
  }
}

TEST_CASE("requests finds out the encoding of JSON that names none") {
  const std::string ascii = R"({"a": 1})";
  std::string little = "\xFF\xFE", big;
  for (const char c : ascii) {
    little += {c, '\0'};
    big += {'\0', c};
  }
  for (const std::string& bytes : {ascii, "\uFEFF" + ascii, little, little.substr(2), big}) {
    requests::Response response;
    response.content = bytes;
    CHECK(response.json() == Value{{"a", 1}});
  }
  requests::Response replaced;
  replaced.content = "[\"\xff\"]";
  CHECK(replaced.json() == Value{"\uFFFD"});
}

TEST_CASE("aiohttp wants the content type to be JSON, unless told otherwise") {
  HttpServer server;
  const auto outcome = [&](const std::string& type, aiohttp::JsonOptions options = {}) {
    server.answer_with("/typed", {answer("[1]", type), {}, 0, true});
    std::string text;
    with_session([&](aiohttp::ClientSession& session) {
      auto response = await(session.get(server.url("/typed")));
      try {
        text = await(response.json(options)).dump();
      } catch (const aiohttp::ContentTypeError& error) {
        text = error.what();
      }
    });
    return text;
  };
  const auto refused = [&](const std::string& type) {
    return "200, message='Attempt to decode JSON with unexpected mimetype: " + type + "', url='" +
           server.url("/typed") + "'";
  };
  CHECK(outcome("application/json") == "[1]");
  CHECK(outcome("Application/JSON; charset=utf-8") == "[1]");
  CHECK(outcome("application/vnd.api+json") == "[1]");
  CHECK(outcome("application/jsonp") == refused("application/jsonp"));
  CHECK(outcome("text/HTML; x=+json") == refused("text/html; x=+json"));
  CHECK(outcome("") == refused(""));
  CHECK(outcome("text/html", {.content_type = ""}) == "[1]");
  CHECK(outcome("text/html; charset=utf-8", {.content_type = "text/html"}) == "[1]");
  CHECK(outcome("application/json", {.content_type = "text/html"}) == refused("application/json"));
}

TEST_CASE("aiohttp gives null for blanks, and no text that it cannot decode") {
  HttpServer server;
  const auto outcome = [&](const std::string& body, aiohttp::JsonOptions options = {}) {
    server.answer_with("/body", {answer(body), {}, 0, true});
    std::string text;
    with_session([&](aiohttp::ClientSession& session) {
      auto response = await(session.get(server.url("/body")));
      try {
        text = await(response.json(options)).dump();
      } catch (const fiber::ValueError& error) {
        text = error.what();
      }
    });
    return text;
  };
  CHECK(outcome("") == "null");
  CHECK(outcome(" \r\n\t\x0b\x0c") == "null");
  CHECK(outcome("\x0c[1]\x0b") == "[1]");
  CHECK(outcome("[\"\xff\"]") ==
        "'utf-8' codec can't decode byte 0xff in position 2: invalid start byte");
  CHECK(outcome("[\"\xe4\"]", {.encoding = "latin1"}) == "[\"\u00e4\"]");
  CHECK(outcome("<html>") == "Expecting value: line 1 column 1 (char 0)");
}
