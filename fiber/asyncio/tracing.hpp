// What a loop did, and when, as a file for a timeline viewer: ui.perfetto.dev or chrome://tracing
// open it as it is (Chrome's trace event format, JSON).
//
//   asyncio::run([] {
//     const asyncio::tracing::Trace trace(asyncio::get_running_loop(), "trace.json");
//     ...
//   });
//
// It shows each step of each task and each callback with its duration, the time that tasks wait and
// for what, the time that the loop itself waits, and how much was ready in each iteration.
//
// A loop that is not traced pays nothing. In a traced one every task returns to the loop when it
// gives way, instead of handing over to the next one directly: the order of events is the same, the
// switches take longer.
#pragma once

#include <fiber/asyncio/events.hpp>
#include <fiber/standard.hpp>

#include <iosfwd>
#include <string>

namespace fiber::asyncio::tracing {

/// One trace, for as long as it lives. On the loop's thread.
class FIBER_API Trace {
 public:
  /// Traces the loop from now on. Throws OSError if the file cannot be written, RuntimeError if the
  /// loop is traced already.
  Trace(const EventLoop& loop, const std::string& path);
  /// The stream must live as long as the trace.
  Trace(const EventLoop& loop, std::ostream& out);
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  /// Closes; a failure is logged.
  ~Trace();

  /// Ends the trace and the file. Throws OSError if not all of it could be written.
  void close();

 private:
  class Writer;
  void begin(std::shared_ptr<Writer> writer);

  EventLoop loop_;
  std::shared_ptr<Writer> writer_;  ///< null once it is closed
};

}  // namespace fiber::asyncio::tracing
