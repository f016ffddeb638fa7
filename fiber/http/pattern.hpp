// Patterns for paths: the part of Python's regular expressions that paths need, in time that is
// bounded by the length of the path times the size of the pattern, and without recursion.
//
// Literals, `.`, classes ([a-z], [^/], \d \w \s and their opposites), groups ((...), (?:...)),
// alternatives, and * + ? {m} {m,n} with their lazy forms. Bytes are matched: a character beyond
// ASCII is several of them.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fiber::http {

// A sequence of literal texts and groups with expressions. Matches whole texts.
class Pattern {
 public:
  void add_literal(std::string_view text);
  // Adds a group. Throws ValueError, which names the place, for an unsupported expression.
  void add_group(std::string_view expression);
  // Whether `text` matches; fills `groups` with the part of each group. A text of more than 64 KiB
  // does not match.
  bool match(std::string_view text, std::vector<std::string_view>& groups) const;

 private:
  enum class Op : std::uint8_t { set, split, jump, save };
  struct Instruction {
    Op op;
    std::uint32_t first;   // set: its index; split: tried first; jump: where; save: which
    std::uint32_t second;  // split: tried next
  };
  using Set = std::bitset<256>;
  class Compiler;

  std::vector<Instruction> program_;
  std::vector<Set> sets_;
  std::uint32_t groups_ = 0;
};

}  // namespace fiber::http
