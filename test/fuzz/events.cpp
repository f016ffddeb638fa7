// Streams of events: however they arrive, they are understood in the same way, within their limit.
#include <fiber/http/event_stream.hpp>
#include <fiber/http/failure.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

constexpr std::size_t most = 300;

std::string tell(std::string_view data, fuzz::Arrival arrival) {
  http::EventStreamParser parser(most);
  parser.begin();
  std::string told;
  try {
    for (std::string_view in : fuzz::split(data, arrival)) {
      while (const auto event = parser.next(in)) {
        // A malformed byte becomes three.
        fuzz::require(event->data.size() <= 3 * most, "an event that is too large");
        fuzz::require(!event->type.empty() && fuzz::is_one_line(event->type.c_str()),
                      "a type that is none");
        told += event->type + "[" + event->data + "]" + parser.last_event_id() + "\n";
      }
      fuzz::require(in.empty(), "bytes were left while more was asked for");
    }
  } catch (const http::Failure& failure) {
    fuzz::require(failure.kind == http::Failure::Kind::too_large, "another failure");
    return told + "too large";
  }
  fuzz::require(parser.last_event_id().find('\0') == std::string::npos, "a zero byte in an id");
  if (const auto retry = parser.retry()) told += std::to_string(retry->count());
  return told;
}

void events(std::string_view data) {
  const std::string whole = tell(data, fuzz::Arrival::whole);
  fuzz::require_same(whole, tell(data, fuzz::Arrival::bytes), "events by bytes");
  fuzz::require_same(whole, tell(data, fuzz::Arrival::pieces), "events by pieces");
}

}  // namespace

FUZZ_TARGET(events)
