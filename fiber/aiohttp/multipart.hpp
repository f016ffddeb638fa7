// Bodies of several parts, read as they arrive. Python: aiohttp.multipart.
//
//   web::MultipartReader reader = await(request.multipart());
//   while (auto part = await(reader.next()))
//     for (std::string chunk = await(part->read_chunk()); !chunk.empty();
//          chunk = await(part->read_chunk()))
//       file << chunk;
#pragma once

#include <fiber/aiohttp/web_streams.hpp>
#include <fiber/http/headers.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp::web {

namespace detail {
struct MultipartObject;
}

/// One part, valid until the next one is asked for. Functions that wait throw the exceptions of the
/// whole body, and RequestPayloadError if a boundary is missing. Python: aiohttp.BodyPartReader.
class FIBER_API BodyPartReader {
 public:
  BodyPartReader(const BodyPartReader&) = default;  ///< moving is copying: never empty
  BodyPartReader& operator=(const BodyPartReader&) = default;

  http::Headers headers;  ///< of this part alone
  /// The parameters of Content-Disposition; "" if not sent. Do not trust a file name: the peer may
  /// put slashes and dots in it.
  std::string name;
  std::string filename;  ///< as the peer has sent it: see above
  /// Returns the content type, "text/plain" if none was sent.
  std::string content_type() const;

  /// Returns up to `size` bytes, at least one, "" at the end. To be awaited, like the functions
  /// below.
  auto read_chunk(std::size_t size = 8192) const {
    return asyncio::detail::Deferred([self = *this, size] { return self.chunk(size); });
  }
  /// Returns the rest. Throws ValueError if it has more than `limit` bytes.
  auto read(std::size_t limit = 1024 * 1024) const {
    return asyncio::detail::Deferred([self = *this, limit] { return self.all(limit); });
  }
  /// Returns a line with its '\n'.
  auto readline() const {
    return asyncio::detail::Deferred([self = *this] { return self.line(); });
  }
  /// Skips the rest.
  auto release() const {
    return asyncio::detail::Deferred([self = *this] {
      while (!self.chunk(64 * 1024).empty()) {
      }
    });
  }
  bool at_eof() const noexcept;  ///< true once all bytes of the part are read

 private:
  friend class MultipartReader;
  friend struct detail::MultipartObject;
  BodyPartReader() = default;
  std::string chunk(std::size_t size) const;
  std::string all(std::size_t limit) const;
  std::string line() const;

  std::shared_ptr<detail::MultipartObject> object_;
  std::size_t index_ = 0;
};

/// Reads the parts one after the other. Python: aiohttp.MultipartReader.
class FIBER_API MultipartReader {
 public:
  /// Makes a reader. `content_type`: with its boundary. Throws ValueError if it is not multipart.
  MultipartReader(std::string_view content_type, std::shared_ptr<detail::ByteReader> reader);
  MultipartReader(const MultipartReader&) noexcept = default;  ///< moving is copying: never empty
  MultipartReader& operator=(const MultipartReader&) noexcept = default;

  /// Skips the rest of the current part and returns the next one; nothing after the last. A part
  /// has at most 128 header lines of 8190 bytes. To be awaited.
  auto next() const {
    return asyncio::detail::Deferred([self = *this] { return self.next_part(); });
  }
  bool at_eof() const noexcept;  ///< true once next() has returned nothing

 private:
  std::optional<BodyPartReader> next_part() const;
  std::shared_ptr<detail::MultipartObject> object_;
};

}  // namespace fiber::aiohttp::web
