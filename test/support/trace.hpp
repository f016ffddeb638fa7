// Parts that tests of asyncio share: a list of events, each with the iteration of the loop in which
// it happened, and loops on a virtual clock. The first iteration, in which main begins, is 1.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace support {

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;

// Lines "[iteration] text", compared as one text so that a failure shows the whole list.
class Trace {
 public:
  template <class... T>
  void operator()(const T&... parts) {
    if (fiber::asyncio::detail::asyncio_thread().running != nullptr)
      loop_ = asyncio::get_running_loop();
    std::ostringstream line;
    line << "[" << (loop_ ? asyncio::testing::iterations(loop_) : 0) << "] ";
    (append(line, parts), ...);
    lines_.push_back(line.str());
  }
  // Adds a line for an event outside of any loop: without an iteration.
  void outside(const std::string& text) { lines_.push_back(text); }
  // Returns the lines since the last call, as "[1] a | [2] b".
  std::string take() {
    std::string text;
    for (const std::string& line : std::exchange(lines_, {}))
      text += (text.empty() ? "" : " | ") + line;
    return text;
  }

 private:
  static void append(std::ostringstream& line, bool value) { line << (value ? "True" : "False"); }
  static void append(std::ostringstream& line, const std::exception_ptr& error) {
    line << fiber::repr(error);
  }
  template <class T>
  static void append(std::ostringstream& line, const std::vector<T>& values) {
    line << "[";
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i != 0) line << ", ";
      append(line, values[i]);
    }
    line << "]";
  }
  template <class T>
  static void append(std::ostringstream& line, const T& value) {
    line << value;
  }

  asyncio::EventLoop loop_;
  std::vector<std::string> lines_;
};

// Returns "Type('text')" of the exception being handled.
inline std::string caught() { return fiber::repr(std::current_exception()); }

// Writes errors that no code waits for as "EXC_HANDLER message exception", while the loop runs.
inline void trace_errors(Trace& trace, const asyncio::EventLoop& loop) {
  loop.set_exception_handler(
      [&trace](const asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
        trace("EXC_HANDLER ", context.message, context.exception ? " " : "",
              context.exception ? fiber::repr(context.exception) : "");
      });
}

// Returns a new loop on a virtual clock; a loop_factory.
inline asyncio::EventLoop virtual_loop() {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  asyncio::testing::VirtualClock().attach(loop);
  loop.set_raise_deadlock(true);
  return loop;
}

// Calls asyncio::run on a virtual clock.
template <class F>
decltype(auto) run(F&& main) {
  return asyncio::run(std::forward<F>(main), {.loop_factory = virtual_loop});
}

// Gives way `count` times.
inline void turns(int count) {
  for (int i = 0; i < count; ++i) asyncio::await(asyncio::sleep(0));
}

// Sleeps until it is cancelled, then calls `then` and ends cancelled.
template <class F>
auto until_cancelled(F then) {
  return [then] {
    try {
      asyncio::await(asyncio::sleep(10s));
    } catch (const asyncio::CancelledError&) {
      then();
      throw;
    }
  };
}

}  // namespace support
