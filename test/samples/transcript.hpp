// The transcripts of the tutorial's programs, as test/conformance/make_transcripts.py writes them,
// and the comparison of a run with one.
#pragma once

#include "support/child_process.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace samples {

struct Transcript {
  std::string name;  // the file's name without .txt: PROGRAM or PROGRAM-VARIANT
  std::vector<std::string> arguments;
  std::optional<double> interrupt_at;
  std::vector<support::ChildLine> lines;  // "~REGEX" or a text
  std::vector<std::string> errors;        // regular expressions
  double end = 0;
  int status = 0;
};

inline Transcript read_transcript(const std::filesystem::path& path) {
  std::ifstream file(path);
  Transcript result;
  result.name = path.stem().string();
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    const std::string rest = line.substr(std::min(line.size(), first.size() + 1));
    if (first == "#") {
    } else if (first == "arguments") {
      result.arguments.assign(std::istream_iterator<std::string>(words), {});
    } else if (first == "interrupt") {
      result.interrupt_at = std::stod(rest);
    } else if (first == "stderr") {
      result.errors.push_back(rest);
    } else if (first == "exit") {
      words >> result.end >> result.status;
      return result;
    } else {
      result.lines.push_back({std::stod(first), rest});
    }
  }
  throw std::runtime_error(path.string() + " has no last line");
}

// The allowed difference from CPython's times, in seconds. The interpreter may be late itself, and
// so may the transcript; the upper bound leaves room for a busy machine.
struct Tolerance {
  double early = 0.35;
  double late = 1.5;

  bool allows(double time, double expected) const {
    return time >= expected - early && time <= expected + late;
  }
};

inline bool matches(const std::string& text, std::string_view expected) {
  if (!expected.starts_with('~')) return text == expected;
  return std::regex_match(text, std::regex(std::string(expected.substr(1))));
}

inline std::string difference(const Transcript& expected, const support::ChildResult& run,
                              Tolerance tolerance) {
  std::ostringstream out;
  out.setf(std::ios::fixed);
  out.precision(2);
  const std::size_t count = std::max(expected.lines.size(), run.lines.size());
  for (std::size_t i = 0; i < count; ++i) {
    const auto* want = i < expected.lines.size() ? &expected.lines[i] : nullptr;
    const auto* have = i < run.lines.size() ? &run.lines[i] : nullptr;
    if (want && have && matches(have->text, want->text) && tolerance.allows(have->time, want->time))
      continue;
    out << "  line " << i + 1 << ": ";
    if (have)
      out << '"' << have->text << "\" at " << have->time;
    else
      out << "nothing";
    if (want)
      out << " instead of \"" << want->text << "\" at " << want->time << '\n';
    else
      out << " after the last line\n";
  }
  if (run.timed_out) out << "  killed, as it did not end\n";
  if (run.status != expected.status)
    out << "  status " << run.status << " instead of " << expected.status << '\n';
  if (!tolerance.allows(run.end, expected.end))
    out << "  ended at " << run.end << " instead of " << expected.end << '\n';
  for (const std::string& pattern : expected.errors) {
    std::istringstream lines(run.errors);
    bool found = false;
    for (std::string line; std::getline(lines, line);)
      found = found || std::regex_search(line, std::regex(pattern));
    if (!found) out << "  no /" << pattern << "/ on stderr\n";
  }
  if (expected.errors.empty() && !run.errors.empty()) out << "  unexpected on stderr\n";
  std::string text = out.str();
  if (!text.empty() && !run.errors.empty()) text += "  stderr: " + run.errors;
  return text;
}

}  // namespace samples
