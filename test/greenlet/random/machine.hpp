// Runs a program on fiber::greenlet.
#pragma once

#include "greenlet/random/program.hpp"

#include <fiber/greenlet.hpp>

#include <array>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace greenlet_programs {

class Machine {
 public:
  // `held` counts bodies that have started and not ended.
  static std::vector<std::string> run(const Program& program, long& held) {
    auto* machine = new Machine(program);
    if (program.dies)
      std::thread([&] { machine->run_main(); }).join();
    else
      machine->run_main();
    machine->empty_slots();
    held = machine->held_;
    std::vector<std::string> events = machine->events_;
    if (held == 0) delete machine;  // else, against all rules, bodies still refer to it
    return events;
  }

  // The unraisable hook, of which a process has one.
  static void unraisable(const fiber::UnraisableHookArgs& args) {
    if (Machine* machine = running())
      machine->say("unraisable " + args.object.name() + " " + shown(args.exception));
  }

 private:
  explicit Machine(const Program& program) : program_(program) {}

  static Machine*& running() {
    static thread_local Machine* machine = nullptr;
    return machine;
  }

  void say(const std::string& event) { events_.push_back(event); }
  void say(const Statement& s, const std::string& text) {
    say(name(fiber::getcurrent()) + " " + std::to_string(s.id) + " " + text);
  }
  static std::string name(const fiber::greenlet& g) {
    const std::string name = g.name();
    return name.empty() ? "main" : name;
  }

  // Returns type and text of an exception; texts that are not the program's are left out.
  static std::string shown(const std::exception_ptr& error) {
    if (error == nullptr) return "None";
    const std::string text = fiber::str(error);
    const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    return fiber::type_name(error) + "(" + (number ? text : "") + ")";
  }
  static std::string shown(fiber::value& v) {
    if (v.empty()) return "()";
    if (v.exited()) return shown(v.exception());
    return std::to_string(v.as<int>());
  }
  static std::exception_ptr error(int number) {
    const std::string text = std::to_string(number);
    return number % 2 == 1 ? std::make_exception_ptr(fiber::GreenletExit(text))
                           : std::make_exception_ptr(fiber::ValueError(text));
  }

  fiber::greenlet& slot(int index) { return slots_.at(static_cast<std::size_t>(index)); }
  fiber::weak_greenlet& weak(int index) { return weak_.at(static_cast<std::size_t>(index)); }
  // Puts a greenlet into a slot; the old one is dropped after that.
  void set_slot(int index, fiber::greenlet g) {
    const fiber::greenlet old = std::exchange(slot(index), std::move(g));
  }

  void create(const Statement& s) {
    const Block& block = program_.bodies.at(static_cast<std::size_t>(s.number));
    fiber::greenlet made([this, &block](fiber::value first) { return body(block, first); },
                         {.name = "#" + std::to_string(++made_)});
    weak(s.slot) = fiber::weak_greenlet(made);
    set_slot(s.slot, std::move(made));
  }

  fiber::value body(const Block& block, fiber::value& first) {
    struct Held {
      explicit Held(long& count) : count_(count) { ++count_; }
      Held(const Held&) = delete;
      Held& operator=(const Held&) = delete;
      ~Held() { --count_; }
      long& count_;
    } const held(held_);
    say(name(fiber::getcurrent()) + " starts " + shown(first));
    for (const Statement& s : block) {
      if (s.op == Op::return_) return s.number;
      guarded(s);
    }
    return {};
  }
  void guarded(const Statement& s) {
    if (s.guard == Guard::none) return operate(s);
    try {
      operate(s);
    } catch (const std::exception&) {
      say(s, "caught " + shown(std::current_exception()));
    } catch (...) {
      if (s.guard != Guard::all) throw;
      say(s, "caught " + shown(std::current_exception()));
    }
  }

  void operate(const Statement& s) {
    switch (s.op) {
      case Op::up: return result(s, fiber::getcurrent().parent().switch_(s.number));
      case Op::create: return create(s);
      case Op::copy: return set_slot(s.slot, slot(s.other));
      case Op::drop: return set_slot(s.slot, nullptr);
      case Op::lock: return set_slot(s.slot, weak(s.slot).lock());
      case Op::raise: std::rethrow_exception(error(s.number));
      case Op::states: return say(s, states());
      case Op::trace: return trace();
      case Op::foreign:
        std::thread([dropped = std::move(slot(s.slot))] {}).join();
        fiber::getcurrent();
        return;
      case Op::return_: return;
      default: break;
    }
    if (slot(s.slot) == nullptr || (s.op == Op::reparent && slot(s.other) == nullptr))
      return say(s, "unset");
    switch (s.op) {
      case Op::switch_: return result(s, slot(s.slot).switch_(s.number));
      case Op::empty: return result(s, slot(s.slot).switch_());
      case Op::throw_: return result(s, slot(s.slot).throw_(error(s.number)));
      case Op::reparent: return slot(s.slot).parent(slot(s.other));
      default: return slot(s.slot).parent(fiber::getcurrent());
    }
  }
  void result(const Statement& s, fiber::value v) { say(s, shown(v)); }

  void trace() {
    if (fiber::gettrace()) {
      fiber::settrace(nullptr);
      return;
    }
    fiber::settrace(
        [this](const char* event, const fiber::greenlet& origin, const fiber::greenlet& target) {
          say(std::string(event) + " " + name(origin) + " " + name(target));
        });
  }

  std::string states() {
    std::string text;
    for (const fiber::greenlet& g : slots_) {
      if (!text.empty()) text += ' ';
      if (g == nullptr) {
        text += '-';
        continue;
      }
      text += name(g);
      if (g == fiber::getcurrent())
        text += ":current";
      else
        text += g.dead() ? ":dead" : g ? ":suspended" : ":pending";
      text += ">" + name(g.parent());
    }
    return text;
  }

  // Empties the first slot that is filled, again and again: a greenlet that ends may fill one.
  void empty_slots() {
    for (int i = 0; i < kSlots;)
      if (slot(i) == nullptr)
        ++i;
      else
        set_slot(std::exchange(i, 0), nullptr);
  }

  void run_main() {
    running() = this;
    for (const Statement& s : program_.main) guarded(s);
    if (program_.dies) return;
    empty_slots();
    fiber::settrace(nullptr);
    running() = nullptr;
  }

  const Program program_;
  std::array<fiber::greenlet, kSlots> slots_{nullptr, nullptr, nullptr, nullptr};
  std::array<fiber::weak_greenlet, kSlots> weak_;
  std::vector<std::string> events_;
  int made_ = 0;
  long held_ = 0;
};

}  // namespace greenlet_programs
