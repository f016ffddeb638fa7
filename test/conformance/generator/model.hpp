// A model of programs by the rules of PEP 342, 380 and 479 and the behaviour of CPython 3.13: a
// machine without stacks. A generator is a list of running blocks; delegation is a chain of calls,
// as in the PEP's text.
#pragma once

#include "conformance/generator/language.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace generator_programs {

struct Error {
  Kind kind = Kind::ValueError;
  std::string text;
  Value value;  // the value of a StopIteration

  std::string shown() const {
    const std::string name = kKindNames.at(static_cast<std::size_t>(kind));
    if (kind == Kind::StopIteration) return name + "(" + text_of(value) + ")";
    if (text.empty() || kind == Kind::AttributeError) return name + "()";
    const std::string quote = text.find('\'') == std::string::npos ? "'" : "\"";
    return name + "(" + quote + text + quote + ")";
  }
  bool caught_by(Kind handler) const {
    return handler == kind || handler == Kind::BaseException ||
           (handler == Kind::Exception && kind != Kind::GeneratorExit);
  }
  static Error make(Kind kind, const Value& value) {
    if (kind == Kind::StopIteration) return {kind, "", value};
    return {kind, value ? std::to_string(*value) : "", {}};
  }
};

class Model {
 public:
  // Runs the program; the result holds its events.
  static Model run(const Program& program) {
    Model model(program);
    model.run_main();
    return model;
  }

  std::vector<std::string> events;
  long steps = 0;
  // True if a dropped generator yielded instead of ending. CPython then frees its frame without
  // running it further, which a C++ stack cannot do: the two traces differ from here on.
  bool stubborn = false;

 private:
  enum class State { created, running, suspended, closed };

  // A block that has begun, and the part of a `try` that it is.
  struct Entry {
    enum class Role { body, try_body, handler, finally } role;
    const Statement* owner;  // the `try` statement of the block
    const Block* block;
    std::size_t at = 0;
    std::optional<Error> handled = {};  // the error that this handler or `finally` handles
    bool returning = false;             // this `finally` is followed by `return returned`
    Value returned = {};
  };

  struct Generator {
    int id = 0;
    long references = 0;
    const Block* block = nullptr;
    State state = State::created;
    std::vector<Entry> entries;
    Generator* target = nullptr;  // the operand of `yield from`; an owning reference
    std::optional<int> range;     // the next item of `yield from range`
    int range_end = 0;
  };

  struct Outcome {
    enum class How { yielded, returned, raised } how = How::returned;
    Value value;
    Error error;

    static Outcome yielded(int item) { return {How::yielded, item, {}}; }
    static Outcome returned(const Value& value) { return {How::returned, value, {}}; }
    static Outcome raised(Error error) { return {How::raised, {}, std::move(error)}; }
    static Outcome raised(Kind kind, const char* text) { return raised(Error{kind, text, {}}); }
    bool is_raised() const { return how == How::raised; }
  };

  explicit Model(const Program& program) : program_(program), slots_(kSlots) {}

  void say(const std::string& event) { events.push_back(event); }
  static std::string name(const Generator* g) {
    return g == nullptr ? "main" : "#" + std::to_string(g->id);
  }
  void say(const Generator* me, const Statement& s, const std::string& text) {
    say(name(me) + " " + std::to_string(s.number) + " " + text);
  }

  // --- references -------------------------------------------------------------------------------

  Generator* make(int definition) {
    auto fresh = std::make_unique<Generator>();
    fresh->id = static_cast<int>(all_.size()) + 1;
    fresh->references = 1;
    fresh->block = &program_.definitions.at(static_cast<std::size_t>(definition)).block;
    all_.push_back(std::move(fresh));
    return all_.back().get();
  }
  static Generator* keep(Generator* g) {
    if (g != nullptr) ++g->references;
    return g;
  }
  void release(Generator* g) {
    if (g == nullptr || --g->references > 0 || g->state != State::suspended) return;
    ++g->references;
    const Outcome closed = close(g);
    if (closed.is_raised()) say("unraisable " + name(g) + " " + closed.error.shown());
    stubborn |= g->state == State::suspended;
    --g->references;
  }
  void set_slot(int slot, Generator* owned) {
    release(std::exchange(slots_.at(static_cast<std::size_t>(slot)), owned));
  }

  // --- the four operations ----------------------------------------------------------------------

  Outcome send(Generator* g, const Value& sent, const Error* thrown = nullptr) {
    if (g->state == State::created && sent && thrown == nullptr)
      return Outcome::raised(Kind::TypeError,
                             "can't send non-None value to a just-started generator");
    if (g->state == State::running)
      return Outcome::raised(Kind::ValueError, "generator already executing");
    if (g->state == State::closed)
      return thrown != nullptr ? Outcome::raised(*thrown) : Outcome::returned({});
    if (g->state == State::created) {
      if (thrown != nullptr) {
        g->state = State::closed;
        return Outcome::raised(*thrown);
      }
      g->entries.push_back({Entry::Role::body, nullptr, g->block});
      g->state = State::running;
      return settle(g, advance(g));
    }
    g->state = State::running;
    return settle(g, resume(g, sent, thrown));
  }

