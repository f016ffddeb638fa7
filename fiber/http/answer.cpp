#include <fiber/http/answer.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace fiber::http {
namespace {

constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
// The most bytes of one data event: the receiver may have no room for more.
constexpr std::size_t piece_limit = 64 * 1024;

[[noreturn]] void fail(std::string text) { throw Failure{Failure::Kind::payload, std::move(text)}; }

}  // namespace

void AnswerParser::begin(bool bodiless) {
  reader_.begin();
  state_ = State::head;
  bodiless_ = bodiless;
  keeps_alive_ = false;
  left_ = received_ = 0;
  line_.clear();
  data_ = {};
}

// Takes a whole line, its end included, from `in`. Returns false until the end has arrived.
bool AnswerParser::take_line(std::string_view& in, std::string_view& line) {
  const auto newline = in.find('\n');
  const std::string_view part = in.substr(0, newline == in.npos ? in.size() : newline + 1);
  in.remove_prefix(part.size());
  if (newline != in.npos && line_.empty()) {
    line = part;
    return true;
  }
  // Longer lines are refused. HeadReader has these limits, too.
  const std::size_t limit = rules_ == Rules::requests ? 65536 : 8190;
  line_ += part;
  if (newline == in.npos && line_.size() <= limit) return false;
  whole_line_.swap(line_);
  line_.clear();
  line = whole_line_;
  return true;
}

// Refuses bytes that are not HTTP before the first line ends: its end may never arrive.
void AnswerParser::refuse_beginning() {
  constexpr std::string_view version = "HTTP/";
  const std::size_t size = std::min(line_.size(), version.size());
  if (reader_.in_head() || line_.empty() || line_[0] == '\r' ||
      version.starts_with(line_.substr(0, size)))
    return;
  throw Failure{Failure::Kind::bad_response, "Bad status line: '" + line_.substr(0, 100) + "'"};
}

bool AnswerParser::take_data(std::string_view& in) {
  const std::size_t size =
      static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::min(in.size(), piece_limit)));
  data_ = in.substr(0, size);
  in.remove_prefix(size);
  received_ += size;
  if (left_ != no_end) left_ -= size;
  return size > 0;
}

AnswerParser::Event AnswerParser::next(std::string_view& in) {
  std::string_view line;
  for (;;) {
    switch (state_) {
      case State::head:
        if (!take_line(in, line)) {
          refuse_beginning();
          return Event::more;
        }
        if (reader_.add(line)) {
          state_ = State::head_is_complete;
          keeps_alive_ = reader_.keeps_alive();
          choose_framing();
          return Event::head;
        }
        if (reader_.interim()) return Event::interim;
        break;
      case State::head_is_complete: state_ = State::done; return Event::end;
      case State::length:
      case State::to_the_end:
        if (left_ == 0) {
          state_ = State::done;
          return Event::end;
        }
        return take_data(in) ? Event::data : Event::more;
      case State::chunk_size:
        if (!take_line(in, line)) return Event::more;
        chunk_size(line);
        break;
      case State::chunk:
        if (left_ == 0) {
          state_ = State::chunk_end;
          break;
        }
        return take_data(in) ? Event::data : Event::more;
      case State::chunk_end:
        if (!take_line(in, line)) return Event::more;
        if (line != "\r\n" && !(line == "\n" && rules_ == Rules::requests))
          fail("The end of a chunk is missing");
        state_ = State::chunk_size;
        break;
      case State::trailers:
        if (!take_line(in, line)) return Event::more;
        reader_.add(line);  // counts their bytes
        if (!line.ends_with('\n'))
          throw Failure{Failure::Kind::bad_response, "A trailer of a chunked body is too long"};
        if (line != "\r\n" && line != "\n") {
          if (line.find(':') == line.npos) fail("A trailer has no colon");
          break;
        }
        state_ = State::done;
        return Event::end;
      case State::done: return Event::end;
    }
  }
}

// RFC 9112, 6.3.
void AnswerParser::choose_framing() {
  const ResponseHead& head = reader_.head();
  const int status = head.status;
  if (bodiless_ || status == 204 || status == 304) return;
  if (status == 101) {  // the bytes after this head belong to another protocol
    keeps_alive_ = false;
    return;
  }
  const HeadReader::Known& known = reader_.known();
  if (known.chunked) {
    state_ = State::chunk_size;
    // A proxy on the way may have used the length instead.
    if (known.content_length) keeps_alive_ = false;
    return;
  }
  if (known.content_length) {
    state_ = State::length;
    for (const char c : reader_.content_length()) {
      const auto digit = static_cast<std::uint64_t>(c - '0');
      left_ = left_ > (no_end - 1 - digit) / 10 ? no_end - 1 : left_ * 10 + digit;
    }
    return;
  }
  state_ = State::to_the_end;
  left_ = no_end;
  keeps_alive_ = false;
}

void AnswerParser::chunk_size(std::string_view line) {
  const std::string_view whole = line;
  const auto refuse = [&] {
    fail("Invalid chunk length: '" + std::string(whole.substr(0, 100)) + "'");
  };
  if (!line.ends_with('\n') || (!line.ends_with("\r\n") && rules_ == Rules::aiohttp)) refuse();
  line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
  std::size_t digits = 0;
  left_ = 0;
  for (; digits < line.size() && hex_value(line[digits]) >= 0; ++digits) {
    if (left_ >> 58 != 0) refuse();
    left_ = left_ * 16 + static_cast<std::uint64_t>(hex_value(line[digits]));
  }
  const std::string_view rest = strip(line.substr(digits));
  if (digits == 0 || (!rest.empty() && rest.front() != ';')) refuse();
  state_ = left_ == 0 ? State::trailers : State::chunk;
}

void AnswerParser::end_of_input() {
  keeps_alive_ = false;
  switch (state_) {
    case State::head:
    case State::done: return;
    case State::head_is_complete:
    case State::to_the_end: state_ = State::done; return;
    case State::length:
      if (left_ == 0) {
        state_ = State::done;
        return;
      }
      fail("Connection broken: IncompleteRead(" + std::to_string(received_) + " bytes read, " +
           std::to_string(left_) + " more expected)");
    case State::chunk_size:
    case State::chunk:
    case State::chunk_end:
    case State::trailers: break;
  }
  fail("Connection broken: InvalidChunkLength or IncompleteRead(" + std::to_string(received_) +
       " bytes read): the connection ended before the last chunk");
}

}  // namespace fiber::http
