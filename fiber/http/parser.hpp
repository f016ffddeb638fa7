// The heads and bodies of HTTP/1.1 messages, taken apart. Sans I/O: bytes go in, pieces come out,
// and nothing is copied: what comes out points into what went in.
//
// The grammar is Boost.Beast's parser's; what is stricter than it stands in parser.cpp. All that a
// proxy in front could read in another way is refused: Transfer-Encoding with Content-Length, two
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

// Bytes and numbers that a head must not exceed.
struct HeadLimits {
  std::size_t line = 8190;       // the request line, or the status line
  std::size_t field = 8190;      // one header field, name and value
  std::size_t fields = 128;      // how many of them
  std::size_t head = 64 * 1024;  // all of it
};

// What is wrong with what was sent: the status to answer with, and why.
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
  bool keep_alive = false;  // what the other side asks for, by version and Connection
  bool upgrade = false;     // Connection: upgrade, and a field Upgrade
  bool expects = false;     // a field Expect
  bool encoded = false;     // a field Content-Encoding

  // The value of the first such field, "" if there is none; names ignore case.
  std::string_view field(std::string_view name) const noexcept;
  bool has(std::string_view name) const noexcept;
};

// Where the head ends that `bytes` begins with (after the empty line); 0: not yet. `from` is what
// an earlier call has looked at, so that bytes which trickle in are not looked at again and again.
std::size_t end_of_head(std::string_view bytes, std::size_t from) noexcept;

// What step() of a body came to.
struct BodyStep {
  std::size_t consumed = 0;
  std::string_view data = {};  // of the body, in the bytes that were given
  bool need_more = false;      // nothing more can be said about what is there
};

// Parses one message after the other; kept, so that it allocates once. `fault` is set when
// something is wrong, and the parser of no use until the next head.
class MessageParser {
 public:
  enum class Kind : bool { request, response };

  explicit MessageParser(Kind kind, HeadLimits limits = {});
  MessageParser(MessageParser&&) noexcept;
  MessageParser& operator=(MessageParser&&) noexcept;
  ~MessageParser();

  // Begins a message: `bytes` is a whole head, as end_of_head() says. False: see fault().
  // `bodiless`: a response to HEAD.
  bool head(std::string_view bytes, Head& out, bool bodiless = false);
  // The next piece of the body. False: see fault().
  bool step(std::string_view bytes, BodyStep& out);
  // The connection has ended. False if that is not how a body may end.
  bool finish();
  // The message is complete.
  bool done() const noexcept;
  const ProtocolFault& fault() const noexcept { return fault_; }

 private:
  struct Beast;
  struct RequestBeast;
  struct ResponseBeast;

  Kind kind_;
  HeadLimits limits_;
  ProtocolFault fault_;
  std::unique_ptr<Beast> beast_;
};

}  // namespace fiber::http
