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

// What the two sides have agreed on. No bits of a window: no compression.
struct DeflateTerms {
  int own_bits = 0;        // 9 to 15, of what we send
  int peer_bits = 0;       // of what we receive
  bool own_fresh = false;  // each message is compressed alone
  bool peer_fresh = false;
  explicit operator bool() const noexcept { return own_bits != 0; }
};

// What a server answers to Sec-WebSocket-Extensions: fills `terms`, and returns the field to send,
// "" for no compression.
std::string answer_extensions(std::string_view offered, DeflateTerms& terms);
// What a client makes of the answer to "permessage-deflate; client_max_window_bits". False: the
// answer is none that was asked for.
bool accept_extensions(std::string_view answer, DeflateTerms& terms);

// Sec-WebSocket-Accept for a key.
std::string accept_key(std::string_view key);

// A message, or a control frame, that has arrived.
struct Message {
  Opcode opcode = Opcode::text;
  std::string data;
};

// Puts messages together. Refuses, with a close code: frames that are not as the RFC has them
// (1002), texts that are not UTF-8 (1007), messages of more than `most` bytes (1009), decompressed
// or not.
class FrameReader {
 public:
  struct Options {
    bool masked = true;                  // frames of a client are, those of a server are not
    std::size_t most = 4 * 1024 * 1024;  // 0: no limit
    DeflateTerms deflate = {};
  };
  explicit FrameReader(Options options);

  void feed(std::string_view bytes);
  // The next message of what was fed; nothing: more is needed, or see fault().
  std::optional<Message> next();
  // The code to close with; 0: nothing is wrong.
  std::uint16_t fault() const noexcept { return fault_; }
  const char* fault_text() const noexcept { return fault_text_; }

 private:
  std::optional<Message> fail(std::uint16_t code, const char* text);
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

// Makes frames.
class FrameWriter {
 public:
  // `mask`: as a client, with keys of the system's random numbers.
  FrameWriter(bool mask, DeflateTerms deflate);
  // Appends a whole message, compressed if that was agreed on and it is no control frame.
  void write(Opcode opcode, std::string_view data, std::string& out);

 private:
  bool mask_;
  DeflateTerms deflate_;
  std::optional<Compressor> compressor_;
};

// Whether a code may stand in a close frame.
bool is_close_code(unsigned code) noexcept;

}  // namespace fiber::http
