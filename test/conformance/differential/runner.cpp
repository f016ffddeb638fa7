// Runs scenarios on fiber's asyncio.
//
//   runner [FILE...]           prints the trace of every scenario of the files, or of stdin
//   runner --check FILE...     compares with the traces stored in the files; exit status 1 if some
//                              differ
#include "interpreter.hpp"

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <iterator>
#include <ranges>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string read(std::istream& stream) {
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// Returns how many greenlets and stacks this thread has.
std::string holdings() {
  return std::to_string(fiber::detail::greenlet_thread().object_count()) + " greenlets, " +
         std::to_string(fiber::core::thread_state().pool.census().in_use) + " stacks";
}

// Returns the trace, with "left behind" lines for objects that outlive the scenario.
std::vector<std::string> trace_of(const differential::Entry& entry) {
  const differential::Scenario scenario = differential::parse(entry.lines);
  fiber::getcurrent();
  const std::string before = holdings();
  std::vector<std::string> trace = differential::Interpreter(scenario).execute();
  if (const std::string after = holdings(); after != before)
    trace.push_back("left behind: " + after + " (before: " + before + ")");
  return trace;
}

// Removes from both traces the reports that CPython makes late because a cycle of references holds
// the object: fiber reports it when the last reference from outside goes. Only the number of these
// reports is compared.
void settle(std::vector<std::string>& want, std::vector<std::string>& got) {
  const std::string kLate = " - 0 late ";
  std::set<std::string> texts;
  for (const std::string& line : want)
    if (const std::size_t at = line.find(kLate); at != std::string::npos)
      texts.insert(line.substr(at + kLate.size()));
  for (const std::string& text : texts) {
    const auto reports = [&](const std::string& line) {
      return line.ends_with(" - 0 handler " + text) || line.ends_with(kLate + text);
    };
    if (std::ranges::count_if(want, reports) != std::ranges::count_if(got, reports)) continue;
    std::erase_if(want, reports);
    std::erase_if(got, reports);
  }
}

// Prints the first difference of two traces.
void show_difference(const std::string& name, const std::vector<std::string>& want,
                     const std::vector<std::string>& got) {
  std::size_t index = 0;
  while (index < want.size() && index < got.size() && want[index] == got[index]) ++index;
  const auto line = [index](const std::vector<std::string>& trace) {
    return index < trace.size() ? trace[index] : std::string("(the end)");
  };
  std::cout << "scenario " << name << " differs in line " << index + 1 << " of the trace\n"
            << "  CPython: " << line(want) << "\n  fiber:   " << line(got) << "\n";
}

int check(const std::vector<differential::Entry>& entries) {
  int different = 0;
  for (const differential::Entry& entry : entries) {
    if (!entry.trace) continue;
    auto want = *entry.trace;
    auto got = trace_of(entry);
    settle(want, got);
    if (got == want) continue;
    ++different;
    show_difference(entry.name, want, got);
  }
  std::cout << entries.size() << " scenarios, " << different << " differ\n";
  return different == 0 ? 0 : 1;
}

void print(const std::vector<differential::Entry>& entries) {
  for (const differential::Entry& entry : entries) {
    std::cout << "trace " << entry.name << std::endl;  // flushed in case of a crash
    std::string text;
    for (const std::string& line : trace_of(entry)) text.append(line).append("\n");
    std::cout << text << "endtrace\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  fiber::asyncio::set_log_handler([](const fiber::asyncio::LogRecord&) {});
  bool checking = false;
  std::vector<std::string> texts;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--check") {
      checking = true;
      continue;
    }
    std::ifstream file(argv[i]);
    if (!file) {
      std::cerr << "cannot read " << argv[i] << "\n";
      return 2;
    }
    texts.push_back(read(file));
  }
  if (texts.empty()) texts.push_back(read(std::cin));
  std::vector<differential::Entry> entries;
  for (const std::string& text : texts)
    for (differential::Entry& entry : differential::split(text))
      entries.push_back(std::move(entry));
  if (checking) return check(entries);
  print(entries);
}
