#include <fiber/aiohttp/web_streams.hpp>

#include <fiber/asyncio/exceptions.hpp>

#include <algorithm>

namespace fiber::aiohttp::web {

RequestPayloadError::~RequestPayloadError() = default;
PayloadAccessError::~PayloadAccessError() = default;

namespace detail {

ByteSource::~ByteSource() = default;

// Appends the next piece; returns false at the end.
bool ByteReader::fill() {
  if (source_ == nullptr && was_whole_) return false;
  if (source_ == nullptr) throw PayloadAccessError("the request was answered already");
  std::string piece = source_->next();
  if (piece.empty()) return false;
  if (at_ == held_.size()) {
    held_ = std::move(piece);
  } else {
    held_.erase(0, at_);
    held_ += piece;
  }
  at_ = 0;
  return true;
}

std::string ByteReader::take(std::size_t n) {
  const std::size_t count = std::min(n, held_.size() - at_);
  std::string data;
  if (at_ == 0 && count == held_.size()) {
    data = std::exchange(held_, {});
  } else {
    data = held_.substr(at_, count);
    at_ += count;
  }
  return data;
}

std::string ByteReader::readany() {
  if (at_ == held_.size() && !fill()) return {};
  return take(held_.size());
}

std::string ByteReader::read(std::ptrdiff_t n) {
  if (n == 0) return {};
  if (n > 0) {
    if (at_ == held_.size() && !fill()) return {};
    return take(static_cast<std::size_t>(n));
  }
  std::string all;
  for (std::string piece = readany(); !piece.empty(); piece = readany()) all += piece;
  return all;
}

std::string ByteReader::readuntil(std::string_view separator, std::size_t limit) {
  std::size_t from = at_;
  for (;;) {
    const std::size_t found = held_.find(separator, from);
    if (found != std::string::npos) {
      const std::size_t size = found + separator.size() - at_;
      if (size > limit) throw ValueError("Chunk too big");
      return take(size);
    }
    const std::size_t size = held_.size() - at_;
    if (size > limit) throw ValueError("Chunk too big");
    if (!fill()) return take(size);
    from = size >= separator.size() ? size - separator.size() + 1 : 0;
  }
}

std::string ByteReader::readline() {
  constexpr std::size_t kLongestLine = 64 * 1024;
  return readuntil("\n", kLongestLine);
}

std::string ByteReader::readexactly(std::size_t n) {
  std::string data;
  while (data.size() < n) {
    if (at_ == held_.size() && !fill()) throw asyncio::IncompleteReadError(data, n);
    data += take(n - data.size());
  }
  return data;
}

void ByteReader::unread(std::string data) {
  held_.replace(0, at_, data);
  at_ = 0;
}

}  // namespace detail
}  // namespace fiber::aiohttp::web
