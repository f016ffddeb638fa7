// Parses the bytes of an answer: heads, the framing of the body, trailers. Sans I/O.
//
//   while ((event = parser.next(in)) != AnswerParser::Event::more) ...
//
// Accepts the heads that Python's clients accept (see HeadReader), and fewer forms of chunks.
// Copies bytes only where a line arrives in several pieces.
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

  // Begins a new answer. `bodiless`: the answer has no body, as to HEAD and CONNECT.
  void begin(bool bodiless);

  enum class Event : std::uint8_t {
    more,     // all bytes are taken; more have to be received
    interim,  // an interim head (100 Continue); the final one follows
    head,     // head() is complete
    data,     // data() is a part of the body
    end,      // the answer has ended; further bytes do not belong to it
  };
  // Removes bytes from the front of `in` up to the next event. Throws Failure (bad_response,
  // bad_header, payload); after that only begin() may be called.
  Event next(std::string_view& in);
  // The data of the last event; points into the bytes that were given to next().
  std::string_view data() const noexcept { return data_; }
  // Whether the next byte to be received is data of the body, and not framing.
  bool at_data() const noexcept {
    return left_ > 0 &&
           (state_ == State::length || state_ == State::chunk || state_ == State::to_the_end);
  }

  // Says that the connection has ended. Throws Failure (payload) if the body is incomplete;
  // otherwise complete() is true if the head has been received.
  void end_of_input();
  bool complete() const noexcept { return state_ == State::done; }

  const ResponseHead& head() const noexcept { return reader_.head(); }
  ResponseHead& head() noexcept { return reader_.head(); }
  const HeadReader::Known& known() const noexcept { return reader_.known(); }
  // Whether the connection may be used again after this answer.
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
  std::uint64_t left_ = 0;      // bytes of the body, or of the chunk, that are missing
  std::uint64_t received_ = 0;  // bytes of the body
  std::string line_, whole_line_;
  std::string_view data_;
};

}  // namespace fiber::http
