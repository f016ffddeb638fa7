// A whole exchange of a client: redirects, decompression, limits. Several answers may stand one
// after the other, each for one request.
#include <fiber/http/failure.hpp>
#include <fiber/http/transfer.hpp>

#include "fuzz/fuzz.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

constexpr std::size_t most = 100'000;

std::string tell(http::Rules rules, std::string_view data, fuzz::Arrival arrival) {
  const auto shared = std::make_shared<http::Shared>();
  http::Outgoing request{.rules = rules, .url = "http://example.com/", .max_redirects = 5};
  request.max_body_size = most;
  http::Transfer transfer(std::move(request), shared, 1000);
  std::string body;
  auto parts = fuzz::split(data, arrival);
  std::size_t next = 0;
  for (int hop = 0; hop < 8 && !transfer.done(); ++hop) {
    transfer.attach(false);
    while (!transfer.output().empty()) transfer.sent(transfer.output().size());
    while (!transfer.is_over()) {
      if (!transfer.wants_input()) {
        const std::string piece = transfer.take(500);
        fuzz::require(!piece.empty(), "no input is wanted, and nothing is there");
        body += piece;
      } else if (next < parts.size()) {
        transfer.received(parts[next++]);
      } else {
        transfer.lost();
      }
      fuzz::require(transfer.available() <= 300'000, "too much is held");
    }
    // Bytes behind an answer in one piece do not belong to another answer.
    if (transfer.is_redirected() && !transfer.next_hop()) break;
  }
  if (transfer.has_head()) body += transfer.take(most * 2);
  fuzz::require(body.size() <= most, "more than max_body_size");
  std::string told = "[" + body + "]";
  if (transfer.failure()) return "failure";
  if (transfer.has_head()) told += std::to_string(transfer.head().status);
  return told;
}

void exchange(std::string_view data) {
  for (const http::Rules rules : {http::Rules::requests, http::Rules::aiohttp})
    for (const fuzz::Arrival arrival : fuzz::arrivals) tell(rules, data, arrival);
}

}  // namespace

FUZZ_TARGET(exchange)
