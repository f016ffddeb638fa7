// The body of a request as it arrives. Python: aiohttp.streams.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/exceptions.hpp>

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

namespace fiber::aiohttp::web {

/// The body of a request is malformed, or ended early. Python: aiohttp.web.RequestPayloadError.
class FIBER_API RequestPayloadError : public Exception {
 public:
  using Exception::Exception;
  ~RequestPayloadError() override;
};
/// The body was read after its request had been answered. Python: aiohttp.web.PayloadAccessError.
class FIBER_API PayloadAccessError : public Exception {
 public:
  using Exception::Exception;
  ~PayloadAccessError() override;
};

namespace detail {

/// A source of bytes, a piece at a time.
class FIBER_API ByteSource {
 public:
  virtual ~ByteSource();
  /// Returns the next piece, "" at the end; may wait.
  virtual std::string next() = 0;
  virtual bool ended() const noexcept = 0;
};

/// The object behind StreamReader: joins the pieces of a source on demand. Holds at most one
/// piece more than was asked for. Handles own it, and may outlive the source.
class FIBER_API ByteReader {
 public:
  explicit ByteReader(ByteSource& source) noexcept : source_(&source) {}
  std::string read(std::ptrdiff_t n);
  std::string readany();
  std::string readline();
  std::string readexactly(std::size_t n);
  /// Reads up to and including the separator. Throws ValueError after `limit` bytes without one.
  std::string readuntil(std::string_view separator, std::size_t limit);
  void unread(std::string data);
  bool at_eof() const noexcept {
    return at_ == held_.size() && (source_ == nullptr ? was_whole_ : source_->ended());
  }
  /// Parts from the source: reading more than it has given throws PayloadAccessError from now on.
  void end() noexcept {
    was_whole_ = source_ == nullptr || source_->ended();
    source_ = nullptr;
  }

 private:
  bool fill();
  std::string take(std::size_t n);
  ByteSource* source_;
  bool was_whole_ = false;
  std::string held_;
  std::size_t at_ = 0;
};

}  // namespace detail

/// A handle to a body, decompressed. Functions that wait throw RequestPayloadError,
/// HTTPRequestTimeout if the client is too slow, and PayloadAccessError once the request has been
/// answered. Python: aiohttp.StreamReader.
class FIBER_API StreamReader {
 public:
  explicit StreamReader(std::shared_ptr<detail::ByteReader> reader) noexcept
      : reader_(std::move(reader)) {}
  StreamReader(const StreamReader&) noexcept = default;  ///< moving is copying: never empty
  StreamReader& operator=(const StreamReader&) noexcept = default;

  /// Returns up to n bytes, at least one, "" at the end; n < 0: all the rest. To be awaited, like
  /// the functions below.
  auto read(std::ptrdiff_t n = -1) const {
    return asyncio::detail::Deferred([reader = reader_, n] { return reader->read(n); });
  }
  /// Returns the available bytes, at least one, "" at the end.
  auto readany() const {
    return asyncio::detail::Deferred([reader = reader_] { return reader->readany(); });
  }
  /// Returns a line with its '\n', which the last one may lack; "" at the end. Throws ValueError
  /// beyond 64 KiB.
  auto readline() const {
    return asyncio::detail::Deferred([reader = reader_] { return reader->readline(); });
  }
  /// Returns exactly n bytes. Throws IncompleteReadError.
  auto readexactly(std::size_t n) const {
    return asyncio::detail::Deferred([reader = reader_, n] { return reader->readexactly(n); });
  }
  bool at_eof() const noexcept { return reader_->at_eof(); }  ///< true once all bytes were read

  /// for (std::string& piece : content.iter_chunked(n)): the results of read(n).
  class Pieces;
  Pieces iter_chunked(std::size_t n) const;  ///< Returns the results of read(n) as a range
  /// Returns the results of readany() as a range.
  Pieces iter_any() const;
  /// Returns the results of readline() as a range. Python: async for line in content.
  Pieces iter_lines() const;

 private:
  std::shared_ptr<detail::ByteReader> reader_;
};

/// An input range of pieces, up to the first empty one.
class StreamReader::Pieces {
 public:
  explicit Pieces(std::function<std::string()> next) : next_(std::move(next)) {}
  /// Holds a piece until the next one is read.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    explicit iterator(Pieces& pieces) : pieces_(&pieces) { ++*this; }
    std::string& operator*() const noexcept { return pieces_->piece_; }
    iterator& operator++() {
      pieces_->piece_ = pieces_->next_();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return pieces_->piece_.empty(); }

   private:
    Pieces* pieces_;
  };
  iterator begin() { return iterator(*this); }                 ///< reads the first piece
  std::default_sentinel_t end() const noexcept { return {}; }  ///< the end of the body

 private:
  std::function<std::string()> next_;
  std::string piece_;
};

inline StreamReader::Pieces StreamReader::iter_chunked(std::size_t n) const {
  return Pieces([reader = reader_, n] { return reader->read(static_cast<std::ptrdiff_t>(n)); });
}
inline StreamReader::Pieces StreamReader::iter_any() const {
  return Pieces([reader = reader_] { return reader->readany(); });
}
inline StreamReader::Pieces StreamReader::iter_lines() const {
  return Pieces([reader = reader_] { return reader->readline(); });
}

}  // namespace fiber::aiohttp::web
