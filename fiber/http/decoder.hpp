// Undoes Content-Encoding, a piece at a time and never more than was asked for.
#pragma once

#include <fiber/http/outgoing.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::http {

// Memory: a window of at most 8 MiB (zstd), 16 MiB (br), 32 KiB (gzip, deflate), for any input.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Takes bytes from the front of `in` and appends at most `room` bytes, which is not 0, to `out`.
  // Returns true if more may follow without further input. Throws Failure (encoding).
  virtual bool decode(std::string_view& in, std::string& out, std::size_t room) = 0;
  // To be called after the last byte. Throws Failure where Python's clients notice missing bytes.
  virtual void finish(Rules) {}
};

// Returns the decoder of a body with this field ("gzip", "br, gzip"); null for a body that is
// passed on unchanged: no coding, an unknown one, or (aiohttp) more than one. Throws Failure for
// more than five codings.
std::unique_ptr<Decoder> make_decoder(std::string_view content_encoding, Rules rules);

// The codings that make_decoder() knows, as a value of Accept-Encoding.
extern const char* const accepted_encodings;

}  // namespace fiber::http
