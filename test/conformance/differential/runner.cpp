// Runs scenarios on fiber's asyncio.
//
//   runner [FILE...]           prints the trace of every scenario of the files, or of stdin
//   runner --check FILE...     compares with the traces stored in the files; exit status 1 if some
//                              differ
#include "interpreter.hpp"

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string read(std::istream& stream) {
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::vector<std::string> trace_of(const differential::Entry& entry) {
  const differential::Scenario scenario = differential::parse(entry.lines);
  return differential::Interpreter(scenario).execute();
}

// What stands at the first difference of two traces.
void show_difference(const differential::Entry& entry, const std::vector<std::string>& got) {
  const std::vector<std::string>& want = *entry.trace;
  std::size_t index = 0;
  while (index < want.size() && index < got.size() && want[index] == got[index]) ++index;
  const auto line = [index](const std::vector<std::string>& trace) {
    return index < trace.size() ? trace[index] : std::string("(the end)");
  };
  std::cout << "scenario " << entry.name << " differs in line " << index + 1 << " of the trace\n"
            << "  CPython: " << line(want) << "\n  fiber:   " << line(got) << "\n";
}

int check(const std::vector<differential::Entry>& entries) {
  int different = 0;
  for (const differential::Entry& entry : entries) {
    if (!entry.trace) continue;
    const auto got = trace_of(entry);
    if (got == *entry.trace) continue;
    ++different;
    show_difference(entry, got);
  }
  std::cout << entries.size() << " scenarios, " << different << " differ\n";
  return different == 0 ? 0 : 1;
}

void print(const std::vector<differential::Entry>& entries) {
  for (const differential::Entry& entry : entries) {
    std::cout << "trace " << entry.name << std::endl;  // flushed: what was running if we die
    std::string text;
    for (const std::string& line : trace_of(entry)) text.append(line).append("\n");
    std::cout << text << "endtrace\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
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
    for (differential::Entry& entry : differential::split(text)) entries.push_back(std::move(entry));
  if (checking) return check(entries);
  print(entries);
}
