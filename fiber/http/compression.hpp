// gzip and deflate, a bounded piece at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::http {

// The format around the deflated data.
enum class Wrapping : unsigned char {
  gzip,
  zlib,  // Content-Encoding: deflate
  raw,   // permessage-deflate
};

// Compresses a stream. Moves, and cannot be copied. Throws MemoryError when memory runs out.
class Compressor {
 public:
  explicit Compressor(Wrapping wrapping, int level = 6, int window_bits = 15);
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;
  ~Compressor();

  // Compresses `data` and appends the result to `out`; a part may stay inside until the next call.
  void feed(std::string_view data, std::string& out);
  // Appends the data that is still inside, up to a whole byte (Z_SYNC_FLUSH).
  void flush(std::string& out);
  // Appends the end of the stream.
  void finish(std::string& out);
  // Begins a new stream without the window of the old one.
  void reset();

 private:
  struct State;
  void run(std::string_view data, int flush, std::string& out);
  std::unique_ptr<State> state_;
};

// Decompresses a stream, a bounded number of bytes at a time: a small input with a huge output
// cannot fill the memory.
class Decompressor {
 public:
  explicit Decompressor(Wrapping wrapping, int window_bits = 15);
  Decompressor(Decompressor&&) noexcept;
  Decompressor& operator=(Decompressor&&) noexcept;
  ~Decompressor();

  enum class Result : unsigned char { more_input, more_output, end, corrupt };
  // Takes compressed bytes from the front of `data` and appends at most `limit` bytes to `out`.
  // more_output: call again, even when `data` is empty. A gzip stream may have several members.
  Result feed(std::string_view& data, std::string& out, std::size_t limit);
  // Whether the bytes fed so far end with the end of a stream.
  bool complete() const noexcept;
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fiber::http
