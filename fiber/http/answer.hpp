// The bytes of an answer, taken apart: heads, the framing of the body, trailers. Sans I/O.
//
//   while ((event = parser.next(in)) != AnswerParser::Event::more) ...
//
// What is accepted is what Python's clients accept (see HeadReader), and less in the framing of
// chunks. Bytes are copied only where a line is cut in two by what has arrived.
#pragma once

#include <fiber/http/head.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fiber::http {

class AnswerParser {
 public:
  explicit AnswerParser(Rules rules) : rules_(rules), reader_(rules) {}

  // Of one answer: to a request whose answer has no body (HEAD, CONNECT), or to another.
  void begin(bool bodiless);

  enum class Event : std::uint8_t {
    more,     // all bytes are taken, and others have to come
    interim,  // a head that announces another one (100 Continue)
    head,     // head() is complete
    data,     // data() is a part of the body
    end,      // of the answer; what follows is none of it
  };
  // Takes from the front of `in`. Throws Failure (bad_response, bad_header, payload); nothing may
  // be called after that but begin().
  Event next(std::string_view& in);
  // In the bytes that next() has taken last.
  std::string_view data() const noexcept { return data_; }
  // Whether bytes that came now would be of the body itself.
  bool at_data() const noexcept {
    return left_ > 0 &&
           (state_ == State::length || state_ == State::chunk || state_ == State::to_the_end);
  }

  // The connection has ended. Throws Failure (payload) if the body had to go on; else the answer
  // is complete, if it was after its head.
  void end_of_input();
  bool complete() const noexcept { return state_ == State::done; }

  const ResponseHead& head() const noexcept { return reader_.head(); }
  ResponseHead& head() noexcept { return reader_.head(); }
  // Whether the connection may be used again after it.
  bool keeps_alive() const noexcept { return keeps_alive_; }

 private:
  enum class State : std::uint8_t {
    head,
    head_is_complete,
    length,
    chunk_size,
    chunk,
    chunk_end,
    trailers,
    to_the_end,
    done,
  };

  bool take_line(std::string_view& in, std::string_view& line);
  void refuse_beginning();
  bool take_data(std::string_view& in);
  void choose_framing();
  void chunk_size(std::string_view line);

  Rules rules_;
  HeadReader reader_;
  State state_ = State::head;
  bool bodiless_ = false;
  bool keeps_alive_ = false;
  std::uint64_t left_ = 0;      // of the body, or of the chunk
  std::uint64_t received_ = 0;  // of the body
  std::string line_, whole_line_;
  std::string_view data_;
};

}  // namespace fiber::http
