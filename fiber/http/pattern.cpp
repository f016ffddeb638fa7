#include <fiber/http/pattern.hpp>

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <optional>
#include <string>

namespace fiber::http {
namespace {

constexpr std::size_t kMostInstructions = 4000;
constexpr std::size_t kMostText = 64 * 1024;
constexpr int kDeepest = 50;

}  // namespace

// A recursive descent. Appends the instructions of each part to the program; a repeated part is
// moved or copied, with its jumps.
class Pattern::Compiler {
 public:
  Compiler(Pattern& pattern, std::string_view text) : pattern_(pattern), text_(text) {}

  void run() {
    alternatives(0);
    if (at_ != text_.size()) fail("unbalanced parenthesis");
  }

 private:
  using Program = std::vector<Instruction>;

  [[noreturn]] void fail(const char* why) const {
    throw ValueError("bad pattern '" + std::string(text_) + "': " + why + " at position " +
                     std::to_string(at_));
  }
  bool more() const noexcept { return at_ < text_.size(); }
  bool take(char c) noexcept {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(pattern_.program_.size()); }
  void emit(Op op, std::uint32_t first, std::uint32_t second = 0) {
    if (pattern_.program_.size() >= kMostInstructions) fail("it is too large");
    pattern_.program_.push_back({op, first, second});
  }
  void emit_set(const Set& set) {
    emit(Op::set, static_cast<std::uint32_t>(pattern_.sets_.size()));
    pattern_.sets_.push_back(set);
  }
  // Removes the instructions from `from` on, and returns them.
  Program cut(std::uint32_t from) {
    Program part(pattern_.program_.begin() + from, pattern_.program_.end());
    pattern_.program_.resize(from);
    return part;
  }
  void paste(const Program& part, std::uint32_t from) {
    const std::uint32_t by = here() - from;
    for (const Instruction& one : part) {
      const bool first = one.op == Op::split || one.op == Op::jump;
      emit(one.op, one.first + (first ? by : 0), one.second + (one.op == Op::split ? by : 0));
    }
  }

  void alternatives(int depth) {
    if (depth > kDeepest) fail("it is nested too deeply");
    const std::uint32_t from = here();
    sequence(depth);
    while (take('|')) {
      const Program before = cut(from);
      emit(Op::split, from + 1, 0);
      paste(before, from);
      const std::uint32_t jump = here();
      emit(Op::jump, 0);
      pattern_.program_[from].second = here();
      sequence(depth);
      pattern_.program_[jump].first = here();
    }
  }

  void sequence(int depth) {
    while (more() && text_[at_] != '|' && text_[at_] != ')') {
      const std::uint32_t from = here();
      atom(depth);
      repeat(from);
    }
  }

  void atom(int depth) {
    const char c = text_[at_++];
    switch (c) {
      case '(':
        if (take('?') && !take(':')) fail("of the forms (?...) only (?:...) is supported");
        alternatives(depth + 1);
        if (!take(')')) fail("missing )");
        return;
      case '[': return emit_set(bracket());
      case '.': return emit_set(~Set().set('\n'));
      case '\\': return emit_set(escape());
      case '^':
      case '$': fail("^ and $ are not supported, as a pattern must match the whole text");
      case '*':
      case '+':
      case '?': fail("nothing to repeat");
      default: return emit_set(Set().set(static_cast<unsigned char>(c)));
    }
  }

  Set escape() {
    if (!more()) fail("bad escape (end of pattern)");
    const char c = text_[at_++];
    Set digits;
    for (int i = '0'; i <= '9'; ++i) digits.set(static_cast<std::size_t>(i));
    Set word = digits;
    for (int i = 'a'; i <= 'z'; ++i) word.set(static_cast<std::size_t>(i));
    for (int i = 'A'; i <= 'Z'; ++i) word.set(static_cast<std::size_t>(i));
    word.set('_');
    Set space;
    for (const char blank : {' ', '\t', '\n', '\r', '\f', '\v'})
      space.set(static_cast<unsigned char>(blank));
    switch (c) {
      case 'd': return digits;
      case 'D': return ~digits;
      case 'w': return word;
      case 'W': return ~word;
      case 's': return space;
      case 'S': return ~space;
      case 'n': return Set().set('\n');
      case 't': return Set().set('\t');
      default:
        if (word.test(static_cast<unsigned char>(c))) fail("unknown escape");
        return Set().set(static_cast<unsigned char>(c));
    }
  }

