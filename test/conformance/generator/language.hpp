// The language of the random generator programs: its statements, and how they are written.
//
// A program is a list of definitions of generators and a main block. Its statements work on
// numbered slots that hold generators. README.md describes the text; statements are numbered in
// its order.
#pragma once

#include <array>
#include <istream>
#include <optional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace generator_programs {

inline constexpr int kSlots = 4;

enum class Op {
  yield,    // yield NUMBER
  from,     // yield from the generator in SLOT
  fromnew,  // yield from a new generator of definition NUMBER
  range,    // yield from range(NUMBER, NUMBER + 3)
  next,     // next(generator in SLOT)
  send,     // NUMBER or none, to SLOT
  throw_,   // KIND NUMBER, into SLOT
  close,    // SLOT
  new_,     // SLOT = a generator of definition NUMBER
  drop,     // SLOT
  states,   // the states of the generators in all slots
  raise,    // KIND NUMBER
  reraise,  // `raise` without an exception, in a handler
  return_,  // NUMBER or none
  try_,
};
inline constexpr std::array<const char*, 15> kOpNames = {
    "yield", "from", "fromnew", "range", "next",    "send",   "throw", "close",
    "new",   "drop", "states",  "raise", "reraise", "return", "try"};

enum class Kind {
  ValueError,
  GeneratorExit,
  StopIteration,
  RuntimeError,
  TypeError,
  AttributeError,
  Exception,
  BaseException,
};
inline constexpr std::array<const char*, 8> kKindNames = {
    "ValueError", "GeneratorExit",  "StopIteration", "RuntimeError",
    "TypeError",  "AttributeError", "Exception",     "BaseException"};

// None, or a number.
using Value = std::optional<int>;

struct Statement;
using Block = std::vector<Statement>;
struct Handler;

struct Statement {
  Op op = Op::states;
  int number = 0;  // its position in the text of the program
  int slot = 0;
  Kind kind = Kind::ValueError;
  Value value;
  // The parts of a try.
  Block body;
  std::vector<Handler> handlers;
  std::optional<Block> finally;
};
struct Handler {
  Kind kind;
  Block block;
};

struct Definition {
  bool wide = false;  // its items are of type long instead of int
  Block block;
};

struct Program {
  std::string name;
  std::vector<Definition> definitions;
  Block main;
};

// --- numbers ------------------------------------------------------------------------------------

inline void number_statements(Block& block, int& next) {
  for (Statement& statement : block) {
    statement.number = next++;
    number_statements(statement.body, next);
    for (Handler& handler : statement.handlers) number_statements(handler.block, next);
    if (statement.finally) number_statements(*statement.finally, next);
  }
}
inline void number_statements(Program& program) {
  int next = 1;
  for (Definition& definition : program.definitions) number_statements(definition.block, next);
  number_statements(program.main, next);
}

// --- text ---------------------------------------------------------------------------------------

inline std::string text_of(const Value& value) {
  return value ? std::to_string(*value) : std::string("None");
}

inline void print(std::ostream& out, const Block& block, const std::string& indent) {
  for (const Statement& s : block) {
    const auto kind = kKindNames.at(static_cast<std::size_t>(s.kind));
    out << indent << kOpNames.at(static_cast<std::size_t>(s.op));
    switch (s.op) {
      case Op::yield:
      case Op::fromnew:
      case Op::range:
      case Op::return_: out << ' ' << text_of(s.value); break;
      case Op::from:
      case Op::next:
      case Op::close:
      case Op::drop: out << ' ' << s.slot; break;
      case Op::send:
      case Op::new_: out << ' ' << s.slot << ' ' << text_of(s.value); break;
      case Op::throw_: out << ' ' << s.slot << ' ' << kind << ' ' << text_of(s.value); break;
      case Op::raise: out << ' ' << kind << ' ' << text_of(s.value); break;
      case Op::states:
      case Op::reraise:
      case Op::try_: break;
    }
    out << '\n';
    if (s.op != Op::try_) continue;
    print(out, s.body, indent + "  ");
    for (const Handler& handler : s.handlers) {
      out << indent << "except " << kKindNames.at(static_cast<std::size_t>(handler.kind)) << '\n';
      print(out, handler.block, indent + "  ");
    }
    if (s.finally) {
      out << indent << "finally\n";
      print(out, *s.finally, indent + "  ");
    }
    out << indent << "end\n";
  }
}

