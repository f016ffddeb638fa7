// The events of a program by the rules of greenlets: a machine that knows nothing of stacks. A
// suspended greenlet is a list of functions, the last of which gets the value or exception sent to
// it.
#pragma once

#include "greenlet/random/program.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace greenlet_programs {

class Model {
 public:
  explicit Model(const Program& program) : program_(program) {
    main_ = make(&program.main);
    main_->state = State::current;
    main_->name = "main";
    current_ = main_;
  }

  void run() {
    then([this] { step(); });
    while (next_ && !stubborn) std::exchange(next_, nullptr)();
  }

  std::vector<std::string> events;
  long steps = 0;
  // A greenlet outlived its GreenletExit: its stack stays until the thread's end.
  bool stubborn = false;
  // Returns the number of greenlets that have not been freed at the end, main aside.
  long left() const {
    return std::count_if(all_.begin(), all_.end(), [](const auto& g) { return !g->freed; }) - 1;
  }

 private:
  struct Outcome {
    enum class Kind { empty, number, exited, error, exit } kind = Kind::empty;
    int number = -1;  // of an exception: -1 if it is not the program's own

    bool thrown() const { return kind == Kind::error || kind == Kind::exit; }
    std::string shown() const {
      const std::string text = number < 0 ? "" : std::to_string(number);
      switch (kind) {
        case Kind::empty: return "()";
        case Kind::number: return text;
        case Kind::error: return "ValueError(" + text + ")";
        case Kind::exited:
        case Kind::exit: break;
      }
      return "GreenletExit(" + text + ")";
    }
    static Outcome make_error(int number) {
      return {number % 2 == 1 ? Kind::exit : Kind::error, number};
    }
    // Returns the outcome that a greenlet leaves to its parent when it ends so.
    Outcome at_end() const { return kind == Kind::exit ? Outcome{Kind::exited, number} : *this; }
  };

  using Then = std::function<void()>;
  using Wait = std::function<void(Outcome)>;
  enum class State { pending, suspended, current, dead };

  struct Greenlet {
    std::string name;
    const Block* block = nullptr;
    std::size_t at = 0;
    State state = State::pending;
    long references = 1;
    Greenlet* parent = nullptr;
    std::vector<Wait> waits;
    bool freed = false;
  };

  Greenlet* make(const Block* block) {
    auto fresh = std::make_unique<Greenlet>();
    fresh->name = "#" + std::to_string(all_.size());
    fresh->block = block;
    all_.push_back(std::move(fresh));
    return all_.back().get();
  }

  void then(Then next) { next_ = std::move(next); }
  void say(const std::string& event) { events.push_back(event); }
  void say(const Statement& s, const std::string& text) {
    say(current_->name + " " + std::to_string(s.id) + " " + text);
  }

  // --- references -------------------------------------------------------------------------------

  static Greenlet* keep(Greenlet* g) {
    if (g != nullptr) ++g->references;
    return g;
  }
  void release(Greenlet* g, Then next) {
    if (g == nullptr || --g->references > 0 || g->state == State::current || g == main_)
      return then(std::move(next));
    if (g->state == State::suspended) return kill(g, std::move(next));
    free(g, std::move(next));
  }
  void free(Greenlet* g, Then next) {
    g->freed = true;
    Greenlet* parent = std::exchange(g->parent, nullptr);
    then([this, parent, next = std::move(next)] { release(parent, next); });
  }

  // Throws GreenletExit; meanwhile the greenlet that gave up the last reference is the parent.
  void kill(Greenlet* g, Then next) {
    Greenlet* dropper = current_;
    Greenlet* parent = g->parent;
    ++g->references;
    ++dropper->references;
    g->parent = dropper;
    dropper->waits.push_back([=, this](const Outcome& outcome) {
      if (outcome.thrown()) say("unraisable " + g->name + " " + outcome.shown());
      Greenlet* given_up = parent;
      if (g->parent == dropper && !descends(parent, g)) {
        g->parent = parent;
        given_up = dropper;
      }
      release(given_up, [=, this] {
        if (g->state == State::suspended && g->references == 1) stubborn = true;
        if (--g->references > 0 || g->state != State::dead) return then(next);
        free(g, next);
      });
    });
    arrive(g, {Outcome::Kind::exit, -1});
  }

  // --- switching --------------------------------------------------------------------------------

  // Makes the running greenlet switch to another one, or to itself.
  void arrive(Greenlet* target, const Outcome& outcome) {
    Greenlet* origin = current_;
    if (origin->state == State::current) origin->state = State::suspended;
    if (target->state == State::pending) {
      started_.push_back(target);
      target->waits.push_back([this, target](const Outcome& first) {
        if (first.thrown()) return finish(target, first);
        say(target->name + " starts " + first.shown());
        then([this] { step(); });
      });
    }
    target->state = State::current;
    current_ = target;
    const Then deliver = [target, outcome] {
      const Wait wait = std::move(target->waits.back());
      target->waits.pop_back();
      wait(outcome);
    };
    if (tracing_) {
      ++origin->references;
      say((outcome.thrown() ? "throw " : "switch ") + origin->name + " " + target->name);
      return release(origin, deliver);
    }
    if (origin == target || origin->references > 0) return then(deliver);
    ++origin->references;
    release(origin, deliver);
  }

