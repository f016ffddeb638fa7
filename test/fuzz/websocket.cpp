// Frames of both sides. The first byte selects the side and the compression.
#include <fiber/http/websocket.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>

namespace http = fiber::http;

namespace {

constexpr std::size_t most = 5000;

std::string tell(std::string_view data, const http::FrameReader::Options& options,
                 fuzz::Arrival arrival) {
  http::FrameReader reader(options);
  std::string told;
  for (const std::string_view part : fuzz::split(data, arrival)) {
    reader.feed(part);
    while (const auto message = reader.next()) {
      fuzz::require(message->data.size() <= most, "a message that is too large");
      told += std::to_string(static_cast<int>(message->opcode)) + "[" + message->data + "]\n";
    }
    if (reader.fault() != 0) return told + std::to_string(reader.fault());
  }
  return told;
}

void websocket(std::string_view data) {
  if (data.empty()) return;
  const auto kind = static_cast<unsigned char>(data.front());
  data.remove_prefix(1);
  http::DeflateTerms terms;
  if ((kind & 2) != 0)
    terms = {.own_bits = 15, .peer_bits = (kind & 8) != 0 ? 9 : 15, .peer_fresh = (kind & 4) != 0};
  const bool masked = (kind & 1) != 0;
  const http::FrameReader::Options options{.masked = masked, .most = most, .deflate = terms};
  const std::string whole = tell(data, options, fuzz::Arrival::whole);
  fuzz::require_same(whole, tell(data, options, fuzz::Arrival::bytes), "frames by bytes");
  fuzz::require_same(whole, tell(data, options, fuzz::Arrival::pieces), "frames by pieces");

  http::DeflateTerms own;
  if (terms)
    own = {.own_bits = terms.peer_bits, .peer_bits = terms.own_bits, .own_fresh = terms.peer_fresh};
  http::FrameWriter writer(masked, own);
  std::string frames;
  const std::string_view content = data.substr(0, most);
  for (int i = 0; i < 2; ++i) writer.write(http::Opcode::binary, content, frames);
  std::string message = "2[";
  (message += content) += "]\n";
  fuzz::require_same(message + message, tell(frames, options, fuzz::Arrival::pieces),
                     "a message comes back as another");
}

}  // namespace

FUZZ_TARGET(websocket)
