// Random programs of greenlets: their parts, their text, and the smallest one that still fails.
//
// A program is a list of bodies and a main block, which work on a row of slots that hold greenlets.
// A body makes greenlets of later bodies only, and there are no loops: every program ends.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace greenlet_programs {

inline constexpr int kSlots = 4;

enum class Op {
  switch_,   // to SLOT, with NUMBER
  empty,     // to SLOT, without a value
  up,        // to the parent, with NUMBER
  throw_,    // into SLOT: an error, or GreenletExit if NUMBER is odd
  create,    // SLOT = a greenlet with body NUMBER
  copy,      // SLOT = OTHER
  drop,      // SLOT
  foreign,   // SLOT, by another thread
  reparent,  // SLOT gets OTHER as its parent
  adopt,     // SLOT gets the current greenlet as its parent
  trace,     // on or off
  lock,      // SLOT = a handle from the weak one to the last greenlet made there
  states,    // of all slots
  raise,     // an error, or GreenletExit if NUMBER is odd
  return_,   // NUMBER
};
inline constexpr std::array<const char*, 15> kOpNames = {
    "switch",   "empty", "up",    "throw", "create", "copy",  "drop",  "foreign",
    "reparent", "adopt", "trace", "lock",  "states", "raise", "return"};

// The handling of an exception that comes out of a statement.
enum class Guard { none, errors, all };

struct Statement {
  Op op = Op::states;
  Guard guard = Guard::none;
  int slot = 0;
  int other = 0;
  int number = 0;
  int id = 0;  // its index in the program
};
using Block = std::vector<Statement>;

struct Program {
  unsigned seed = 0;
  std::vector<Block> bodies;
  Block main;
  bool dies = false;  // its thread exits with filled slots
};

inline void number_statements(Program& program) {
  int next = 1;
  for (Block& body : program.bodies)
    for (Statement& s : body) s.id = next++;
  for (Statement& s : program.main) s.id = next++;
}

inline void print(std::ostream& out, const Block& block) {
  for (const Statement& s : block)
    out << "  " << s.id << ": " << kOpNames.at(static_cast<std::size_t>(s.op)) << " slot " << s.slot
        << " other " << s.other << " number " << s.number
        << (s.guard == Guard::none     ? ""
            : s.guard == Guard::errors ? " guarded"
                                       : " guarded, also against GreenletExit")
        << '\n';
}
inline std::ostream& operator<<(std::ostream& out, const Program& program) {
  for (std::size_t i = 0; i < program.bodies.size(); ++i) {
    out << "body " << i << '\n';
    print(out, program.bodies[i]);
  }
  out << (program.dies ? "main of a thread that exits\n" : "main\n");
  print(out, program.main);
  return out;
}

class RandomProgram {
 public:
  static Program make(unsigned seed) { return RandomProgram(seed).program(); }

 private:
  explicit RandomProgram(unsigned seed) : seed_(seed), random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  Program program() {
    Program made;
    made.seed = seed_;
    made.dies = below(8) == 0;
    slots_ = 2 + below(kSlots - 1);
    bodies_ = 2 + below(4);
    // Every program has its own probabilities.
    static constexpr int kFactors[] = {0, 1, 1, 1, 2, 5};
    for (auto& [op, weight] : weights_)
      if (op != Op::switch_) weight *= kFactors[below(6)];
    for (index_ = 0; index_ < bodies_; ++index_) made.bodies.push_back(block(2 + below(6), false));
    index_ = -1;
    for (int i = 0; i < slots_; ++i)
      made.main.push_back({Op::create, Guard::all, i, 0, below(bodies_)});
    for (Statement& s : block(8 + below(20), true)) made.main.push_back(s);
    number_statements(made);
    return made;
  }

  Block block(int length, bool in_main) {
    Block made;
    for (int i = 0; i < length; ++i) made.push_back(statement(in_main));
    return made;
  }
  Statement statement(bool in_main) {
    Statement s;
    do s.op = choose();
    while ((in_main && (s.op == Op::up || s.op == Op::raise || s.op == Op::return_)) ||
           (s.op == Op::create && index_ + 1 == bodies_));
    s.guard = in_main || below(16) == 0 ? Guard::all : below(3) == 0 ? Guard::errors : Guard::none;
    s.slot = below(slots_);
    s.other = below(slots_);
    s.number = s.op == Op::create ? index_ + 1 + below(bodies_ - index_ - 1) : below(100);
    return s;
  }
  Op choose() {
    int sum = 0;
    for (const auto& [op, weight] : weights_) sum += weight;
    int left = below(sum);
    for (const auto& [op, weight] : weights_) {
      left -= weight;
      if (left < 0) return op;
    }
    return Op::states;
  }

  std::vector<std::pair<Op, int>> weights_ = {
      {Op::switch_, 24}, {Op::empty, 3},  {Op::up, 14},      {Op::throw_, 6},  {Op::create, 6},
      {Op::copy, 3},     {Op::drop, 6},   {Op::reparent, 6}, {Op::adopt, 3},   {Op::trace, 2},
      {Op::lock, 4},     {Op::states, 4}, {Op::raise, 3},    {Op::return_, 2}, {Op::foreign, 1}};
  unsigned seed_;
  std::mt19937 random_;
  int slots_ = kSlots;
  int bodies_ = 0;
  int index_ = 0;
};

// Leaves out one statement after the other while the program still fails.
inline Program shrink(Program best, const std::function<bool(const Program&)>& fails) {
  const auto block_of = [](Program& program, std::size_t b) -> Block& {
    return b < program.bodies.size() ? program.bodies[b] : program.main;
  };
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (std::size_t b = 0; b <= best.bodies.size(); ++b)
      for (std::size_t i = 0; i < block_of(best, b).size();) {
        Program candidate = best;
        Block& block = block_of(candidate, b);
        block.erase(block.begin() + static_cast<std::ptrdiff_t>(i));
        number_statements(candidate);
        if (fails(candidate)) {
          best = std::move(candidate);
          smaller = true;
        } else {
          ++i;
        }
      }
  }
  return best;
}

}  // namespace greenlet_programs
