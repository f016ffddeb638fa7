// A loop's events with their times, as a file for a timeline viewer: ui.perfetto.dev or
// chrome://tracing open it directly (Chrome's trace event format, JSON).
//
//   asyncio::run([] {
//     const asyncio::tracing::Trace trace(asyncio::get_running_loop(), "trace.json");
//     ...
//   });
//
// The trace shows each step of each task and each callback with its duration, how long tasks wait
// and for which future, the time that the loop itself waits, and how much was ready in each
// iteration.
//
// A loop that is not traced has no cost. In a traced loop every task returns to the loop when it
// suspends, instead of handing over to the next one directly: the order of events does not change,
// but switches take longer.
#pragma once

#include <fiber/asyncio/events.hpp>
#include <fiber/standard.hpp>

#include <iosfwd>
#include <string>

namespace fiber::asyncio::tracing {

/// A trace, which lasts as long as this object. To be used on the loop's thread.
class FIBER_API Trace {
 public:
  /// Traces the loop from now on. Throws OSError if the file cannot be written, RuntimeError if the
  /// loop is traced already.
  Trace(const EventLoop& loop, const std::string& path);
  /// Traces the loop to a stream, which must live as long as the trace.
  Trace(const EventLoop& loop, std::ostream& out);
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  /// Closes the trace; a failure is logged.
  ~Trace();

  /// Ends the trace and the file. Throws OSError if a part could not be written.
  void close();

 private:
  class Writer;
  void begin(std::shared_ptr<Writer> writer);

  EventLoop loop_;
  std::shared_ptr<Writer> writer_;  ///< null once it is closed
};

}  // namespace fiber::asyncio::tracing
