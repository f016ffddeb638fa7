// The lines of text/event-stream: the examples and the rules of the HTML standard, 9.2.
#include <fiber/http/event_stream.hpp>
#include <fiber/http/failure.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace http = fiber::http;
using namespace std::string_literals;

namespace {

// "type|data|id", with "/" for line ends in data, of each event in bytes that come `at_once`.
std::string events(std::string_view bytes, std::size_t at_once = 1'000'000) {
  http::EventStreamParser parser(1000);
  parser.begin();
  std::string told;
  while (!bytes.empty()) {
    std::string_view in = bytes.substr(0, at_once);
    bytes.remove_prefix(in.size());
    while (const auto event = parser.next(in)) {
      std::string data = event->data;
      for (char& c : data)
        if (c == '\n') c = '/';
      told += event->type + "|" + data + "|" + parser.last_event_id() + "\n";
    }
    CHECK(in.empty());
  }
  return told;
}

}  // namespace

TEST_CASE("the standard's examples") {
  CHECK(events("data: YHOO\ndata: +2\ndata: 10\n\n") == "message|YHOO/+2/10|\n");
  CHECK(events(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
               "data:  third event\n\n") ==
        "message|first event|1\nmessage|second event|\nmessage| third event|\n");
  CHECK(events("data\n\ndata\ndata\n\ndata:") == "message||\nmessage|/|\n");
  CHECK(events("data:test\n\ndata: test\n\n") == "message|test|\nmessage|test|\n");
  CHECK(events(
            "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 1\n\n") ==
        "add|73857293|\nremove|2153|\nadd|1|\n");
}

TEST_CASE("lines end with LF, CR or CR LF, mixed, wherever the bytes are cut") {
  for (const std::size_t at_once : {1, 2, 3, 1000})
    for (const char* end : {"\n", "\r", "\r\n"}) {
      CAPTURE(at_once);
      const std::string e = end;
      CHECK(
          events("event: a" + e + "data: 1" + e + "data: 2" + e + e + ":x" + e + "data: 3" + e + e,
                 at_once) == "a|1/2|\nmessage|3|\n");
    }
  CHECK(events("data: 1\r\rdata: 2\r\n\r\ndata: 3\n\r\ndata: 4\r\n\n", 1) ==
        "message|1|\nmessage|2|\nmessage|3|\nmessage|4|\n");
}

TEST_CASE("an event is told with the CR that ends it, not with what follows") {
  CHECK(events("data: 1\r\r") == "message|1|\n");
  CHECK(events("data: 1\r\n\r") == "message|1|\n");
}

TEST_CASE("one byte order mark at the beginning is none of the text; elsewhere it is") {
  for (const std::size_t at_once : {1, 2, 1000}) {
    CAPTURE(at_once);
    CHECK(events("\xEF\xBB\xBF"
                 "data: 1\n\n",
                 at_once) == "message|1|\n");
    CHECK(events("\xEF\xBB\xBF\xEF\xBB\xBF"
                 "data: 1\ndata: 2\n\n",
                 at_once) == "message|2|\n");
    CHECK(events("\xEF\xBB"
                 "data: 1\ndata: 2\n\n",
                 at_once) == "message|2|\n");
    CHECK(events("data: \xEF\xBB\xBF\n\n", at_once) == "message|\xEF\xBB\xBF|\n");
  }
  CHECK(events("\xEF") == "");
}

TEST_CASE(
    "an id stays until the next; one with a zero byte does not count; an event without data, too") {
  CHECK(events("id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid:\ndata: d\n\n"s) ==
        "message|a|1\nmessage|b|1\nmessage|c|1\nmessage|d|\n");
  http::EventStreamParser parser(100);
  parser.begin();
  std::string_view in = "id: 7\n\nid: 8\n";
  CHECK_FALSE(parser.next(in));
  CHECK(parser.last_event_id() == "7");  // 8 is of an event that has not ended
  parser.begin();
  in = "data: x\n\n";
  CHECK(parser.next(in));
  CHECK(parser.last_event_id() == "7");
}

TEST_CASE("retry is digits alone, a day at most") {
  const auto retry = [](std::string_view value) {
    http::EventStreamParser parser(100);
    parser.begin();
    const std::string line = "retry: 5\nretry:" + std::string(value) + "\n";
    std::string_view in = line;
    CHECK_FALSE(parser.next(in));
    return parser.retry()->count();
  };
  CHECK(retry(" 10") == 10);
  CHECK(retry("0") == 0);
  CHECK(retry("99999999999999999999999999") == 24 * 3600 * 1000);
  for (const char* bad : {"", " ", "-1", "+1", "1.5", "1s", "0x10", "\xD9\xA1", "  1"}) {
    CAPTURE(bad);
    CHECK(retry(bad) == 5);
  }
}

TEST_CASE(
    "unknown fields, names in capitals or with blanks are nothing; a type without data is lost") {
  CHECK(events("Data: 1\n data: 2\ndata : 3\ndatax: 4\nevent: lost\n\ndata: 5\n\n") ==
        "message|5|\n");
}

TEST_CASE("bytes that are not UTF-8 become U+FFFD") {
  CHECK(events("data: a\xFF"
               "b\ndata: \xE2\x82\nevent: \xC0\n\n") ==
        "\xEF\xBF\xBD|a\xEF\xBF\xBD"
        "b/\xEF\xBF\xBD|\n");
}

TEST_CASE("an event has a limit, comments have none") {
  const auto outcome = [](const std::string& bytes) {
    try {
      return events(bytes, 50).size();
    } catch (const http::Failure& failure) {
      CHECK(failure.kind == http::Failure::Kind::too_large);
      CHECK(failure.text == "An event has more bytes than max_event_size=1000");
      return std::size_t{0};
    }
  };
  const std::string fits(1000, 'x');
  CHECK(outcome("data: " + fits + "\n\n") == fits.size() + 10);
  CHECK(outcome("data: " + fits + "x\n\n") == 0);
  CHECK(outcome("data: " + fits.substr(500) + "\ndata: " + fits.substr(499) + "\n\n") == 0);
  CHECK(outcome("data: " + fits + "x") == 0);  // need not end
  CHECK(outcome("x" + fits + fits) == 0);
  std::string lines;
  for (int i = 0; i < 1002; ++i) lines += "data\n";
  CHECK(outcome(lines + "\n") == 0);
  for (const char* name : {"data", "event", "id"}) {
    CAPTURE(name);
    CHECK(outcome(name + (": " + std::string(400, '\xFF')) + "\n") == 0);  // 1200 bytes of U+FFFD
  }
  CHECK(outcome(":" + std::string(1'000'000, 'x') + "\ndata: 1\n\n") == 11);
}
