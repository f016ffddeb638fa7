// Buffers between OpenSSL and the code that sends and receives. Python: ssl.MemoryBIO.
#pragma once

#include <fiber/asyncio/detail/byte_buffer.hpp>
#include <fiber/config.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct bio_st;

namespace fiber::ssl {
namespace detail {

struct Bytes {
  asyncio::detail::ByteBuffer buffer;
  std::string_view borrowed{};  ///< bytes after the buffer; keep() must copy them before they go
  bool ended = false;           ///< no more will be written
  bool no_memory = false;       ///< OpenSSL could not write for want of memory

  std::size_t pending() const noexcept { return buffer.size() + borrowed.size(); }
  /// Removes at most `size` bytes, copies them to `to`, and returns their number.
  std::size_t take(char* to, std::size_t size) noexcept;
  void keep() {
    buffer.append(borrowed);
    borrowed = {};
  }
};

/// Returns a BIO by which OpenSSL reads from and writes to `bytes`, which must live longer. Null if
/// there is no memory.
bio_st* make_bio(Bytes& bytes) noexcept;

}  // namespace detail

/// A buffer that an SSLObject reads from or writes to. A counted reference; for one thread at a
/// time.
class FIBER_API MemoryBIO {
 public:
  MemoryBIO() : bytes_(std::make_shared<detail::Bytes>()) {}
  MemoryBIO(const MemoryBIO&) noexcept = default;  ///< moving is copying: never empty
  MemoryBIO& operator=(const MemoryBIO&) noexcept = default;
  ~MemoryBIO() = default;

  /// Removes and returns at most n bytes; all bytes for a negative n.
  std::string read(std::ptrdiff_t n = -1) const;
  /// Appends all of `data`, and returns its size. Throws SSLError after write_eof().
  std::size_t write(std::string_view data) const;
  /// Marks the end of the bytes.
  void write_eof() const noexcept { bytes_->ended = true; }
  /// The number of bytes in the buffer.
  std::size_t pending() const noexcept { return bytes_->pending(); }
  /// Whether write_eof() was called, and no bytes are left.
  bool eof() const noexcept { return bytes_->ended && bytes_->pending() == 0; }

  const std::shared_ptr<detail::Bytes>& bytes() const noexcept { return bytes_; }

 private:
  std::shared_ptr<detail::Bytes> bytes_;
};

}  // namespace fiber::ssl