  Set bracket() {
    Set set;
    const bool negative = take('^');
    for (bool first = true;; first = false) {
      if (!more()) fail("unterminated character set");
      if (text_[at_] == ']' && !first) break;
      Set low;
      if (take('\\'))
        low = escape();
      else
        low.set(static_cast<unsigned char>(text_[at_++]));
      const bool range = at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']';
      if (range && low.count() == 1) {
        ++at_;
        Set high;
        if (take('\\'))
          high = escape();
        else
          high.set(static_cast<unsigned char>(text_[at_++]));
        std::size_t begin = 0;
        std::size_t end = 0;
        for (std::size_t i = 0; i < 256; ++i) {
          if (low.test(i)) begin = i;
          if (high.test(i)) end = i;
        }
        if (high.count() != 1 || end < begin) fail("bad character range");
        for (std::size_t i = begin; i <= end; ++i) set.set(i);
      } else {
        set |= low;
      }
    }
    ++at_;
    return negative ? ~set : set;
  }

  std::optional<unsigned> number() {
    std::optional<unsigned> value;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value.value_or(0) * 10 + static_cast<unsigned>(text_[at_++] - '0');
      if (*value > kMostInstructions) fail("the repeat is too large");
    }
    return value;
  }

  void repeat(std::uint32_t from) {
    if (!more()) return;
    unsigned least = 0;
    std::optional<unsigned> most;
    const std::size_t before = at_;
    if (take('*')) {
    } else if (take('+')) {
      least = 1;
    } else if (take('?')) {
      most = 1;
    } else if (take('{')) {
      const auto low = number();
      const bool comma = take(',');
      const auto high = comma ? number() : low;
      if (!take('}') || (!low && !high)) {
        at_ = before + 1;
        fail("bad repeat");
      }
      least = low.value_or(0);
      most = comma ? high : low;
      if (most && *most < least) fail("min repeat greater than max repeat");
    } else {
      return;
    }
    const bool lazy = take('?');
    if (more() && (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?'))
      fail("multiple repeat");
    const Program part = cut(from);
    const auto split = [&](std::uint32_t into, std::uint32_t past) {
      lazy ? emit(Op::split, past, into) : emit(Op::split, into, past);
    };
    for (unsigned i = 0; i < least; ++i) paste(part, from);
    if (!most) {
      const std::uint32_t loop = here();
      split(loop + 1, loop + static_cast<std::uint32_t>(part.size()) + 2);
      paste(part, from);
      emit(Op::jump, loop);
    } else {
      const std::uint32_t size = static_cast<std::uint32_t>(part.size()) + 1;
      const std::uint32_t end = here() + (*most - least) * size;
      for (unsigned i = least; i < *most; ++i) {
        split(here() + 1, end);
        paste(part, from);
      }
    }
  }

  Pattern& pattern_;
  std::string_view text_;
  std::size_t at_ = 0;
};

void Pattern::add_literal(std::string_view text) {
  for (const char c : text) {
    program_.push_back({Op::set, static_cast<std::uint32_t>(sets_.size()), 0});
    sets_.push_back(Set().set(static_cast<unsigned char>(c)));
  }
}

void Pattern::add_group(std::string_view expression) {
  program_.push_back({Op::save, 2 * groups_, 0});
  Compiler(*this, expression).run();
  program_.push_back({Op::save, 2 * groups_ + 1, 0});
  ++groups_;
}

// Tries the alternatives in order, as Python does, but each only once at a place of the text.
bool Pattern::match(std::string_view text, std::vector<std::string_view>& groups) const {
  if (text.size() > kMostText) return false;
  struct Job {
    std::uint32_t pc;
    std::uint32_t at;  // a place in the text; for `restore` the old value of a saved place
    bool restore;      // puts back the saved place with the index pc
  };
  const std::size_t width = text.size() + 1;
  std::vector<bool> seen((program_.size() + 1) * width);
  std::vector<std::uint32_t> saved(std::size_t{2} * groups_, 0);
  std::vector<Job> jobs{{0, 0, false}};
  while (!jobs.empty()) {
    Job job = jobs.back();
    jobs.pop_back();
    if (job.restore) {
      saved[job.pc] = job.at;
      continue;
    }
    for (;;) {
      const std::size_t place = job.pc * width + job.at;
      if (seen[place]) break;
      seen[place] = true;
      if (job.pc == program_.size()) {
        if (job.at != text.size()) break;
        groups.clear();
        for (std::uint32_t i = 0; i < groups_; ++i)
          groups.push_back(text.substr(saved[2 * i], saved[2 * i + 1] - saved[2 * i]));
        return true;
      }
      const Instruction& now = program_[job.pc];
      if (now.op == Op::set) {
        if (job.at == text.size() ||
            !sets_[now.first].test(static_cast<unsigned char>(text[job.at])))
          break;
        ++job.at;
        ++job.pc;
      } else if (now.op == Op::split) {
        jobs.push_back({now.second, job.at, false});
        job.pc = now.first;
      } else if (now.op == Op::jump) {
        job.pc = now.first;
      } else {
        jobs.push_back({now.first, saved[now.first], true});
        saved[now.first] = job.at;
        ++job.pc;
      }
    }
  }
  return false;
}

}  // namespace fiber::http
