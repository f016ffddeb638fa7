// Runs one scenario on fiber's asyncio and returns its trace. Python's side is interpreter.py.
#pragma once

#include "language.hpp"
#include "network.hpp"
#include "objects.hpp"
#include "value.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/contextvars.hpp>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace differential {

namespace asyncio = fiber::asyncio;

// How a list of statements ended.
struct Flow {
  enum Kind { next, returned, reraise } kind = next;
  Value value = {};
  explicit operator bool() const { return kind != next; }
};

// An argument of gather and similar functions: a new coroutine, or a future with a name.
using Item = std::variant<asyncio::Coroutine<Value>, asyncio::Future<Value>>;
asyncio::Future<Value> as_future(Item item);
std::vector<asyncio::Future<Value>> as_futures(std::vector<Item> items);

class Interpreter {
 public:
  explicit Interpreter(const Scenario& scenario);

  // Runs the whole scenario and returns the lines of its trace.
  std::vector<std::string> execute();

  // --- the trace ---
  void log(const std::string& who, int line, const std::string& text);
  void passed(const std::string& who, const Statement& statement, const Value& result);
  // Logs the exception that is being handled; returns true if the next statement runs.
  bool failed(const std::string& who, const Statement& statement);

  // --- names and instances ---
  int count(const std::string& name) { return ++counts_[name]; }
  Value bind(const std::string& name, AnyFuture future);
  std::string label_for(const std::string& name);
  std::string label_of(const asyncio::FutureRef& future) const;  // "*": no label
  AnyFuture* find(const std::string& name);
  const Statements* body(const std::string& name) const;
  // Returns a new coroutine object of a body; nothing if the scenario has made too many.
  std::optional<asyncio::Coroutine<Value>> coroutine(const std::string& name);
  // Returns the items of the words from `first` on, each a name or `b()`; skips unknown words.
  std::vector<Item> items(const Words& words, std::size_t first);
  // Returns the new label of a generator; "" if the scenario has made too many.
  std::string generator_label(const std::string& name);
  const Scenario& scenario() const { return scenario_; }
  std::string state(const asyncio::FutureRef& future) const;

  // --- statements ---
  Flow run(const Statements& statements, const std::string& who);
  void step(const std::string& who, const Statement& statement);

  // --- actions ---
  void act(const std::string& name, const asyncio::FutureRef& future);
  // Returns true if action `name` exists and may be scheduled once more.
  bool may_schedule(const std::string& name);
  bool has_action(const std::string& name) const { return scenario_.actions.count(name) > 0; }

  asyncio::testing::VirtualClock clock;
  asyncio::EventLoop loop;
  Objects objects;
  Network network;
  std::map<std::string, asyncio::Handle> handles;
  std::map<std::string, std::vector<std::pair<asyncio::FutureRef, asyncio::Handle>>> callbacks;
  fiber::contextvars::ContextVar<int> variable;

 private:
  Value run_body(const std::string& name, const std::string& label);
  void on_error(const asyncio::ExceptionContext& context);
  void arm();
  void watch();
  void run_idle();
  void run_runner();
  std::int64_t microseconds() const;

  const Scenario& scenario_;
  std::vector<std::string> trace_;
  std::chrono::nanoseconds start_{};
  std::map<std::string, std::size_t> futures_;  // index in made_
  std::deque<std::pair<std::string, AnyFuture>> made_;
  std::map<std::string, int> counts_;
  int instances_ = 0;
  int schedules_ = 0;
  int rounds_ = 0;
  bool silent_ = false;
};

std::chrono::nanoseconds milliseconds(const std::string& word);
// Returns the timeout that the word gives in milliseconds; `-` stands for no timeout.
std::optional<std::chrono::nanoseconds> timeout(const std::string& word);

// Statements that cannot suspend (operations.cpp).
Value immediate(Interpreter& run, const Statement& statement);
// Statements about locks, events, queues and barriers, and their declarations
// (synchronization.cpp).
Value immediate_on_object(Interpreter& run, const std::string& op, const Words& args);
// Statements that may suspend (waiting.cpp). waits() returns true for their names.
bool waits(const std::string& op);
Value wait_for_it(Interpreter& run, const std::string& who, const Statement& statement);
// Statements with statements inside (blocks.cpp).
bool is_block(const std::string& op);
Flow run_block(Interpreter& run, const std::string& who, const Statement& statement);

}  // namespace differential
