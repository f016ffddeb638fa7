// gzip and deflate, a bounded piece at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::http {

// What is around the deflated data.
enum class Wrapping : unsigned char {
  gzip,
  zlib,  // Content-Encoding: deflate
  raw,   // permessage-deflate
};

// Not copied; moves. Throws MemoryError where there is none.
class Compressor {
 public:
  explicit Compressor(Wrapping wrapping, int level = 6, int window_bits = 15);
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;
  ~Compressor();

  // Appends to `out` what becomes of `data`; some of it may stay inside until more comes.
  void feed(std::string_view data, std::string& out);
  // Appends all that is inside, up to a whole byte (Z_SYNC_FLUSH).
  void flush(std::string& out);
  // The last of it.
  void finish(std::string& out);
  // Forgets what it has seen.
  void reset();

 private:
  struct State;
  void run(std::string_view data, int flush, std::string& out);
  std::unique_ptr<State> state_;
};

// Takes compressed bytes, and gives at most so many at a time: a small input that stands for a
// large output does not become large at once.
class Decompressor {
 public:
  explicit Decompressor(Wrapping wrapping, int window_bits = 15);
  Decompressor(Decompressor&&) noexcept;
  Decompressor& operator=(Decompressor&&) noexcept;
  ~Decompressor();

  enum class Result : unsigned char { more_input, more_output, end, corrupt };
  // Takes bytes from the front of `data` and appends at most `limit` to `out`. more_output: call
  // again, even when `data` is empty. A gzip stream may have several members.
  Result feed(std::string_view& data, std::string& out, std::size_t limit);
  // The stream is complete as far as it was fed.
  bool complete() const noexcept;
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fiber::http
