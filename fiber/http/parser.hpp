// Parses the heads and bodies of HTTP/1.1 messages. Sans I/O: bytes go in, pieces come out,
// and nothing is copied: the pieces point into the bytes.
//
// The grammar is that of Boost.Beast's parser; parser.cpp adds stricter rules. Input that a proxy
// in front could read differently is refused: Transfer-Encoding with Content-Length, two
// lengths, a coding other than `chunked`, CR or LF alone, folded lines, space before a colon, NUL.
#pragma once

#include <fiber/http/headers_view.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// The limits of a head, in bytes but for `fields`.
struct HeadLimits {
  std::size_t line = 8190;       // the request line, or the status line
  std::size_t field = 8190;      // one header field, name and value
  std::size_t fields = 128;      // number of header fields
  std::size_t head = 64 * 1024;  // the whole head
};

// An error in received bytes: the status to answer with, and the reason.
struct ProtocolFault {
  int status = 0;  // 0: nothing is wrong
  std::string text = {};
  explicit operator bool() const noexcept { return status != 0; }
};

// The head of a request or a response.
struct Head {
  std::string_view method;  // of a request
  std::string_view target;
  int status = 0;  // of a response
  std::string_view reason;
  int version = 11;  // 10 or 11
  std::vector<FieldView> fields;
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = false;  // the peer's wish, by version and Connection
  bool upgrade = false;     // Connection: upgrade, and a field Upgrade
  bool expects = false;     // a field Expect
  bool encoded = false;     // a field Content-Encoding

  // Returns the value of the first field of that name, "" if there is none; names ignore case.
  std::string_view field(std::string_view name) const noexcept;
  bool has(std::string_view name) const noexcept;
};

// Returns the size of the head at the front of `bytes`, its empty line included; 0 if the head is
// incomplete. `from`: the number of bytes that an earlier call has scanned.
std::size_t end_of_head(std::string_view bytes, std::size_t from) noexcept;

// The result of MessageParser::step().
struct BodyStep {
  std::size_t consumed = 0;
  std::string_view data = {};  // data of the body; points into the bytes that were given
  bool need_more = false;      // step() needs more bytes to go on
};

// Parses one message after the other; one parser serves a whole connection, so that memory is
// allocated once. After a fault() only head() may be called.
class MessageParser {
 public:
  enum class Kind : bool { request, response };

  explicit MessageParser(Kind kind, HeadLimits limits = {});
  MessageParser(MessageParser&&) noexcept;
  MessageParser& operator=(MessageParser&&) noexcept;
  ~MessageParser();

  // Begins a message: `bytes` is a whole head, by end_of_head(). Returns false on a fault().
  // `bodiless`: a response to HEAD.
  bool head(std::string_view bytes, Head& out, bool bodiless = false);
  // Takes the next piece of the body. Returns false on a fault().
  bool step(std::string_view bytes, BodyStep& out);
  // Says that the connection has ended. Returns false if the body is incomplete.
  bool finish();
  // Whether the message is complete.
  bool done() const noexcept;
  const ProtocolFault& fault() const noexcept { return fault_; }

 private:
  struct Beast;
  struct RequestBeast;
  struct ResponseBeast;

  const char* fault_of_chunk_head(std::string_view bytes) const noexcept;

  Kind kind_;
  HeadLimits limits_;
  ProtocolFault fault_;
  std::unique_ptr<Beast> beast_;
};

}  // namespace fiber::http
