// Runs a program on fiber::Generator.
#pragma once

#include "conformance/generator/language.hpp"

#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace generator_programs {

class Machine {
 public:
  static std::vector<std::string> run(const Program& program) {
    Machine machine(program);
    machine.run_main();
    return std::move(machine.events_);
  }

 private:
  // `wide` definitions make Wide generators. A Narrow generator's `yield from` of one converts each
  // item, for which the library has a code path of its own.
  using Narrow = fiber::Generator<int, Value, Value>;
  using Wide = fiber::Generator<long, Value, Value>;
  using Any = std::variant<Narrow, Wide>;

  explicit Machine(const Program& program) : program_(program), slots_(kSlots) {}

  void say(const std::string& event) { events_.push_back(event); }
  void say(const std::string& me, const Statement& s, const std::string& text) {
    say(me + " " + std::to_string(s.number) + " " + text);
  }

  static std::string shown(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const fiber::StopIteration& stop) {
      return "StopIteration(" + text_of(returned(stop)) + ")";
    } catch (const fiber::AttributeError&) {
      return "AttributeError()";
    } catch (...) {
      return fiber::repr(std::current_exception());
    }
  }
  static Value returned(const fiber::StopIteration& stop) {
    return stop.value().empty() ? Value() : stop.value().as<Value>();
  }

  // --- slots ------------------------------------------------------------------------------------

  Any make(int definition) {
    const Definition& made = program_.definitions.at(static_cast<std::size_t>(definition));
    std::string name = "#" + std::to_string(++made_);
    if (made.wide) return make_as<Wide>(made, std::move(name));
    return make_as<Narrow>(made, std::move(name));
  }
  template <class T>
  Any make_as(const Definition& definition, std::string name) {
    return T(
        [this, &definition, name](auto& self) -> Value {
          return this->block(self, name, definition.block).returned;
        },
        {.name = name, .stack_size = std::size_t{128} << 10});
  }
  // Drops the old generator only after the new one is in the slot: dropping it runs code that may
  // use the slot.
  void set_slot(int index, Any any) { const Any old = std::exchange(slot(index), std::move(any)); }
  Any& slot(int index) { return slots_.at(static_cast<std::size_t>(index)); }
  static const fiber::GeneratorBase& base(const Any& any) {
    return std::visit([](const auto& g) -> const fiber::GeneratorBase& { return g; }, any);
  }

  std::string states() const {
    std::string text;
    for (const Any& any : slots_) {
      if (!text.empty()) text += ' ';
      const fiber::GeneratorBase& g = base(any);
      if (!g) {
        text += '-';
        continue;
      }
      static constexpr const char* kStates[] = {"created", "running", "suspended", "closed"};
      text += g.name() + ":" + kStates[static_cast<int>(g.state())];
      if (const auto target = g.yield_from_target()) text += ">" + target.name();
    }
    return text;
  }

  // --- statements -------------------------------------------------------------------------------

  static std::exception_ptr error(Kind kind, const Value& value) {
    const std::string text = value ? std::to_string(*value) : "";
    switch (kind) {
      case Kind::StopIteration:
        return std::make_exception_ptr(value ? fiber::StopIteration(fiber::value(value))
                                             : fiber::StopIteration());
      case Kind::GeneratorExit:
        return std::make_exception_ptr(value ? fiber::GeneratorExit(text) : fiber::GeneratorExit());
      case Kind::RuntimeError: return std::make_exception_ptr(fiber::RuntimeError(text));
      default: return std::make_exception_ptr(fiber::ValueError(text));
    }
  }

  // Runs a statement that may stand in the main block and in generators alike.
  void operate(const std::string& me, const Statement& s) {
    switch (s.op) {
      case Op::new_: set_slot(s.slot, make(*s.value)); return;
      case Op::drop: set_slot(s.slot, Any()); return;
      case Op::states: say(me, s, states()); return;
      default: break;
    }
    if (!base(slot(s.slot))) {
      say(me, s, "unset");
      return;
    }
    std::string word;
    const Value result = std::visit([&](const auto& g) { return call(g, s, word); }, slot(s.slot));
    say(me, s, word + text_of(result));
  }
  template <class G>
  static Value call(const G& g, const Statement& s, std::string& word) {
    switch (s.op) {
      case Op::next: word = "next "; return static_cast<int>(g.next());
      case Op::send: word = "send "; return static_cast<int>(g.send(s.value));
      case Op::throw_: word = "throw "; return static_cast<int>(g.throw_(error(s.kind, s.value)));
      default: word = "close "; return g.close().value_or(Value());
    }
  }

  // How a block ended that raised no exception.
  struct Flow {
    bool returns = false;
    Value returned = {};
  };

  template <class Self>
  Flow block(Self& self, const std::string& me, const Block& statements) {
    for (const Statement& s : statements) {
      switch (s.op) {
        case Op::yield: say(me, s, "yield " + text_of(self.yield(*s.value))); break;
        case Op::from:
          if (base(slot(s.slot)))
            say(me, s, "from " + text_of(delegate(self, slot(s.slot))));
          else
            say(me, s, "unset");
          break;
        case Op::fromnew: say(me, s, "fromnew " + text_of(delegate(self, make(*s.value)))); break;
        case Op::range:
          self.yield_from(std::vector<int>{*s.value, *s.value + 1, *s.value + 2});
          say(me, s, "range");
          break;
        case Op::raise: std::rethrow_exception(error(s.kind, s.value));
        case Op::reraise: throw;
        case Op::return_: return {true, s.value};
        case Op::try_:
          if (const Flow flow = try_block(self, me, s); flow.returns) return flow;
          break;
        default: operate(me, s);
      }
    }
    return {};
  }
  template <class Self>
  static Value delegate(Self& self, Any inner) {
    return std::visit([&](auto& g) { return self.yield_from(std::move(g)); }, inner);
  }

  template <class Self>
  Flow try_block(Self& self, const std::string& me, const Statement& s) {
    if (!s.finally) return handled(self, me, s);
    Flow flow;
    try {
      flow = handled(self, me, s);
    } catch (...) {
      say(me, s, "finally");
      const Flow last = block(self, me, *s.finally);
      if (last.returns) return last;
      throw;
    }
    say(me, s, "finally");
    const Flow last = block(self, me, *s.finally);
    return last.returns ? last : flow;
  }
  template <class Self>
  Flow handled(Self& self, const std::string& me, const Statement& s) {
    try {
      return block(self, me, s.body);
    } catch (...) {
      for (const Handler& handler : s.handlers) {
        if (!caught_by(handler.kind)) continue;
        say(me, s, "caught " + shown(std::current_exception()));
        return block(self, me, handler.block);
      }
      throw;
    }
  }

  // Returns true if the exception that C++ is handling is an E.
  template <class E>
  static bool is() {
    try {
      throw;
    } catch (const E&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  static bool caught_by(Kind kind) {
    switch (kind) {
      case Kind::ValueError: return is<fiber::ValueError>();
      case Kind::GeneratorExit: return is<fiber::GeneratorExit>();
      case Kind::StopIteration: return is<fiber::StopIteration>();
      case Kind::RuntimeError: return is<fiber::RuntimeError>();
      case Kind::TypeError: return is<fiber::TypeError>();
      case Kind::AttributeError: return is<fiber::AttributeError>();
      case Kind::Exception: return is<std::exception>();
      case Kind::BaseException: return true;
    }
    return false;
  }

  void run_main() {
    auto previous = fiber::set_unraisablehook([this](const fiber::UnraisableHookArgs& args) {
      const std::string_view message = args.message;
      const auto start = message.find('#');
      say("unraisable " + std::string(message.substr(start, message.find('\'', start) - start)) +
          " " + shown(args.exception));
    });
    for (const Statement& s : program_.main) {
      try {
        operate("main", s);
      } catch (...) {
        say("main", s, "threw " + shown(std::current_exception()));
      }
    }
    const auto filled = [](const Any& any) { return static_cast<bool>(base(any)); };
    while (std::any_of(slots_.begin(), slots_.end(), filled))
      for (int i = 0; i < kSlots; ++i) set_slot(i, Any());
    fiber::set_unraisablehook(std::move(previous));
  }

  const Program& program_;
  std::vector<Any> slots_;
  std::vector<std::string> events_;
  int made_ = 0;
};

}  // namespace generator_programs