inline std::ostream& operator<<(std::ostream& out, const Program& program) {
  out << "program " << program.name << '\n';
  for (const Definition& definition : program.definitions) {
    out << (definition.wide ? "def wide\n" : "def\n");
    print(out, definition.block, "  ");
    out << "end\n";
  }
  out << "main\n";
  print(out, program.main, "  ");
  return out << "end\nendprogram\n";
}

// Reads one program after the other, and the traces that may follow them.
class Reader {
 public:
  explicit Reader(std::istream& in) : in_(in) {}

  // Reads a program. Returns false at the end of the text.
  bool read(Program& program) {
    if (!line()) return false;
    expect("program");
    program = Program();
    program.name = word();
    while (line() && word_ == "def") {
      Definition& definition = program.definitions.emplace_back();
      definition.wide = word() == "wide";
      block(definition.block);
    }
    expect("main");
    block(program.main);
    line();
    expect("endprogram");
    number_statements(program);
    return true;
  }

  std::vector<std::string> read_trace() {
    line();
    expect("trace");
    std::vector<std::string> events;
    std::string event;
    while (std::getline(in_, event) && event != "endtrace") events.push_back(event);
    return events;
  }

 private:
  bool line() {
    std::string text;
    while (std::getline(in_, text)) {
      words_ = std::istringstream(text);
      if (words_ >> word_) return true;
    }
    word_.clear();
    return false;
  }
  std::string word() {
    std::string next;
    words_ >> next;
    return next;
  }
  void expect(const char* wanted) {
    if (word_ != wanted)
      throw std::runtime_error("expected '" + std::string(wanted) + "', not '" + word_ + "'");
  }
  Value value() {
    const std::string text = word();
    return text == "None" ? Value() : Value(std::stoi(text));
  }
  template <std::size_t size>
  static std::size_t place(const std::array<const char*, size>& names, const std::string& name) {
    for (std::size_t i = 0; i < size; ++i)
      if (name == names.at(i)) return i;
    throw std::runtime_error("unknown word '" + name + "'");
  }
  Kind kind() { return static_cast<Kind>(place(kKindNames, word())); }

  // Reads a block up to the closing word, which stays in word_.
  void block(Block& statements) {
    while (line() && word_ != "end" && word_ != "except" && word_ != "finally") {
      Statement s;
      s.op = static_cast<Op>(place(kOpNames, word_));
      switch (s.op) {
        case Op::yield:
        case Op::fromnew:
        case Op::range:
        case Op::return_: s.value = value(); break;
        case Op::from:
        case Op::next:
        case Op::close:
        case Op::drop: s.slot = std::stoi(word()); break;
        case Op::send:
        case Op::new_:
          s.slot = std::stoi(word());
          s.value = value();
          break;
        case Op::throw_:
          s.slot = std::stoi(word());
          s.kind = kind();
          s.value = value();
          break;
        case Op::raise:
          s.kind = kind();
          s.value = value();
          break;
        case Op::states:
        case Op::reraise: break;
        case Op::try_:
          block(s.body);
          while (word_ == "except") {
            s.handlers.push_back({kind(), {}});
            block(s.handlers.back().block);
          }
          if (word_ == "finally") block(s.finally.emplace());
          break;
      }
      statements.push_back(std::move(s));
    }
  }

  std::istream& in_;
  std::istringstream words_;
  std::string word_;
};

}  // namespace generator_programs
