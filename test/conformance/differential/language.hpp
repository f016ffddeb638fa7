// The scenario language (README.md), parsed. Python's side is language.py.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace differential {

using Words = std::vector<std::string>;
struct Statement;
using Statements = std::vector<Statement>;

// A part of a block: the words of the line that opens the part, and its statements.
struct Section {
  int line = 0;
  Words words;
  Statements statements;
};

struct Statement {
  int line = 0;
  std::string op;
  Words args;
  bool safe = false;  // `op?`: an error that is an Exception is logged and goes no further
  std::vector<Section> sections;
};

struct Scenario {
  std::string name;
  std::string mode = "idle";
  bool eager = false;
  Statements objects;
  std::map<std::string, Statements> bodies, agens, actions;
};

// The text of one scenario of a file, and the trace stored after it, if any.
struct Entry {
  std::string name;
  std::vector<std::string> lines;
  std::optional<std::vector<std::string>> trace;
};

// Throws std::runtime_error if the text is no scenario.
Scenario parse(const std::vector<std::string>& lines);
std::vector<Entry> split(std::string_view text);

}  // namespace differential
