// Parses text/event-stream by the HTML standard (9.2.6). Sans I/O.
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
  // `most`: the limit in bytes for the data of an event, and for any field; less than SIZE_MAX.
  explicit EventStreamParser(std::size_t most) : most_(most) {}

  // Begins a stream. Drops the part of an event; last_event_id() and retry() stay.
  void begin() noexcept;
  // Takes bytes from the front of `in`, up to the end of an event; returns nothing once all bytes
  // are taken. Throws Failure (too_large); only begin() may be called after that.
  std::optional<ServerSentEvent> next(std::string_view& in);

  // The id of the last event that has ended, with data or without.
  const std::string& last_event_id() const noexcept { return last_event_id_; }
  void set_last_event_id(std::string id) { id_ = last_event_id_ = std::move(id); }
  // The pause between connections that the server asks for; a day at most.
  std::optional<std::chrono::milliseconds> retry() const noexcept { return retry_; }

 private:
  enum class Line { begins, comment, field };

  bool take_mark(std::string_view& in);
  void add_to_line(std::string_view bytes);
  void field();
  std::optional<ServerSentEvent> line_complete();
  [[noreturn]] void refuse() const;

  std::size_t most_;
  std::size_t mark_ = 0;       // received bytes of the byte order mark
  bool marked_ = false;        // the byte order mark is over
  bool after_return_ = false;  // a line feed belongs to the end of the line before
  Line kind_ = Line::begins;
  std::string line_;
  std::string type_, data_, id_, last_event_id_;
  std::optional<std::chrono::milliseconds> retry_;
};

}  // namespace fiber::http