  static bool descends(const Greenlet* at, const Greenlet* g) {
    while (at != nullptr && at != g) at = at->parent;
    return at != nullptr;
  }
  static Greenlet* alive_above(const Greenlet* g) {
    Greenlet* at = g->parent;
    while (at->state == State::dead) at = at->parent;
    return at;
  }

  void send(Greenlet* target, Outcome outcome) {
    if (target->state == State::dead) {
      outcome = outcome.at_end();
      target = alive_above(target);
    }
    arrive(target, outcome);
  }

  void finish(Greenlet* g, const Outcome& outcome) {
    Greenlet* heir = alive_above(g);
    g->state = State::dead;
    started_.erase(std::find(started_.begin(), started_.end(), g));
    arrive(heir, outcome.at_end());
  }

  // --- statements -------------------------------------------------------------------------------

  void step() {
    Greenlet* g = current_;
    if (g->at == g->block->size()) return g == main_ ? end() : finish(g, {});
    const Statement& s = g->block->at(g->at++);
    ++steps;
    operate(s);
  }
  void go_on() {
    then([this] { step(); });
  }
  void raise(const Statement& s, const Outcome& error) {
    if (s.guard == Guard::none || (s.guard == Guard::errors && error.kind == Outcome::Kind::exit))
      return finish(current_, error);
    say(s, "caught " + error.shown());
    go_on();
  }

  Greenlet*& slot(int index) { return slots_.at(static_cast<std::size_t>(index)); }
  void set_slot(int index, Greenlet* owned) {
    release(std::exchange(slot(index), owned), [this] { step(); });
  }

  void operate(const Statement& s) {
    Greenlet* g = slot(s.slot);
    switch (s.op) {
      case Op::up: return send_and_wait(s, current_->parent, {Outcome::Kind::number, s.number});
      case Op::create: {
        Greenlet* made = make(&program_.bodies.at(static_cast<std::size_t>(s.number)));
        made->parent = keep(current_);
        weak_.at(static_cast<std::size_t>(s.slot)) = made;
        return set_slot(s.slot, made);
      }
      case Op::copy: return set_slot(s.slot, keep(slot(s.other)));
      case Op::drop:
      case Op::foreign: return set_slot(s.slot, nullptr);
      case Op::lock: {
        Greenlet* weak = weak_.at(static_cast<std::size_t>(s.slot));
        return set_slot(s.slot, weak != nullptr && !weak->freed ? keep(weak) : nullptr);
      }
      case Op::raise: return raise(s, Outcome::make_error(s.number));
      case Op::return_: return finish(current_, {Outcome::Kind::number, s.number});
      case Op::states: say(s, states()); return go_on();
      case Op::trace: tracing_ = !tracing_; return go_on();
      default: break;
    }
    if (g == nullptr || (s.op == Op::reparent && slot(s.other) == nullptr)) {
      say(s, "unset");
      return go_on();
    }
    switch (s.op) {
      case Op::switch_: return send_and_wait(s, g, {Outcome::Kind::number, s.number});
      case Op::empty: return send_and_wait(s, g, {});
      case Op::throw_: return send_and_wait(s, g, Outcome::make_error(s.number));
      case Op::reparent: return reparent(s, g, slot(s.other));
      default: return reparent(s, g, current_);
    }
  }
  void send_and_wait(const Statement& s, Greenlet* target, const Outcome& outcome) {
    current_->waits.push_back([this, &s](const Outcome& received) {
      if (received.thrown()) return raise(s, received);
      say(s, received.shown());
      go_on();
    });
    send(target, outcome);
  }
  void reparent(const Statement& s, Greenlet* g, Greenlet* parent) {
    if (descends(parent, g)) return raise(s, {Outcome::Kind::error, -1});
    keep(parent);
    release(std::exchange(g->parent, parent), [this] { step(); });
  }

  std::string states() const {
    static constexpr const char* kStates[] = {":pending>", ":suspended>", ":current>", ":dead>"};
    std::string text;
    for (const Greenlet* g : slots_) {
      if (!text.empty()) text += ' ';
      text += g == nullptr ? "-" : g->name + kStates[static_cast<int>(g->state)] + g->parent->name;
    }
    return text;
  }

  // --- the end ----------------------------------------------------------------------------------

  void end() {
    if (program_.dies) return exit_thread();
    empty_slots();
  }
  // Empties the first slot that is filled, again and again: a greenlet that ends may fill one.
  void empty_slots() {
    for (Greenlet*& g : slots_)
      if (g != nullptr) return release(std::exchange(g, nullptr), [this] { empty_slots(); });
  }

  // Ends the greenlets newest first, as a stack unwinds.
  void exit_thread() {
    if (started_.empty()) {
      tracing_ = false;
      return empty_slots();
    }
    Greenlet* newest = started_.back();
    ++newest->references;
    kill(newest, [=, this] {
      stubborn |= newest->state == State::suspended;
      release(newest, [this] { exit_thread(); });
    });
  }

  const Program& program_;
  std::vector<std::unique_ptr<Greenlet>> all_;
  std::vector<Greenlet*> started_;
  std::array<Greenlet*, kSlots> slots_{};
  std::array<Greenlet*, kSlots> weak_{};
  Greenlet* main_ = nullptr;
  Greenlet* current_ = nullptr;
  bool tracing_ = false;
  Then next_;
};

}  // namespace greenlet_programs
