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

/// One part, until the next is asked for. What waits throws as the body that it is a part of does,
/// and RequestPayloadError if a boundary is missing. aiohttp.BodyPartReader.
class FIBER_API BodyPartReader {
 public:
  http::Headers headers;
  /// Of Content-Disposition; "" if they were not sent. A file name is what the other side says: it
  /// may have slashes and dots in it.
  std::string name;
  std::string filename;
  /// "text/plain" if none was sent.
  std::string content_type() const;

  /// Up to `size` bytes, at least one, "" at the end. Await it, as all below.
  auto read_chunk(std::size_t size = 8192) const {
    return asyncio::detail::Deferred([self = *this, size] { return self.chunk(size); });
  }
  /// All that is left, at most `limit` bytes: ValueError beyond.
  auto read(std::size_t limit = 1024 * 1024) const {
    return asyncio::detail::Deferred([self = *this, limit] { return self.all(limit); });
  }
  /// A line with its '\n'.
  auto readline() const {
    return asyncio::detail::Deferred([self = *this] { return self.line(); });
  }
  /// Leaves the rest out.
  auto release() const {
    return asyncio::detail::Deferred([self = *this] {
      while (!self.chunk(64 * 1024).empty()) {
      }
    });
  }
  bool at_eof() const noexcept;

 private:
  friend class MultipartReader;
  friend struct detail::MultipartObject;
  std::string chunk(std::size_t size) const;
  std::string all(std::size_t limit) const;
  std::string line() const;

  std::shared_ptr<detail::MultipartObject> object_;
  std::size_t index_ = 0;
};

/// aiohttp.MultipartReader.
class FIBER_API MultipartReader {
 public:
  /// `content_type`: with its boundary. Throws ValueError if that is not of a multipart body.
  MultipartReader(std::string_view content_type, detail::ByteReader& reader);

  /// The next part, what is left of the one before left out; nothing after the last. A part has at
  /// most 128 header lines of 8190 bytes. Await it.
  auto next() const {
    return asyncio::detail::Deferred([self = *this] { return self.next_part(); });
  }
  bool at_eof() const noexcept;

 private:
  std::optional<BodyPartReader> next_part() const;
  std::shared_ptr<detail::MultipartObject> object_;
};

}  // namespace fiber::aiohttp::web
