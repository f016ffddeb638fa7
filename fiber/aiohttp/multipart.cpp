#include <fiber/aiohttp/multipart.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <utility>

namespace fiber::aiohttp::web {
namespace detail {

// Finds the boundaries. `held` has the bytes that were read and not returned; a boundary may be cut
// at its end.
struct MultipartObject {
  static constexpr std::size_t kLongestLine = 8190;
  static constexpr std::size_t kMostLines = 128;

  explicit MultipartObject(std::shared_ptr<ByteReader> its_reader)
      : reader(std::move(its_reader)) {}

  void more() {
    const std::string piece = reader->readany();
    if (piece.empty()) throw RequestPayloadError("Could not find the next boundary of the body");
    clear -= std::min(clear, at);
    held.erase(0, std::exchange(at, 0));
    held += piece;
  }
  std::string_view rest() const noexcept { return std::string_view(held).substr(at); }

  // Returns up to `most` bytes of the current part.
  std::string read(std::size_t most) {
    while (part_open) {
      // `clear` saves searching for the boundary again in small reads.
      if (clear <= at) {
        const std::size_t found = held.find(delimiter, at);
        if (found == at) {
          end_part();
          break;
        }
        clear = found;
        if (found == std::string::npos)
          clear = held.size() >= delimiter.size() ? held.size() - delimiter.size() + 1 : 0;
      }
      if (clear > at) {
        std::string data(rest().substr(0, std::min(clear - at, most)));
        at += data.size();
        return data;
      }
      more();
    }
    return {};
  }

  // Parses the text after a boundary: "--" marks the last one.
  void end_part() {
    at += delimiter.size();
    part_open = false;
    while (rest().size() < 2) more();
    if (rest().starts_with("--")) {
      ended = true;
      return;
    }
    const std::string line = header_line();
    if (!http::strip(line).empty()) throw RequestPayloadError("Invalid boundary of the body");
  }

  // Returns a header line without its end.
  std::string header_line() {
    for (;;) {
      const std::size_t found = rest().find('\n');
      if (found != std::string_view::npos && found <= kLongestLine + 1) {
        std::string line(rest().substr(0, found));
        at += found + 1;
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (line.size() <= kLongestLine) return line;
      }
      if (rest().size() > kLongestLine + 1 || found != std::string_view::npos)
        throw RequestPayloadError("a header of a part is too long");
      more();
    }
  }

  http::Headers headers() {
    http::Headers all;
    for (std::size_t count = 0;; ++count) {
      const std::string line = header_line();
      if (line.empty()) return all;
      if (count == kMostLines) throw RequestPayloadError("a part has too many headers");
      const std::size_t colon = line.find(':');
      if (colon == std::string::npos || !http::is_token(std::string_view(line).substr(0, colon)))
        throw RequestPayloadError("a header of a part is malformed");
      all.add(std::string_view(line).substr(0, colon),
              http::strip(std::string_view(line).substr(colon + 1)));
    }
  }

  // Begins the body of a part. An empty one may lack the line end before its boundary: the line end
  // after the headers is that, too (RFC 2046, 5.1.1).
  void begin_part() {
    const std::string_view boundary = std::string_view(delimiter).substr(2);
    while (rest().size() < boundary.size() && boundary.starts_with(rest())) more();
    if (rest().starts_with(boundary)) held.insert(at, "\r\n");
    part_open = true;
  }

  std::shared_ptr<ByteReader> reader;
  std::string delimiter;      // "\r\n--boundary"
  std::string held = "\r\n";  // the first boundary may have no line before it
  std::size_t at = 0;
  std::size_t clear = 0;  // no boundary begins between `at` and here
  std::size_t index = 0;  // index of the current part
  bool part_open = true;  // at first the preamble
  bool ended = false;
};

}  // namespace detail

MultipartReader::MultipartReader(std::string_view content_type,
                                 std::shared_ptr<detail::ByteReader> reader)
    : object_(std::make_shared<detail::MultipartObject>(std::move(reader))) {
  const http::MediaType type = http::parse_media_type(content_type);
  if (!type.type.starts_with("multipart/"))
    throw ValueError("multipart/* content type expected, not '" + type.type + "'");
  const std::string_view boundary = type.parameter("boundary");
  if (boundary.empty())
    throw ValueError("boundary missed for Content-Type: " + std::string(content_type));
  if (boundary.size() > 70) throw ValueError("boundary is too long (70 chars max)");
  object_->delimiter = "\r\n--" + std::string(boundary);
}

bool MultipartReader::at_eof() const noexcept { return object_->ended; }

namespace {

// Returns the parameter `name`, or its extended form `name*` (RFC 8187), which has priority.
std::string text_of(const http::MediaType& disposition, const std::string& name) {
  const std::string_view extended = disposition.parameter(name + "*");
  const std::size_t quote = extended.find('\'');
  const std::size_t second =
      quote == std::string_view::npos ? quote : extended.find('\'', quote + 1);
  if (second == std::string_view::npos) return http::valid_utf8(disposition.parameter(name));
  const std::string_view value = extended.substr(second + 1);
  return http::is_latin1(http::lower(extended.substr(0, quote)))
             ? http::from_latin1(http::unquote_to_bytes(value))
             : http::unquote(value);
}

}  // namespace

std::optional<BodyPartReader> MultipartReader::next_part() const {
  detail::MultipartObject& object = *object_;
  while (!object.read(64 * 1024).empty()) {
  }
  if (object.ended) return std::nullopt;
  BodyPartReader part;
  part.headers = object.headers();
  object.begin_part();
  part.object_ = object_;
  part.index_ = ++object.index;
  const http::MediaType disposition =
      http::parse_media_type(part.headers.get("Content-Disposition"));
  part.name = text_of(disposition, "name");
  part.filename = text_of(disposition, "filename");
  return part;
}

std::string BodyPartReader::content_type() const {
  return http::parse_media_type(headers.get("Content-Type", "text/plain")).type;
}

bool BodyPartReader::at_eof() const noexcept {
  return object_->index != index_ || !object_->part_open;
}

std::string BodyPartReader::chunk(std::size_t size) const {
  if (object_->index != index_) return {};
  return object_->read(std::max<std::size_t>(size, 1));
}

std::string BodyPartReader::all(std::size_t limit) const {
  std::string data;
  for (std::string piece = chunk(64 * 1024); !piece.empty(); piece = chunk(64 * 1024)) {
    data += piece;
    if (data.size() > limit)
      throw ValueError("a part is larger than " + std::to_string(limit) + " bytes");
  }
  return data;
}

std::string BodyPartReader::line() const {
  std::string text;
  while (text.size() <= detail::MultipartObject::kLongestLine) {
    const std::string piece = chunk(1);
    text += piece;
    if (piece.empty() || piece == "\n") return text;
  }
  throw ValueError("Line is too long");
}

}  // namespace fiber::aiohttp::web
