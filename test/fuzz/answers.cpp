// Heads, bodies and trailers of answers: the result must not depend on how the bytes arrive.
#include <fiber/http/answer.hpp>
#include <fiber/http/failure.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

using Event = http::AnswerParser::Event;

struct Told {
  std::string head, body;
  std::string end = "open";
  std::size_t taken = 0;

  std::string text() const {
    return head + "\n[" + body + "]\n" + end + " " + std::to_string(taken);
  }
};

void add_head(Told& told, const http::ResponseHead& head) {
  told.head += std::to_string(head.status) + " " + head.reason + "\n";
  fuzz::require(fuzz::is_one_line(head.reason), "a line break in a reason");
  for (const auto& [name, value] : head.headers) {
    fuzz::require(!name.empty() && fuzz::is_one_line(name), "a bad name of a field");
    fuzz::require(fuzz::is_one_line(value), "a line break in a field");
    told.head += name + ": " + value + "\n";
  }
}

Told tell(http::Rules rules, std::string_view data, fuzz::Arrival arrival) {
  Told told;
  http::AnswerParser parser(rules);
  parser.begin(false);
  try {
    for (std::string_view in : fuzz::split(data, arrival)) {
      const std::size_t size = in.size();
      for (Event event = Event::interim; event != Event::more;) {
        event = parser.next(in);
        if (event == Event::head) add_head(told, parser.head());
        if (event == Event::data) told.body += parser.data();
        if (event == Event::end) {
          told.end = parser.keeps_alive() ? "end, kept" : "end";
          told.taken += size - in.size();
          return told;
        }
      }
      fuzz::require(in.empty(), "bytes were left while more was asked for");
      told.taken += size;
    }
    parser.end_of_input();
    if (parser.complete()) told.end = "end of input";
  } catch (const http::Failure& failure) {
    // The number of bytes taken from an overlong line depends on how the bytes arrive.
    told.taken = 0;
    told.end = "failure " + std::to_string(static_cast<int>(failure.kind));
  }
  return told;
}

void answers(std::string_view data) {
  for (const http::Rules rules : {http::Rules::requests, http::Rules::aiohttp}) {
    const std::string whole = tell(rules, data, fuzz::Arrival::whole).text();
    fuzz::require_same(whole, tell(rules, data, fuzz::Arrival::bytes).text(), "answers by bytes");
    fuzz::require_same(whole, tell(rules, data, fuzz::Arrival::pieces).text(), "answers by pieces");
  }
}

}  // namespace

FUZZ_TARGET(answers)
