// Undoing Content-Encoding, a piece at a time and never more than was asked for.
#pragma once

#include <fiber/http/outgoing.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::http {

// Memory: a window of at most 8 MiB (zstd), 16 MiB (br), 32 KiB (gzip, deflate), whatever is sent.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Takes from the front of `in`, appends to `out` at most `room` bytes, above zero. True: there
  // may be more without further input. Throws Failure (encoding).
  virtual bool decode(std::string_view& in, std::string& out, std::size_t room) = 0;
  // After the last byte. Throws Failure where Python's clients notice that something is missing.
  virtual void finish(Rules) {}
};

// For a body sent with this field ("gzip", "br, gzip"); null where it is to be left as it is:
// nothing to be undone, a coding that is not known, or (aiohttp) more than one. Throws Failure for
// more than five codings.
std::unique_ptr<Decoder> make_decoder(std::string_view content_encoding, Rules rules);

// What make_decoder() knows, in the form of Accept-Encoding.
extern const char* const accepted_encodings;

}  // namespace fiber::http
