// Heads and bodies of requests: the result must not depend on how the bytes arrive, and input that
// a proxy could read differently is refused.
#include <fiber/http/headers.hpp>
#include <fiber/http/parser.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

void check_head(const http::Head& head) {
  fuzz::require(!(head.chunked && head.content_length), "two framings");
  std::size_t framings = 0, hosts = 0;
  for (const http::FieldView& field : head.fields) {
    fuzz::require(!field.name.empty(), "a field without a name");
    fuzz::require(field.name.find_first_of(" \t\r\n:") == field.name.npos, "a bad name of a field");
    fuzz::require(fuzz::is_one_line(field.value), "a line break in a field");
    hosts += http::equal_ignoring_case(field.name, "Host");
    framings += http::equal_ignoring_case(field.name, "Content-Length") ||
                http::equal_ignoring_case(field.name, "Transfer-Encoding");
  }
  fuzz::require(framings <= 1 && hosts <= 1, "a field that may come once came twice");
  fuzz::require(!head.method.empty() && !head.target.empty(), "a request without method or target");
  fuzz::require(head.target.find_first_of(" \t\r\n") == head.target.npos, "a blank in a target");
}

// Parses a request through a small buffer, like a connection's, and returns the events.
std::string tell(std::string_view data, fuzz::Arrival arrival) {
  http::MessageParser parser(http::MessageParser::Kind::request, {.line = 200, .field = 300});
  http::Head head;
  const std::size_t size = http::end_of_head(data, 0);
  std::size_t found = 0;
  for (std::size_t end = 0, from = 0; end < data.size() && found == 0; from = end) {
    end = std::min(data.size(), end + (arrival == fuzz::Arrival::bytes ? 1 : 17));
    found = http::end_of_head(data.substr(0, end), from);
  }
  fuzz::require(found == size, "the end of a head is elsewhere when it comes in pieces");
  if (size == 0) return "no head";
  if (!parser.head(data.substr(0, size), head))
    return "refused " + std::to_string(parser.fault().status);
  check_head(head);
  std::string told = std::string(head.method) + " " + std::string(head.target) + " " +
                     std::to_string(head.version) + (head.keep_alive ? " kept" : "") + "\n";
  for (const http::FieldView& field : head.fields)
    (told += field.name).append(": ").append(field.value) += "\n";
  std::string held, body;
  std::size_t taken = size;
  for (const std::string_view part : fuzz::split(data.substr(size), arrival)) {
    held += part;
    for (http::BodyStep step; !parser.done() && !step.need_more;) {
      if (!parser.step(held, step)) return told + "fault " + std::to_string(parser.fault().status);
      body += step.data;
      held.erase(0, step.consumed);
      taken += step.consumed;
    }
    if (parser.done()) break;
  }
  return told + "[" + body + "] " + (parser.done() ? "done " + std::to_string(taken) : "open");
}

void requests(std::string_view data) {
  const std::string whole = tell(data, fuzz::Arrival::whole);
  fuzz::require_same(whole, tell(data, fuzz::Arrival::bytes), "requests by bytes");
  fuzz::require_same(whole, tell(data, fuzz::Arrival::pieces), "requests by pieces");
}

}  // namespace

FUZZ_TARGET(requests)
