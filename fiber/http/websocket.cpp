#include <fiber/http/websocket.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/hashes.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/random.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

namespace fiber::http {

// --- the handshake ------------------------------------------------------------------------------

std::string accept_key(std::string_view key) {
  return base64(digest(Hash::sha1, std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

namespace {

// The parameters of one extension. parse_offer() returns false if the extension is malformed or not
// permessage-deflate.
struct Offer {
  bool server_fresh = false;
  bool client_fresh = false;
  std::optional<int> server_bits;
  std::optional<int> client_bits;  // 0: without a value
};

bool parse_offer(std::string_view text, Offer& offer) {
  bool first = true;
  while (!text.empty() || first) {
    const std::size_t end = text.find(';');
    const std::string_view part = strip(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::size_t equals = part.find('=');
    const std::string_view name = strip(part.substr(0, equals));
    std::string_view value =
        equals == std::string_view::npos ? std::string_view() : strip(part.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    if (std::exchange(first, false)) {
      if (name != "permessage-deflate") return false;
      continue;
    }
    int bits = 0;
    if (!value.empty()) {
      const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), bits);
      if (error != std::errc() || at != value.data() + value.size() || bits < 8 || bits > 15)
        return false;
    }
    if (name == "server_no_context_takeover" && value.empty() && !offer.server_fresh)
      offer.server_fresh = true;
    else if (name == "client_no_context_takeover" && value.empty() && !offer.client_fresh)
      offer.client_fresh = true;
    else if (name == "server_max_window_bits" && bits != 0 && !offer.server_bits)
      offer.server_bits = bits;
    else if (name == "client_max_window_bits" && !offer.client_bits)
      offer.client_bits = bits;
    else
      return false;
  }
  return true;
}

}  // namespace

std::string answer_extensions(std::string_view offered, DeflateTerms& terms) {
  for (const std::string_view one : split_list(offered)) {
    Offer offer;
    if (!parse_offer(one, offer)) continue;
    // zlib cannot make a raw stream with a window of 256 bytes.
    if (offer.server_bits == 8) continue;
    terms = {.own_bits = offer.server_bits.value_or(15),
             .peer_bits = 15,
             .own_fresh = offer.server_fresh,
             .peer_fresh = offer.client_fresh};
    std::string answer = "permessage-deflate";
    if (offer.server_fresh) answer += "; server_no_context_takeover";
    if (offer.client_fresh) answer += "; client_no_context_takeover";
    if (offer.server_bits)
      answer += "; server_max_window_bits=" + std::to_string(*offer.server_bits);
    return answer;
  }
  return {};
}

bool accept_extensions(std::string_view answer, DeflateTerms& terms) {
  terms = {};
  if (strip(answer).empty()) return true;
  Offer offer;
  if (split_list(answer).size() != 1 || !parse_offer(answer, offer)) return false;
  if (offer.client_bits == 0) return false;
  terms = {.own_bits = std::max(offer.client_bits.value_or(15), 9),
           .peer_bits = 15,
           .own_fresh = offer.client_fresh || offer.client_bits == 8,
           .peer_fresh = offer.server_fresh};
  return offer.client_bits != 8;
}

bool is_close_code(unsigned code) noexcept {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code < 5000);
}

// --- reading ------------------------------------------------------------------------------------

FrameReader::FrameReader(Options options) : options_(options) {
  if (options_.deflate) decompressor_.emplace(Wrapping::raw, 15);
}

void FrameReader::feed(std::string_view bytes) {
  if (fault_ != 0) return;
  if (at_ == held_.size()) {
    held_.clear();
    at_ = 0;
  } else if (at_ > held_.size() / 2) {
    held_.erase(0, at_);
    at_ = 0;
  }
  held_ += bytes;
}

std::optional<Message> FrameReader::fail(std::uint16_t code, const char* text) {
  fault_ = code;
  fault_text_ = text;
  release_held();
  std::string().swap(message_);
  return std::nullopt;
}

// A swap gives memory back; an empty string that is assigned does not.
void FrameReader::release_held() noexcept {
  std::string().swap(held_);
  at_ = 0;
}

// Returns false if more bytes are needed, or on a fault.
bool FrameReader::parse_head() {
  const std::string_view bytes = std::string_view(held_).substr(at_);
  if (bytes.size() < 2) return false;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const bool masked = (at(1) & 0x80) != 0;
  std::uint64_t length = at(1) & 0x7F;
  std::size_t size = 2;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  const std::uint8_t code = at(0) & 0x0F;
  const bool control = code >= 8;
  fin_ = (at(0) & 0x80) != 0;
  packed_ = (at(0) & 0x40) != 0;
  // Faults are reported before the rest of the frame arrives.
  if ((at(0) & 0x30) != 0) return fail(1002, "reserved bits are set"), false;
  if (packed_ && (!options_.deflate || control || code == 0))
    return fail(1002, "this frame must not be compressed"), false;
  if (code > 10 || (code > 2 && code < 8)) return fail(1002, "the opcode is unknown"), false;
  if (control && (!fin_ || extended != 0))
    return fail(1002, "a control frame is fragmented, or too long"), false;
  if (masked != options_.masked)
    return fail(1002, masked ? "a server's frame is masked" : "a client's frame is not masked"),
           false;
  if (!control && (code == 0) != in_message_)
    return fail(1002, in_message_ ? "a message begins within another"
                                  : "there is no message to continue"),
           false;
  if (bytes.size() < size + extended) return false;
  if (extended != 0) {
    length = 0;
    for (std::size_t i = 0; i < extended; ++i) length = length << 8 | at(size + i);
    size += extended;
    if (length >> 63 != 0 || length < (extended == 2 ? 126U : 65536U))
      return fail(1002, "a length is not in its shortest form"), false;
  }
  if (!control && options_.most != 0 && length + message_.size() > options_.most)
    return fail(1009, "the message is too big"), false;
  if (masked) {
    if (bytes.size() < size + 4) return false;
    std::memcpy(mask_, bytes.data() + size, 4);
    size += 4;
  }
  opcode_ = static_cast<Opcode>(code);
  length_ = length;
  at_ += size;
  in_frame_ = true;
  return true;
}

std::optional<Message> FrameReader::next() {
  while (fault_ == 0) {
    if (!in_frame_ && !parse_head()) return std::nullopt;
    if (held_.size() - at_ < length_) return std::nullopt;
    std::string payload = held_.substr(at_, static_cast<std::size_t>(length_));
    at_ += payload.size();
    // Between messages only little memory is kept.
    constexpr std::size_t kKept = 8 * 1024;
    if (at_ == held_.size() && held_.capacity() > kKept) release_held();
    in_frame_ = false;
    if (options_.masked)
      for (std::size_t i = 0; i < payload.size(); ++i) payload[i] ^= mask_[i % 4];
    if (auto message = finish_frame(std::move(payload))) return message;
  }
  return std::nullopt;
}

bool FrameReader::inflate(std::string_view payload, bool last) {
  constexpr std::string_view kTail("\x00\x00\xFF\xFF", 4);
  for (std::string_view rest : {payload, last ? kTail : std::string_view()}) {
    for (bool more = !rest.empty(); more;) {
      const std::size_t room = options_.most == 0 ? 64 * 1024 : options_.most - message_.size() + 1;
      const auto result =
          decompressor_->feed(rest, message_, std::min<std::size_t>(room, 64 * 1024));
      if (result == Decompressor::Result::corrupt)
        return fail(1007, "a compressed message is malformed"), false;
      if (options_.most != 0 && message_.size() > options_.most)
        return fail(1009, "the message is too big"), false;
      more = result == Decompressor::Result::more_output;
      if (result ==
          Decompressor::Result::end) {  // a last block within a message (RFC 7692, 7.2.3.4)
        decompressor_->reset();
        more = !rest.empty();
      }
    }
  }
  if (last && options_.deflate.peer_fresh) decompressor_->reset();
  return true;
}

std::optional<Message> FrameReader::finish_frame(std::string payload) {
  if (opcode_ >= Opcode::close) {
    if (opcode_ == Opcode::close && payload.size() == 1)
      return fail(1002, "a close frame is too short");
    if (opcode_ == Opcode::close && payload.size() >= 2) {
      const unsigned code =
          static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
      if (!is_close_code(code)) return fail(1002, "the close code is invalid");
      if (!is_valid_utf8(std::string_view(payload).substr(2)))
        return fail(1007, "the reason of a close frame is not UTF-8");
    }
    return Message{opcode_, std::move(payload)};
  }
  if (opcode_ != Opcode::continuation) {
    in_message_ = true;
    message_packed_ = packed_;
    message_opcode_ = opcode_;
    message_.clear();
  }
  if (message_packed_) {
    if (!inflate(payload, fin_)) return std::nullopt;
  } else if (message_.empty()) {
    message_ = std::move(payload);
  } else {
    message_ += payload;
  }
  if (!fin_) return std::nullopt;
  in_message_ = false;
  if (message_opcode_ == Opcode::text && !is_valid_utf8(message_))
    return fail(1007, "a text message is not UTF-8");
  return Message{message_opcode_, std::exchange(message_, {})};
}

// --- writing ------------------------------------------------------------------------------------

FrameWriter::FrameWriter(bool mask, DeflateTerms deflate) : mask_(mask), deflate_(deflate) {
  if (deflate_) compressor_.emplace(Wrapping::raw, 6, deflate_.own_bits);
}

void FrameWriter::write(Opcode opcode, std::string_view data, std::string& out) {
  std::string packed;
  const bool packs = compressor_ && opcode < Opcode::close;
  if (packs) {
    compressor_->feed(data, packed);
    compressor_->flush(packed);
    if (packed.size() >= 4) packed.resize(packed.size() - 4);  // less 00 00 FF FF (RFC 7692)
    if (packed.empty()) packed.assign(1, '\0');
    if (deflate_.own_fresh) compressor_->reset();
    data = packed;
  }
  out += static_cast<char>(0x80 | (packs ? 0x40 : 0) | static_cast<int>(opcode));
  const int mask_bit = mask_ ? 0x80 : 0;
  const std::uint64_t size = data.size();
  if (size < 126) {
    out += static_cast<char>(mask_bit | static_cast<int>(size));
  } else {
    const int width = size < 65536 ? 2 : 8;
    out += static_cast<char>(mask_bit | (width == 2 ? 126 : 127));
    for (int shift = (width - 1) * 8; shift >= 0; shift -= 8)
      out += static_cast<char>(size >> shift & 0xFF);
  }
  if (!mask_) {
    out += data;
    return;
  }
  char key[4];
  fill_randomly(key);
  out.append(key, 4);
  for (std::size_t i = 0; i < data.size(); ++i) out += static_cast<char>(data[i] ^ key[i % 4]);
}

}  // namespace fiber::http
