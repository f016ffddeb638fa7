#include <fiber/http/event_stream.hpp>

#include <fiber/http/charset.hpp>
#include <fiber/http/failure.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace fiber::http {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

// Malformed characters end with their line, so that each value can be decoded alone.
std::string decoded(std::string_view value) {
  return is_ascii(value) ? std::string(value) : decode(value, "utf-8");
}

std::optional<std::chrono::milliseconds> duration_of(std::string_view digits) noexcept {
  constexpr std::int64_t a_day = 24 * 3600 * 1000;
  if (digits.empty()) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = std::min(a_day, value * 10 + (c - '0'));
  }
  return std::chrono::milliseconds(value);
}

}  // namespace

void EventStreamParser::refuse() const {
  throw Failure{Failure::Kind::too_large,
                "An event has more bytes than max_event_size=" + std::to_string(most_)};
}

void EventStreamParser::begin() noexcept {
  mark_ = 0;
  marked_ = after_return_ = false;
  kind_ = Line::begins;
  line_.clear();
  type_.clear();
  data_.clear();
  id_ = last_event_id_;
}

// Returns false if more bytes are needed to recognise the mark.
bool EventStreamParser::take_mark(std::string_view& in) {
  while (!marked_) {
    if (mark_ == byte_order_mark.size()) {
      marked_ = true;
    } else if (in.empty()) {
      return false;
    } else if (in.front() == byte_order_mark[mark_]) {
      ++mark_;
      in.remove_prefix(1);
    } else {
      marked_ = true;
      if (mark_ > 0) add_to_line(byte_order_mark.substr(0, mark_));
    }
  }
  return true;
}

// Appends bytes to the current line; drops those of comments.
void EventStreamParser::add_to_line(std::string_view bytes) {
  if (bytes.empty()) return;
  if (kind_ == Line::begins) kind_ = bytes.front() == ':' ? Line::comment : Line::field;
  if (kind_ == Line::comment) return;
  constexpr std::string_view name = "data: ";
  if (line_.size() + bytes.size() > most_ + name.size()) refuse();
  line_ += bytes;
}

std::optional<ServerSentEvent> EventStreamParser::next(std::string_view& in) {
  if (!take_mark(in)) return std::nullopt;
  while (!in.empty()) {
    if (std::exchange(after_return_, false) && in.front() == '\n') {
      in.remove_prefix(1);
      continue;
    }
    const std::size_t end = in.find_first_of("\r\n");
    add_to_line(in.substr(0, end));
    if (end == in.npos) {
      in = {};
      break;
    }
    after_return_ = in[end] == '\r';
    in.remove_prefix(end + 1);
    if (auto event = line_complete()) return event;
  }
  return std::nullopt;
}

std::optional<ServerSentEvent> EventStreamParser::line_complete() {
  const Line kind = std::exchange(kind_, Line::begins);
  if (kind == Line::comment) return std::nullopt;
  if (kind == Line::field) {
    field();
    line_.clear();
    return std::nullopt;
  }
  last_event_id_ = id_;
  std::string type = std::exchange(type_, {}), data = std::exchange(data_, {});
  if (data.empty()) return std::nullopt;
  data.pop_back();
  return ServerSentEvent{type.empty() ? "message" : std::move(type), std::move(data)};
}

void EventStreamParser::field() {
  const std::string_view line = line_;
  const std::size_t colon = std::min(line.find(':'), line.size());
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  // Decoding may make a text three times as long.
  const auto text = [&](std::size_t room) {
    std::string result = decoded(value);
    if (result.size() > room) refuse();
    return result;
  };
  if (name == "data") {
    if (data_.size() > most_) refuse();
    data_ += text(most_ - data_.size());
    data_ += '\n';
  } else if (name == "event") {
    type_ = text(most_);
  } else if (name == "id") {
    if (value.find('\0') == value.npos) id_ = text(most_);
  } else if (name == "retry") {
    if (const auto duration = duration_of(value)) retry_ = duration;
  }
}

}  // namespace fiber::http
