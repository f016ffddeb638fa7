// Makes a failing program smaller: leaves out one statement after the other while it still fails.
#pragma once

#include "conformance/generator/language.hpp"

#include <functional>
#include <utility>

namespace generator_programs {

class Shrink {
 public:
  using Fails = std::function<bool(const Program&)>;

  static Program shrink(Program program, Fails fails) {
    Shrink work(std::move(program), std::move(fails));
    while (work.pass()) {
    }
    return std::move(work.best_);
  }

 private:
  Shrink(Program program, Fails fails) : best_(std::move(program)), fails_(std::move(fails)) {}

  // Tries every change once; returns true if one has made the program smaller.
  bool pass() {
    bool smaller = false;
    for (int place = 0;;) {
      Program candidate = best_;
      left_ = place;
      if (!change(candidate)) return smaller;
      number_statements(candidate);
      if (fails_(candidate)) {
        best_ = std::move(candidate);
        smaller = true;
      } else {
        ++place;
      }
    }
  }

  // Makes the change number `left_`; returns false if the program has fewer changes.
  bool change(Program& program) {
    for (Definition& definition : program.definitions) {
      if (definition.wide && left_-- == 0) {
        definition.wide = false;
        return true;
      }
      if (change(definition.block)) return true;
    }
    return change(program.main);
  }
  bool change(Block& block) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      const auto at = block.begin() + static_cast<std::ptrdiff_t>(i);
      if (left_-- == 0) {
        block.erase(at);
        return true;
      }
      Statement& s = *at;
      if (s.op != Op::try_) continue;
      if (left_-- == 0) {  // replace the `try` by its body
        const Block body = std::move(s.body);
        block.insert(block.erase(at), body.begin(), body.end());
        return true;
      }
      if (s.finally && !s.handlers.empty() && left_-- == 0) {
        s.finally.reset();
        return true;
      }
      if (change(s.body)) return true;
      for (std::size_t h = 0; h < s.handlers.size(); ++h) {
        if ((s.finally || s.handlers.size() > 1) && left_-- == 0) {
          s.handlers.erase(s.handlers.begin() + static_cast<std::ptrdiff_t>(h));
          return true;
        }
        if (change(s.handlers[h].block)) return true;
      }
      if (s.finally && change(*s.finally)) return true;
    }
    return false;
  }

  Program best_;
  Fails fails_;
  int left_ = 0;
};

}  // namespace generator_programs
