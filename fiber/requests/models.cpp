#include <fiber/requests/models.hpp>

#include <fiber/http/charset.hpp>
#include <fiber/http/text.hpp>
#include <fiber/requests/stream.hpp>

#include <algorithm>
#include <ostream>
#include <utility>

namespace fiber::requests {
namespace {

std::string strip(std::string_view text, std::string_view characters) {
  return std::string(http::strip(text, characters));
}

// Parses one link. Python: requests.utils.parse_header_links.
Response::Link parse_link(std::string_view text) {
  constexpr std::string_view quotes = " '\"";
  const auto semicolon = text.find(';');
  Response::Link link{{"url", strip(text.substr(0, semicolon), "<> '\"")}};
  std::string_view rest = semicolon == text.npos ? "" : text.substr(semicolon + 1);
  for (bool more = semicolon != text.npos; more;) {
    const auto end = rest.find(';');
    const std::string_view parameter = rest.substr(0, end);
    more = end != rest.npos;
    if (more) rest.remove_prefix(end + 1);
    const auto equals = parameter.find('=');
    if (equals == parameter.npos || parameter.find('=', equals + 1) != parameter.npos) break;
    link[strip(parameter.substr(0, equals), quotes)] = strip(parameter.substr(equals + 1), quotes);
  }
  return link;
}

// Cuts a body into lines, or at a delimiter; `next` returns the pieces of the body.
class Splitter {
 public:
  Splitter(std::function<std::string()> next, std::optional<std::string> delimiter)
      : next_(std::move(next)), delimiter_(std::move(delimiter)) {}

  std::optional<std::string> operator()() {
    for (;;) {
      const std::size_t end =
          delimiter_ ? held_.find(*delimiter_, looked_) : held_.find_first_of("\r\n", looked_);
      // The line feed of a carriage return at the end of a piece may be in the next piece.
      const bool open = end != held_.npos && !delimiter_ && held_[end] == '\r' &&
                        end + 1 == held_.size() && !ended_;
      if (end != held_.npos && !open) return cut(end);
      if (ended_) return last();
      looked_ = open ? end - taken_ : before_partial_delimiter();
      held_.erase(0, std::exchange(taken_, 0));
      const std::string piece = next_();
      ended_ = piece.empty();
      any_ = any_ || !ended_;
      held_ += piece;
    }
  }

 private:
  std::string cut(std::size_t end) {
    std::string line = held_.substr(taken_, end - taken_);
    const bool both = !delimiter_ && held_.compare(end, 2, "\r\n") == 0;
    taken_ = looked_ = end + (delimiter_ ? delimiter_->size() : both ? 2 : 1);
    return line;
  }

  std::optional<std::string> last() {
    const bool has_one = std::exchange(any_, false) && (delimiter_ || taken_ < held_.size());
    if (!has_one) return std::nullopt;
    std::string line = held_.substr(taken_);
    taken_ = looked_ = held_.size();
    any_ = false;
    return line;
  }

  std::size_t before_partial_delimiter() const {
    // Held text moves to the front before the next search.
    const std::size_t held = held_.size() - taken_;
    const std::size_t overlap = delimiter_ ? delimiter_->size() - 1 : 0;
    return held > overlap ? held - overlap : 0;
  }

  std::function<std::string()> next_;
  std::optional<std::string> delimiter_;
  std::string held_;
  std::size_t taken_ = 0;   // bytes of held_ that lines have taken
  std::size_t looked_ = 0;  // the search goes on here
  bool ended_ = false;
  bool any_ = false;  // the body is not empty
};

void check_delimiter(const std::optional<std::string>& delimiter) {
  if (delimiter && delimiter->empty()) throw ValueError("empty separator");
}

http::Lines lines_of(http::Chunks body, std::optional<std::string> delimiter) {
  auto chunks = std::make_shared<http::Chunks>(std::move(body));
  auto next = [chunks, at = std::optional<http::Chunks::iterator>()]() mutable -> std::string {
    if (at)
      ++*at;
    else
      at = chunks->begin();
    return **at;
  };
  return http::Lines(Splitter(std::move(next), std::move(delimiter)));
}

}  // namespace

bool Response::is_redirect() const {
  static constexpr int statuses[] = {301, 302, 303, 307, 308};
  return headers.contains("Location") &&
         std::ranges::find(statuses, status_code) != std::end(statuses);
}

bool Response::is_permanent_redirect() const {
  return headers.contains("Location") && (status_code == 301 || status_code == 308);
}

std::map<std::string, Response::Link> Response::links() const {
  std::map<std::string, Link> links;
  const std::string header = strip(headers.get("Link"), " '\"");
  for (std::size_t begin = 0; begin < header.size();) {
    // Links are separated by ", *<".
    std::size_t end = begin, next = header.npos;
    for (end = header.find(',', end); end != header.npos; end = header.find(',', end + 1)) {
      next = header.find_first_not_of(' ', end + 1);
      if (next != header.npos && header[next] == '<') break;
    }
    Link link = parse_link(std::string_view(header).substr(begin, end - begin));
    const auto rel = link.find("rel");
    std::string key = rel != link.end() && !rel->second.empty() ? rel->second : link["url"];
    links[std::move(key)] = std::move(link);
    begin = end == header.npos ? header.size() : next + 1;
  }
  return links;
}

std::string Response::text() const { return http::decode(content, encoding); }

void Response::raise_for_status() const {
  if (status_code < 400 || status_code >= 600) return;
  const char* whose = status_code < 500 ? " Client Error: " : " Server Error: ";
  throw HTTPError(std::to_string(status_code) + whose + reason + " for url: " + url,
                  std::make_shared<const Response>(*this));
}

// Without an encoding, requests guesses one from the zeros and the byte order mark.
std::string Response::json_text() const {
  if (encoding.empty() && content.size() > 3)
    if (const std::string guessed = http::guess_json_utf(content); !guessed.empty())
      return http::decode(content, guessed);
  return text();
}

void Response::refuse_json(std::string_view text) { throw JSONDecodeError(http::json_fault(text)); }

http::Chunks Response::chunks_of(std::string body, std::size_t chunk_size, bool at_once) const {
  if (stream_)
    return http::Chunks(
        [stream = stream_, chunk_size, at_once] { return stream->read(chunk_size, at_once); });
  // Shared: a std::function may copy what it calls.
  return http::Chunks([whole = std::make_shared<const std::string>(std::move(body)),
                       position = std::size_t{0}, chunk_size]() mutable {
    std::string piece = whole->substr(position, chunk_size ? chunk_size : whole->npos);
    position += piece.size();
    return piece;
  });
}

http::Chunks Response::iter_content(std::size_t chunk_size) & {
  return chunks_of(stream_ ? std::string() : content, chunk_size, false);
}

http::Chunks Response::iter_content(std::size_t chunk_size) && {
  return chunks_of(std::move(content), chunk_size, false);
}

http::Lines Response::iter_lines(std::size_t chunk_size, std::optional<std::string> delimiter) & {
  check_delimiter(delimiter);
  return lines_of(chunks_of(stream_ ? std::string() : content, chunk_size, true),
                  std::move(delimiter));
}

http::Lines Response::iter_lines(std::size_t chunk_size, std::optional<std::string> delimiter) && {
  check_delimiter(delimiter);
  return lines_of(chunks_of(std::move(content), chunk_size, true), std::move(delimiter));
}

std::ostream& operator<<(std::ostream& out, const Response& response) {
  return out << "<Response [" << response.status_code << "]>";
}

}  // namespace fiber::requests
