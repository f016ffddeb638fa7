// Bodies in chunks: the client's parser and the server's agree on each body that both accept.
#include <fiber/http/answer.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/parser.hpp>

#include "fuzz/fuzz.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

std::optional<std::string> by_client(std::string_view data) {
  http::AnswerParser parser(http::Rules::aiohttp);
  parser.begin(false);
  std::string_view head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  parser.next(head);
  std::string body;
  std::string_view in = data;
  try {
    for (;;) {
      switch (parser.next(in)) {
        case http::AnswerParser::Event::data: body += parser.data(); break;
        case http::AnswerParser::Event::end: return body + " " + std::to_string(in.size());
        default: return std::nullopt;
      }
    }
  } catch (const http::Failure&) {
    return std::nullopt;
  }
}

std::optional<std::string> by_server(std::string_view data) {
  http::MessageParser parser(http::MessageParser::Kind::request);
  http::Head head;
  fuzz::require(
      parser.head("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", head),
      "a good head was refused");
  std::string body;
  for (http::BodyStep step; !parser.done();) {
    if (!parser.step(data, step) || step.need_more) return std::nullopt;
    body += step.data;
    data.remove_prefix(step.consumed);
  }
  return body + " " + std::to_string(data.size());
}

void chunks(std::string_view data) {
  const auto client = by_client(data);
  const auto server = by_server(data);
  if (client && server) fuzz::require_same(*client, *server, "client and server differ");
}

}  // namespace

FUZZ_TARGET(chunks)