  Outcome throw_into(Generator* g, const Error& error) {
    if (g->state != State::suspended || g->target == nullptr) return send(g, {}, &error);
    Generator* target = keep(g->target);
    g->state = State::running;
    if (error.kind == Kind::GeneratorExit) {
      const Outcome closed = close(target);
      g->state = State::suspended;
      release(target);
      return send(g, {}, closed.is_raised() ? &closed.error : &error);
    }
    const Outcome outcome = throw_into(target, error);
    g->state = State::suspended;
    release(target);
    if (outcome.how == Outcome::How::yielded) return outcome;
    const Error next =
        outcome.is_raised() ? outcome.error : Error::make(Kind::StopIteration, outcome.value);
    return send(g, {}, &next);
  }

  Outcome close(Generator* g) {
    if (g->state == State::created) g->state = State::closed;
    if (g->state == State::closed) return Outcome::returned({});
    Error exit = {Kind::GeneratorExit, "", {}};
    if (g->state == State::suspended && g->target != nullptr) {
      Generator* target = keep(g->target);
      g->state = State::running;
      const Outcome closed = close(target);
      g->state = State::suspended;
      release(target);
      if (closed.is_raised()) exit = closed.error;
    }
    Outcome outcome = send(g, {}, &exit);
    if (outcome.how == Outcome::How::yielded)
      return Outcome::raised(Kind::RuntimeError, "generator ignored GeneratorExit");
    if (outcome.is_raised() && outcome.error.kind == Kind::GeneratorExit)
      return Outcome::returned({});
    return outcome;
  }

  // Turns an outcome into the one that the caller sees: a return becomes a StopIteration.
  static Outcome as_next(Outcome outcome) {
    if (outcome.how == Outcome::How::returned)
      return Outcome::raised(Error::make(Kind::StopIteration, outcome.value));
    return outcome;
  }

  // --- the body ---------------------------------------------------------------------------------

  static Outcome settle(Generator* g, Outcome outcome) {
    if (outcome.how == Outcome::How::yielded) {
      g->state = State::suspended;
      return outcome;
    }
    g->state = State::closed;
    if (outcome.is_raised() && outcome.error.kind == Kind::StopIteration)
      return Outcome::raised(Kind::RuntimeError, "generator raised StopIteration");
    return outcome;
  }

  static const Statement& current(const Generator* g) {
    return g->entries.back().block->at(g->entries.back().at - 1);
  }

  // Resumes the generator after its `yield`; in a `yield from`, `thrown` comes from the operand.
  Outcome resume(Generator* g, const Value& sent, const Error* thrown) {
    const Statement& s = current(g);
    if (g->target == nullptr && !g->range) {
      if (thrown != nullptr) return unwind(g, *thrown);
      say(g, s, "yield " + text_of(sent));
      return advance(g);
    }
    if (thrown != nullptr) {
      if (thrown->kind == Kind::StopIteration) return delegated(g, thrown->value);
      return undelegate(g, *thrown);
    }
    return delegate(g, sent);
  }

  Outcome delegate(Generator* g, const Value& sent) {
    if (g->range) {
      if (sent) return undelegate(g, {Kind::AttributeError, "send", {}});
      if (*g->range == g->range_end) return delegated(g, {});
      return Outcome::yielded((*g->range)++);
    }
    Outcome outcome = send(g->target, sent);
    if (outcome.how == Outcome::How::yielded) return outcome;
    if (outcome.is_raised()) return undelegate(g, outcome.error);
    return delegated(g, outcome.value);
  }
  Outcome delegated(Generator* g, const Value& result) {
    g->range.reset();
    release(std::exchange(g->target, nullptr));
    const Statement& s = current(g);
    if (s.op == Op::range)
      say(g, s, "range");  // the value is not logged: in C++ yield_from(range) has none
    else
      say(g, s, (s.op == Op::from ? "from " : "fromnew ") + text_of(result));
    return advance(g);
  }
  Outcome undelegate(Generator* g, const Error& error) {
    const Error kept = error;
    g->range.reset();
    release(std::exchange(g->target, nullptr));
    return unwind(g, kept);
  }

