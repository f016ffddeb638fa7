// The lines of text/event-stream, taken apart as the HTML standard has it (9.2.6). Sans I/O.
//
//   parser.begin();
//   while (auto event = parser.next(in)) ...      // `in` is empty after it
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::http {

struct ServerSentEvent {
  std::string type = "message";
  std::string data = {};
};

class EventStreamParser {
 public:
  // `most`: bytes of an event's data, and of the value of any field; less than the largest number.
  explicit EventStreamParser(std::size_t most) : most_(most) {}

  // A stream begins. What has come of an event is forgotten; last_event_id() and retry() stay.
  void begin() noexcept;
  // Takes from the front of `in`, to the end of an event; nothing: all of it is taken. Throws
  // Failure (too_large); only begin() may be called after that.
  std::optional<ServerSentEvent> next(std::string_view& in);

  // Of the last event that has ended, with data or without.
  const std::string& last_event_id() const noexcept { return last_event_id_; }
  void set_last_event_id(std::string id) { id_ = last_event_id_ = std::move(id); }
  // What the server wants to be waited for between connections; a day at most.
  std::optional<std::chrono::milliseconds> retry() const noexcept { return retry_; }

 private:
  enum class Line { begins, comment, field };

  bool take_mark(std::string_view& in);
  void add_to_line(std::string_view bytes);
  void field();
  std::optional<ServerSentEvent> line_complete();
  [[noreturn]] void refuse() const;

  std::size_t most_;
  std::size_t mark_ = 0;       // bytes of the byte order mark that have come
  bool marked_ = false;        // nothing more of it can come
  bool after_return_ = false;  // a line feed belongs to the end of the line before
  Line kind_ = Line::begins;
  std::string line_;
  std::string type_, data_, id_, last_event_id_;
  std::optional<std::chrono::milliseconds> retry_;
};

}  // namespace fiber::http
