// The reports of asyncio, as a list.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/exceptions.hpp>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"

namespace support {

// Collects reports in place of stderr while it lives.
class Log {
 public:
  Log()
      : previous_(fiber::asyncio::set_log_handler([this](const fiber::asyncio::LogRecord& record) {
          const std::lock_guard lock(mutex_);
          static constexpr const char* kLevels[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
          std::string line = kLevels[static_cast<std::size_t>(record.level)];
          line.append(" ").append(record.message);
          if (record.exception) line.append("\n").append(fiber::repr(record.exception));
          lines_.push_back(std::move(line));
        })) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() { fiber::asyncio::set_log_handler(std::move(previous_)); }

  // Returns the reports since the last call, separated by " | ".
  std::string take() {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const std::string& line : std::exchange(lines_, {}))
      text += (text.empty() ? "" : " | ") + line;
    return text;
  }

 private:
  fiber::asyncio::log_handler previous_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Removes the parts that differ from build to build: " created at …" up to the end of an object's
// repr, and all lines from the first that starts with two blanks.
inline std::string without_places(std::string text) {
  for (std::size_t at = 0; (at = text.find(" created at ", at)) != std::string::npos;) {
    const std::size_t end = text.find(")>", at);
    if (end == std::string::npos) break;
    text.erase(at, end + 1 - at);
  }
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (!line.starts_with("  ")) kept += (kept.empty() ? "" : "\n") + line;
    at = end + 1;
  }
  return kept;
}

// Collects reports to the exception handler of the running loop, until the end of the loop.
inline void report_to(Events& say) {
  fiber::asyncio::get_running_loop().set_exception_handler(
      [&say](const fiber::asyncio::EventLoop&, const fiber::asyncio::ExceptionContext& context) {
        say(context.message + ": " + fiber::repr(context.exception));
      });
}

}  // namespace support
