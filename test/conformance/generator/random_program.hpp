// Makes a random program; the same seed always gives the same program.
#pragma once

#include "conformance/generator/language.hpp"

#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace generator_programs {

class RandomProgram {
 public:
  static Program make(unsigned seed) { return RandomProgram(seed).program(); }

 private:
  static constexpr int kDeepest = 3;

  using Weights = std::vector<std::pair<Op, int>>;

  explicit RandomProgram(unsigned seed) : seed_(seed), random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool one_in(int n) { return below(n) == 0; }
  int slot() { return below(slots_); }
  Value value() { return one_in(4) ? Value() : Value(below(100)); }
  Kind thrown() {
    switch (below(8)) {
      case 0: return Kind::StopIteration;
      case 1: return Kind::RuntimeError;
      case 2:
      case 3:
      case 4: return Kind::GeneratorExit;
      default: return Kind::ValueError;
    }
  }
  Kind caught() { return static_cast<Kind>(below(static_cast<int>(kKindNames.size()))); }

  // Each program draws weights of its own, so that some statements are frequent in it.
  void vary(Weights& weights) {
    static constexpr int kFactors[] = {0, 1, 1, 1, 2, 5};
    for (auto& [op, weight] : weights)
      if (op != Op::yield && op != Op::next)
        weight *= kFactors[below(static_cast<int>(std::size(kFactors)))];
  }
  Op choose(const Weights& weights) {
    int sum = 0;
    for (const auto& [op, weight] : weights) sum += weight;
    int left = below(sum);
    for (const auto& [op, weight] : weights) {
      left -= weight;
      if (left < 0) return op;
    }
    return Op::states;
  }

  Program program() {
    Program made;
    made.name = std::to_string(seed_);
    definitions_ = 2 + below(4);
    slots_ = 2 + below(kSlots - 1);
    vary(body_);
    vary(main_);
    for (int i = 0; i < definitions_; ++i) {
      Definition& definition = made.definitions.emplace_back();
      definition.wide = one_in(5);
      index_ = i;
      definition.block = block(2 + below(4), 0, false);
    }
    for (int i = 0; i < slots_; ++i) {
      Statement s;
      s.op = Op::new_;
      s.slot = i;
      s.value = below(definitions_);
      made.main.push_back(std::move(s));
    }
    index_ = -1;
    for (int i = 5 + below(20); i > 0; --i) made.main.push_back(statement(main_, 0, false));
    number_statements(made);
    return made;
  }

  Block block(int length, int depth, bool in_handler) {
    Block made;
    for (int i = 0; i < length; ++i) made.push_back(statement(body_, depth, in_handler));
    return made;
  }

  Statement statement(const Weights& weights, int depth, bool in_handler) {
    Statement s;
    do s.op = choose(weights);
    while ((s.op == Op::try_ && depth == kDeepest) || (s.op == Op::reraise && !in_handler) ||
           ((s.op == Op::fromnew || s.op == Op::new_) && index_ + 1 == definitions_));
    switch (s.op) {
      case Op::yield:
      case Op::range: s.value = below(100); break;
      case Op::fromnew: s.value = later_definition(); break;
      case Op::return_: s.value = value(); break;
      case Op::from:
      case Op::next:
      case Op::close:
      case Op::drop: s.slot = slot(); break;
      case Op::send:
        s.slot = slot();
        s.value = value();
        break;
      case Op::new_:
        s.slot = slot();
        s.value = later_definition();
        break;
      case Op::throw_: s.slot = slot(); [[fallthrough]];
      case Op::raise:
        s.kind = thrown();
        s.value = value();
        break;
      case Op::states:
      case Op::reraise: break;
      case Op::try_:
        s.body = block(1 + below(3), depth + 1, in_handler);
        for (int i = below(3); i > 0; --i)
          s.handlers.push_back({caught(), block(1 + below(2), depth + 1, true)});
        if (s.handlers.empty() || one_in(3)) s.finally = block(1 + below(2), depth + 1, in_handler);
        break;
    }
    return s;
  }

  // A generator creates generators of later definitions only, so that every program ends.
  int later_definition() { return index_ + 1 + below(definitions_ - index_ - 1); }

  Weights body_ = {{Op::yield, 24},  {Op::from, 9},    {Op::fromnew, 9}, {Op::range, 4},
                   {Op::next, 6},    {Op::send, 4},    {Op::throw_, 4},  {Op::close, 4},
                   {Op::new_, 4},    {Op::drop, 3},    {Op::states, 3},  {Op::raise, 4},
                   {Op::reraise, 8}, {Op::return_, 3}, {Op::try_, 16}};
  Weights main_ = {{Op::next, 36}, {Op::send, 12}, {Op::throw_, 16}, {Op::close, 8},
                   {Op::new_, 6},  {Op::drop, 5},  {Op::states, 10}};

  unsigned seed_;
  std::mt19937 random_;
  int slots_ = kSlots;
  int definitions_ = 0;
  int index_ = 0;
};

}  // namespace generator_programs
