// Traces of a loop for timeline viewers.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <locale>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <stdlib.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/lines.hpp"
#include "support/log.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;
namespace tracing = fiber::asyncio::tracing;

namespace {

// Returns the text after `"key":`, without quotes.
std::string field(const std::string& line, const std::string& key) {
  const std::size_t at = line.find("\"" + key + "\":");
  if (at == std::string::npos) return "";
  std::size_t from = at + key.size() + 3;
  if (line[from] == '"') return line.substr(from + 1, line.find('"', from + 1) - from - 1);
  return line.substr(from, line.find_first_of(",}", from) - from);
}

// Returns "phase name" for the events of a category, with the tasks' actions.
std::string events_of(const std::string& text, const std::string& category) {
  std::string events;
  for (const std::string& line : lines_of(text)) {
    if (field(line, "cat") != category) continue;
    events += (events.empty() ? "" : " | ") + field(line, "ph") + " " + field(line, "name");
    if (category == "task") events += " " + field(line, "then");
  }
  return events;
}

}  // namespace

TEST_CASE("a trace has each step of each task, and what it waits for in between") {
  std::ostringstream out;
  run([&] {
    asyncio::current_task().set_name("main");
    tracing::Trace trace(get_running_loop(), out);
    turns(1);
    auto worker = create_task(asyncio::async("work",
                                             [] {
                                               turns(1);
                                               await(asyncio::sleep(1s));
                                             })(),
                              {.name = "worker"});
    await(worker);
    trace.close();
  });
  CHECK(events_of(out.str(), "task") ==
        "X main waits | X worker gave way | X worker waits | X worker ended");
  CHECK(events_of(out.str(), "wait") ==
        "b main | b worker | e worker | b worker | e worker | e main");
  CHECK(out.str().find("\"coroutine\":\"work\"") != std::string::npos);
  CHECK(out.str().find("\"for\":\"<Task pending name='worker'") != std::string::npos);
}

TEST_CASE("a trace has the callbacks, how much was ready, and the time that the loop waits") {
  std::ostringstream out;
  asyncio::run([&] {
    tracing::Trace trace(get_running_loop(), out);
    get_running_loop().call_soon([] {});
    const asyncio::Handle cancelled = get_running_loop().call_soon([] {});
    cancelled.cancel();
    await(asyncio::sleep(1ms));
  });
  const std::string callbacks = events_of(out.str(), "callback");
  CHECK(callbacks.starts_with("X <Handle "));
  CHECK(callbacks.find(" | ") == std::string::npos);
  CHECK(events_of(out.str(), "loop").starts_with("C ready"));
  CHECK(events_of(out.str(), "loop").find("X select") != std::string::npos);
}

TEST_CASE("a trace is an array of objects, one a line, with times and numbers that viewers need") {
  struct Grouped : std::numpunct<char> {
    std::string do_grouping() const override { return "\1"; }
  };
  std::ostringstream out;
  out.imbue(std::locale(std::locale::classic(), new Grouped));
  out << std::hex;
  run([&] {
    asyncio::current_task().set_name("a \"quoted\"\\\n name");
    const tracing::Trace trace(get_running_loop(), out);
    turns(3);
  });
  const std::vector<std::string> lines = lines_of(out.str());
  REQUIRE(lines.size() > 3);
  CHECK(lines.front() == "[");
  CHECK(lines.back() == "]");
  double last = 0;
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    const std::string& line = lines[i];
    CHECK(line.starts_with("{\"ph\":\""));
    CHECK(line.ends_with(i + 2 < lines.size() ? "}," : "}"));
    CHECK(field(line, "pid") == std::to_string(::getpid()));
    CHECK_FALSE(field(line, "tid").empty());
    if (field(line, "ph") != "X") continue;
    CHECK(std::stod(field(line, "ts")) >= last);
    CHECK(std::stod(field(line, "dur")) >= 0);
    last = std::stod(field(line, "ts"));
  }
  CHECK(out.str().find("\"name\":\"a \\\"quoted\\\"\\\\\\u000a name\"") != std::string::npos);
}

TEST_CASE("a traced program runs in the same order") {
  const auto program = [](Trace& events) {
    for (int task = 0; task < 3; ++task)
      static_cast<void>(create_task([&events, task] {
        for (int i = 0; i < 3; ++i) {
          events(task, " ", i);
          await(asyncio::sleep(i == task ? 2ms : 0ms));
        }
      }));
    get_running_loop().call_later(2ms, [&events] { events("callback"); });
    await(asyncio::sleep(5ms));
  };
  Trace plain;
  run([&] { program(plain); });
  Trace traced;
  std::ostringstream out;
  run([&] {
    const tracing::Trace trace(get_running_loop(), out);
    program(traced);
  });
  CHECK(plain.take() == traced.take());
}

TEST_CASE("a file that cannot be written, and a second trace, are errors") {
  run([] {
    const asyncio::EventLoop loop = get_running_loop();
    CHECK(
        thrown_by([&] { tracing::Trace(loop, "/no such directory/trace.json"); }) ==
        "FileNotFoundError('[Errno 2] No such file or directory: /no such directory/trace.json')");
    std::ostringstream out;
    {
      const tracing::Trace trace(loop, out);
      CHECK(thrown_by([&] { tracing::Trace(loop, out); }) ==
            "RuntimeError('this event loop is traced already: close the other Trace first')");
    }
    const tracing::Trace again(loop, out);
  });
}

TEST_CASE("a trace in a file is complete when it is closed; one that is not says so") {
  const Log log;
  char path[] = "/tmp/fiber-trace-XXXXXX";
  ::close(::mkstemp(path));
  run([&] {
    tracing::Trace trace(get_running_loop(), path);
    turns(1);
    trace.close();
    trace.close();
  });
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  ::unlink(path);
  CHECK(text.str().ends_with("}\n]\n"));
  run([&] {
    tracing::Trace trace(get_running_loop(), "/dev/full");
    turns(1);
    CHECK(thrown_by([&] { trace.close(); }) == "OSError('the trace could not be written')");
  });
}
