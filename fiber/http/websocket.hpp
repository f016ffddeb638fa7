// WebSocket's frames (RFC 6455) and their compression (RFC 7692). Sans I/O.
#pragma once

#include <fiber/http/compression.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

enum class Opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

// The compression that both sides have agreed on. own_bits is 0 without compression.
struct DeflateTerms {
  int own_bits = 0;        // size of the window for sending, 9 to 15
  int peer_bits = 0;       // size of the window for receiving
  bool own_fresh = false;  // each message is compressed alone
  bool peer_fresh = false;
  explicit operator bool() const noexcept { return own_bits != 0; }
};

// Chooses a server's answer to Sec-WebSocket-Extensions: fills `terms`, and returns the field to
// send, "" for no compression.
std::string answer_extensions(std::string_view offered, DeflateTerms& terms);
// Reads the answer to a client's "permessage-deflate; client_max_window_bits" into `terms`. Returns
// false if the answer does not match the offer.
bool accept_extensions(std::string_view answer, DeflateTerms& terms);

// Returns Sec-WebSocket-Accept for a key.
std::string accept_key(std::string_view key);

// A received message or control frame.
struct Message {
  Opcode opcode = Opcode::text;
  std::string data;
};

// Assembles messages from frames. Refuses, with a close code: frames against the RFC (1002), texts
// that are not UTF-8 (1007), messages of more than `most` bytes (1009), compressed or decompressed.
class FrameReader {
 public:
  struct Options {
    bool masked = true;                  // clients mask their frames, servers do not
    std::size_t most = 4 * 1024 * 1024;  // 0: no limit
    DeflateTerms deflate = {};
  };
  explicit FrameReader(Options options);

  void feed(std::string_view bytes);
  // Returns the next message; nothing if more bytes are needed or there is a fault().
  std::optional<Message> next();
  // The code to close with; 0 without a fault.
  std::uint16_t fault() const noexcept { return fault_; }
  const char* fault_text() const noexcept { return fault_text_; }

 private:
  std::optional<Message> fail(std::uint16_t code, const char* text);
  void release_held() noexcept;
  bool parse_head();
  std::optional<Message> finish_frame(std::string payload);
  bool inflate(std::string_view payload, bool last);

  Options options_;
  std::optional<Decompressor> decompressor_;
  std::string held_;
  std::size_t at_ = 0;
  // the current frame
  bool in_frame_ = false;
  bool fin_ = false;
  bool packed_ = false;
  Opcode opcode_ = Opcode::text;
  std::uint64_t length_ = 0;
  char mask_[4] = {};
  // the current message
  bool in_message_ = false;
  bool message_packed_ = false;
  Opcode message_opcode_ = Opcode::text;
  std::string message_;
  std::uint16_t fault_ = 0;
  const char* fault_text_ = "";
};

// Writes frames.
class FrameWriter {
 public:
  // `mask`: masks frames, as a client does, with keys from the system's random numbers.
  FrameWriter(bool mask, DeflateTerms deflate);
  // Appends a whole message to `out`; compressed if agreed on, unless it is a control frame.
  void write(Opcode opcode, std::string_view data, std::string& out);

 private:
  bool mask_;
  DeflateTerms deflate_;
  std::optional<Compressor> compressor_;
};

// Whether a code may stand in a close frame.
bool is_close_code(unsigned code) noexcept;

}  // namespace fiber::http
