#include <fiber/asyncio/tracing.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/observer.hpp>
#include <fiber/platform/thread.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <ostream>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace fiber::asyncio::tracing {
namespace {

std::string in_quotes(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// Returns a time in the unit of the format.
std::string microseconds(std::int64_t nanoseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%03lld", static_cast<long long>(nanoseconds / 1000),
                static_cast<long long>(nanoseconds % 1000));
  return text;
}

}  // namespace

// Writes an array of objects, one a line. Viewers accept an array without its end, so a program
// that crashes leaves a trace as well.
class Trace::Writer final : public asyncio::detail::LoopObserver {
 public:
  explicit Writer(std::ostream& out) : out_(out) { open(); }
  explicit Writer(const std::string& path) : file_(path), out_(file_) {
    if (!file_) raise_os_error(errno, path);
    open();
  }

  void iteration(std::uint64_t number, std::size_t ready, std::int64_t at) override {
    event('C', "ready", "loop", at,
          ",\"args\":{\"ready\":" + std::to_string(ready) +
              ",\"iteration\":" + std::to_string(number) + "}");
  }
  void waited(Interval time) override { span("select", "loop", time, ""); }
  void task_step(Interval time, const TaskStep& step) override {
    end_wait(step.number, time.begin);
    span(step.name, "task", time,
         ",\"args\":{\"coroutine\":" + in_quotes(step.coroutine) + ",\"then\":" +
             in_quotes(step.ended               ? "ended"
                       : step.waits_for.empty() ? "gave way"
                                                : "waits") +
             "}");
    last_ = time.end;
    if (step.ended) return;
    waits_.emplace(step.number, step.name);
    event('b', step.name, "wait", time.end,
          id(step.number) + ",\"args\":{\"for\":" + in_quotes(step.waits_for) + "}");
  }
  void callback(Interval time, const std::string& name) override {
    span(name, "callback", time, "");
  }

  // Returns false if a write has failed.
  bool finish() {
    while (!waits_.empty()) end_wait(waits_.begin()->first, last_);
    out_ << "\n]\n";
    out_.flush();
    return out_.good();
  }

 private:
  void open() {
    out_ << "[\n";
    event('M', "thread_name", "__metadata", 0, ",\"args\":{\"name\":\"event loop\"}");
  }
  void end_wait(std::uint64_t number, std::int64_t at) {
    const auto wait = waits_.find(number);
    if (wait == waits_.end()) return;
    event('e', wait->second, "wait", at, id(number));
    waits_.erase(wait);
  }
  static std::string id(std::uint64_t number) { return ",\"id\":" + std::to_string(number); }
  void span(const std::string& name, const char* category, Interval time, const std::string& more) {
    event('X', name, category, time.begin,
          ",\"dur\":" + microseconds(time.end - time.begin) + more);
  }
  void event(char phase, const std::string& name, const char* category, std::int64_t at,
             const std::string& more) {
    out_ << std::exchange(separator_, ",\n") << "{\"ph\":\"" << phase
         << "\",\"name\":" << in_quotes(name) << ",\"cat\":\"" << category
         << "\",\"ts\":" << microseconds(at) << ",\"pid\":" << process_ << ",\"tid\":" << thread_
         << more << "}";
  }

  std::ofstream file_;
  std::ostream& out_;
  const char* separator_ = "";
  const std::string process_ = std::to_string(::getpid());  // in every locale
  const std::string thread_ = std::to_string(platform::thread_number());
  std::map<std::uint64_t, std::string> waits_;  // suspended tasks, by number, with their names
  std::int64_t last_ = 0;
};

namespace {

void refuse_second_trace(const EventLoop& loop) {
  if (loop.object().observation().observer() != nullptr)
    throw RuntimeError("this event loop is traced already: close the other Trace first");
}

}  // namespace

Trace::Trace(const EventLoop& loop, const std::string& path) : loop_(loop) {
  refuse_second_trace(loop);
  begin(std::make_shared<Writer>(path));
}

Trace::Trace(const EventLoop& loop, std::ostream& out) : loop_(loop) {
  refuse_second_trace(loop);
  begin(std::make_shared<Writer>(out));
}

void Trace::begin(std::shared_ptr<Writer> writer) {
  writer_ = std::move(writer);
  loop_.object().observation().set_observer(writer_);
}

Trace::~Trace() {
  try {
    close();
  } catch (...) {
    asyncio::detail::log(LogLevel::warning, "A trace of an event loop is not complete",
                         std::current_exception());
  }
}

void Trace::close() {
  const std::shared_ptr<Writer> writer = std::exchange(writer_, nullptr);
  if (writer == nullptr) return;
  loop_.object().observation().set_observer(nullptr);
  if (!writer->finish()) throw OSError("the trace could not be written");
}

}  // namespace fiber::asyncio::tracing
