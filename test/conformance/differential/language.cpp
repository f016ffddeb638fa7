#include "language.hpp"

#include <sstream>
#include <stdexcept>
#include <utility>

namespace differential {
namespace {

bool one_of(std::string_view word, std::initializer_list<std::string_view> list) {
  for (std::string_view item : list)
    if (word == item) return true;
  return false;
}

bool opens(std::string_view op) {
  return one_of(op,
                {"body", "agen", "action", "try", "timeout", "group", "with", "repeat", "afor"});
}

bool separates(std::string_view op) { return one_of(op, {"except", "finally"}); }

Words split_words(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
}

Statement make_statement(int line, const Words& words) {
  Statement result{line, words[0], Words(words.begin() + 1, words.end()), false, {}};
  if (result.op.back() == '?') {
    result.op.pop_back();
    result.safe = true;
  }
  return result;
}

}  // namespace

Scenario parse(const std::vector<std::string>& lines) {
  Scenario scenario;
  scenario.name = split_words(lines.at(0)).at(1);
  Statements open;  // the blocks around the current line, outermost first
  for (std::size_t index = 1; index < lines.size(); ++index) {
    const int number = static_cast<int>(index) + 1;
    const Words words = split_words(lines[index]);
    if (words.empty() || words[0][0] == '#' || words[0] == "endscenario") continue;
    if (words[0] == "end") {
      if (open.empty()) throw std::runtime_error("line " + std::to_string(number) + ": no block");
      Statement done = std::move(open.back());
      open.pop_back();
      if (!open.empty()) {
        open.back().sections.back().statements.push_back(std::move(done));
      } else {
        auto& table = done.op == "body"   ? scenario.bodies
                      : done.op == "agen" ? scenario.agens
                                          : scenario.actions;
        table[done.args.at(0)] = std::move(done.sections[0].statements);
      }
    } else if (separates(words[0])) {
      open.back().sections.push_back({number, words, {}});
    } else if (opens(words[0])) {
      open.push_back(make_statement(number, words));
      open.back().sections.push_back({number, words, {}});
    } else if (!open.empty()) {
      open.back().sections.back().statements.push_back(make_statement(number, words));
    } else if (words[0] == "mode") {
      scenario.mode = words.at(1);
    } else if (words[0] == "eager") {
      scenario.eager = true;
    } else {
      scenario.objects.push_back(make_statement(number, words));
    }
  }
  if (!open.empty()) throw std::runtime_error("a block has no end");
  return scenario;
}

std::vector<Entry> split(std::string_view text) {
  std::vector<Entry> entries;
  enum class Where { outside, scenario, trace } where = Where::outside;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind("scenario ", 0) == 0) {
      entries.push_back({line.substr(9), {line}, std::nullopt});
      where = Where::scenario;
    } else if (line == "endscenario") {
      entries.back().lines.push_back(line);
      where = Where::outside;
    } else if (line.rfind("trace ", 0) == 0 && !entries.empty()) {
      entries.back().trace.emplace();
      where = Where::trace;
    } else if (line == "endtrace") {
      where = Where::outside;
    } else if (where == Where::scenario) {
      entries.back().lines.push_back(line);
    } else if (where == Where::trace) {
      entries.back().trace->push_back(line);
    }
  }
  return entries;
}

}  // namespace differential
