// Bytes between OpenSSL and whoever sends and receives them. Python: ssl.MemoryBIO.
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
  std::string_view borrowed{};  ///< follows the buffer; must be kept before it ends its life
  bool ended = false;           ///< no more will be written
  bool no_memory = false;       ///< a write of OpenSSL's failed

  std::size_t pending() const noexcept { return buffer.size() + borrowed.size(); }
  /// At most `size` bytes, which leave.
  std::size_t take(char* to, std::size_t size) noexcept;
  void keep() {
    buffer.append(borrowed);
    borrowed = {};
  }
};

/// OpenSSL reads from the bytes, and writes to them; they have to live as long. Null if there is no
/// memory.
bio_st* make_bio(Bytes& bytes) noexcept;

}  // namespace detail

/// A buffer that an SSLObject reads from or writes to. A counted reference, not for two threads at
/// a time.
class FIBER_API MemoryBIO {
 public:
  MemoryBIO() : bytes_(std::make_shared<detail::Bytes>()) {}

  /// At most n bytes, all of them for a negative n.
  std::string read(std::ptrdiff_t n = -1) const;
  /// Returns how many bytes that was: all. Throws SSLError after write_eof().
  std::size_t write(std::string_view data) const;
  /// The reader of the bytes finds the end after them.
  void write_eof() const noexcept { bytes_->ended = true; }
  /// How many bytes there are.
  std::size_t pending() const noexcept { return bytes_->pending(); }
  /// True if write_eof() was called, and nothing is left.
  bool eof() const noexcept { return bytes_->ended && bytes_->pending() == 0; }

  const std::shared_ptr<detail::Bytes>& bytes() const noexcept { return bytes_; }

 private:
  std::shared_ptr<detail::Bytes> bytes_;
};

}  // namespace fiber::ssl