  // Passes an error outwards until a handler takes it.
  Outcome unwind(Generator* g, Error error) {
    while (!g->entries.empty()) {
      const Entry entry = std::move(g->entries.back());
      g->entries.pop_back();
      if (entry.role == Entry::Role::try_body)
        for (const Handler& handler : entry.owner->handlers)
          if (error.caught_by(handler.kind)) {
            say(g, *entry.owner, "caught " + error.shown());
            g->entries.push_back({Entry::Role::handler, entry.owner, &handler.block, 0, error});
            return advance(g);
          }
      if (enter_finally(g, entry, {Entry::Role::finally, entry.owner, nullptr, 0, error}))
        return advance(g);
    }
    return Outcome::raised(std::move(error));
  }
  Outcome unwind_return(Generator* g, const Value& value) {
    while (!g->entries.empty()) {
      const Entry entry = std::move(g->entries.back());
      g->entries.pop_back();
      if (enter_finally(g, entry, {Entry::Role::finally, entry.owner, nullptr, 0, {}, true, value}))
        return advance(g);
    }
    return Outcome::returned(value);
  }
  bool enter_finally(Generator* g, const Entry& left, Entry entered) {
    if (left.role != Entry::Role::try_body && left.role != Entry::Role::handler) return false;
    if (!left.owner->finally) return false;
    say(g, *left.owner, "finally");
    entered.block = &*left.owner->finally;
    g->entries.push_back(std::move(entered));
    return true;
  }

  // Runs statements until the generator yields or ends.
  Outcome advance(Generator* g) {
    for (;;) {
      Entry& top = g->entries.back();
      if (top.at == top.block->size()) {
        const Entry entry = std::move(top);
        g->entries.pop_back();
        if (entry.role == Entry::Role::body) return Outcome::returned({});
        if (entry.role == Entry::Role::finally) {
          if (entry.handled) return unwind(g, *entry.handled);
          if (entry.returning) return unwind_return(g, entry.returned);
        }
        enter_finally(g, entry, {Entry::Role::finally, entry.owner, nullptr});
        continue;
      }
      const Statement& s = top.block->at(top.at++);
      ++steps;
      switch (s.op) {
        case Op::yield: return Outcome::yielded(*s.value);
        case Op::return_: return unwind_return(g, s.value);
        case Op::raise: return unwind(g, Error::make(s.kind, s.value));
        case Op::reraise: return unwind(g, handled(g));
        case Op::try_: g->entries.push_back({Entry::Role::try_body, &s, &s.body}); break;
        case Op::from:
          if (slots_.at(static_cast<std::size_t>(s.slot)) == nullptr) {
            say(g, s, "unset");
            break;
          }
          g->target = keep(slots_.at(static_cast<std::size_t>(s.slot)));
          return delegate(g, {});
        case Op::fromnew: g->target = make(*s.value); return delegate(g, {});
        case Op::range:
          g->range = *s.value;
          g->range_end = *s.value + 3;
          return delegate(g, {});
        default: {
          const Outcome outcome = operate(g, s);
          if (outcome.is_raised()) return unwind(g, outcome.error);
        }
      }
    }
  }
  static Error handled(const Generator* g) {
    for (auto entry = g->entries.rbegin(); entry != g->entries.rend(); ++entry)
      if (entry->handled) return *entry->handled;
    return {Kind::RuntimeError, "No active exception to reraise", {}};
  }

  // Runs a statement that may stand in the main block and in generators alike.
  Outcome operate(Generator* me, const Statement& s) {
    switch (s.op) {
      case Op::new_: set_slot(s.slot, make(*s.value)); return {};
      case Op::drop: set_slot(s.slot, nullptr); return {};
      case Op::states: say(me, s, states()); return {};
      default: break;
    }
    Generator* g = keep(slots_.at(static_cast<std::size_t>(s.slot)));
    if (g == nullptr) {
      say(me, s, "unset");
      return {};
    }
    Outcome outcome;
    const char* word = "next ";
    if (s.op == Op::next) {
      outcome = as_next(send(g, {}));
    } else if (s.op == Op::send) {
      word = "send ";
      outcome = as_next(send(g, s.value));
    } else if (s.op == Op::throw_) {
      word = "throw ";
      outcome = as_next(throw_into(g, Error::make(s.kind, s.value)));
    } else {
      word = "close ";
      outcome = close(g);
    }
    release(g);
    if (!outcome.is_raised()) say(me, s, word + text_of(outcome.value));
    return outcome;
  }

  std::string states() const {
    static constexpr const char* kStates[] = {"created", "running", "suspended", "closed"};
    std::string text;
    for (const Generator* g : slots_) {
      if (!text.empty()) text += ' ';
      if (g == nullptr) {
        text += '-';
        continue;
      }
      text += name(g) + ":" + kStates[static_cast<int>(g->state)];
      if (g->state == State::suspended && g->target != nullptr) text += ">" + name(g->target);
    }
    return text;
  }

  void run_main() {
    for (const Statement& s : program_.main) {
      ++steps;
      const Outcome outcome = operate(nullptr, s);
      if (outcome.is_raised()) say(nullptr, s, "threw " + outcome.error.shown());
    }
    // Generators that end while slots are emptied may fill a slot again.
    const auto filled = [](const Generator* g) { return g != nullptr; };
    while (std::any_of(slots_.begin(), slots_.end(), filled))
      for (int i = 0; i < kSlots; ++i) set_slot(i, nullptr);
  }

  const Program& program_;
  std::vector<std::unique_ptr<Generator>> all_;
  std::vector<Generator*> slots_;
};

}  // namespace generator_programs
