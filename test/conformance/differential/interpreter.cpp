#include "interpreter.hpp"

#include <chrono>
#include <utility>

namespace differential {
namespace {

constexpr int kMaxInstances = 40;
constexpr int kMaxSchedules = 25;
constexpr int kMaxRounds = 12;
constexpr std::chrono::hours kHour{1};

std::string numbered(const std::string& name, int number) {
  return number == 1 ? name : name + "." + std::to_string(number);
}

}  // namespace

std::chrono::nanoseconds milliseconds(const std::string& word) {
  return std::chrono::milliseconds(std::stoi(word));
}

std::optional<std::chrono::nanoseconds> timeout(const std::string& word) {
  if (word == "-") return std::nullopt;
  return milliseconds(word);
}

Interpreter::Interpreter(const Scenario& scenario) : variable("variable", 0), scenario_(scenario) {}

// --- the trace ---

std::int64_t Interpreter::microseconds() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(loop.time() - start_).count();
}

void Interpreter::log(const std::string& who, int line, const std::string& text) {
  if (silent_) return;
  trace_.push_back(std::to_string(microseconds()) + " " + who + " " + std::to_string(line) + " " +
                   text);
}

void Interpreter::passed(const std::string& who, const Statement& statement, const Value& result) {
  log(who, statement.line, "= " + show(result));
}

bool Interpreter::failed(const std::string& who, const Statement& statement) {
  const std::exception_ptr error = std::current_exception();
  log(who, statement.line, "! " + show_error(error));
  if (!statement.safe) return true;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception&) {
    return false;
  } catch (...) {
    return true;
  }
}

// --- names and instances ---

Value Interpreter::bind(const std::string& name, AnyFuture future) {
  const std::string label = numbered(name, count("=" + name));
  futures_[name] = made_.size();
  made_.emplace_back(label, std::move(future));
  return label;
}

std::string Interpreter::label_for(const std::string& name) {
  return numbered(name, counts_["=" + name] + 1);
}

std::string Interpreter::label_of(const asyncio::FutureRef& future) const {
  for (auto entry = made_.rbegin(); entry != made_.rend(); ++entry)
    if (as_ref(entry->second) == future) return entry->first;
  return "*";
}

AnyFuture* Interpreter::find(const std::string& name) {
  const auto found = futures_.find(name);
  return found == futures_.end() ? nullptr : &made_[found->second].second;
}

const Statements* Interpreter::body(const std::string& name) const {
  const auto found = scenario_.bodies.find(name);
  return found == scenario_.bodies.end() ? nullptr : &found->second;
}

std::optional<asyncio::Coroutine<Value>> Interpreter::coroutine(const std::string& name) {
  if (instances_ >= kMaxInstances || body(name) == nullptr) return std::nullopt;
  ++instances_;
  const std::string label = name + "#" + std::to_string(count(name));
  return asyncio::Coroutine<Value>([this, name, label] { return run_body(name, label); });
}

std::vector<Item> Interpreter::items(const Words& words, std::size_t first) {
  std::vector<Item> list;
  for (std::size_t i = first; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.ends_with("()")) {
      if (auto made = coroutine(word.substr(0, word.size() - 2)))
        list.emplace_back(std::move(*made));
    } else if (AnyFuture* found = find(word)) {
      if (auto* plain = as_plain(*found)) list.emplace_back(*plain);
    }
  }
  return list;
}

asyncio::Future<Value> as_future(Item item) {
  if (auto* coroutine = std::get_if<0>(&item)) return asyncio::ensure_future(std::move(*coroutine));
  return std::get<1>(std::move(item));
}

std::vector<asyncio::Future<Value>> as_futures(std::vector<Item> items) {
  std::vector<asyncio::Future<Value>> futures;
  for (Item& item : items) futures.push_back(as_future(std::move(item)));
  return futures;
}

std::string Interpreter::generator_label(const std::string& name) {
  if (instances_ >= kMaxInstances || scenario_.agens.count(name) == 0) return "";
  ++instances_;
  return name + "#" + std::to_string(count(name));
}

std::string Interpreter::state(const asyncio::FutureRef& future) const {
  return future.cancelled() ? "cancelled" : future.done() ? "done" : "pending";
}

// --- statements ---

Value Interpreter::run_body(const std::string& name, const std::string& label) {
  log(label, 0, "start " + label_of(asyncio::current_task()));
  try {
    Flow flow = run(*body(name), label);
    Value result = flow.kind == Flow::returned ? std::move(flow.value) : Value();
    log(label, 0, "return " + show(result));
    return result;
  } catch (...) {
    log(label, 0, "raise " + show_error(std::current_exception()));
    throw;
  }
}

Flow Interpreter::run(const Statements& statements, const std::string& who) {
  for (const Statement& statement : statements) {
    if (is_block(statement.op)) {
      if (Flow flow = run_block(*this, who, statement)) return flow;
    } else if (statement.op == "return") {
      return {Flow::returned,
              statement.args.empty() ? Value() : Value(std::stoi(statement.args[0]))};
    } else if (statement.op == "reraise") {
      return {Flow::reraise};
    } else {
      step(who, statement);
    }
  }
  return {};
}

void Interpreter::step(const std::string& who, const Statement& statement) {
  try {
    const Value result =
        waits(statement.op) ? wait_for_it(*this, who, statement) : immediate(*this, statement);
    passed(who, statement, result);
  } catch (...) {
    if (failed(who, statement)) throw;
  }
}

// --- actions ---

void Interpreter::act(const std::string& name, const asyncio::FutureRef& future) {
  const std::string who = name + "#" + std::to_string(count(name));
  log(who, 0,
      "called" + (future ? " " + label_of(future) : "") +
          (asyncio::current_task() ? " in a task" : ""));
  for (const Statement& statement : scenario_.actions.at(name)) step(who, statement);
}

bool Interpreter::may_schedule(const std::string& name) {
  if (schedules_ >= kMaxSchedules) return false;
  ++schedules_;
  return has_action(name);
}

// --- beginning and end ---

void Interpreter::on_error(const asyncio::ExceptionContext& context) {
  std::string message = context.message;
  if (message.rfind("Exception in callback", 0) == 0) message = "Exception in callback";
  log("-", 0, "handler " + message + ": " + show_error(context.exception));
}

void Interpreter::arm() {
  static_cast<void>(loop.call_later(kHour, [this] { watch(); }));
}

// Runs when nothing else is scheduled: all tasks are then done, or all of them wait forever.
void Interpreter::watch() {
  const std::vector<asyncio::TaskRef> waiting = asyncio::all_tasks();
  if (waiting.empty() && scenario_.mode == "idle") return loop.stop();
  std::string names = "DEADLOCK";
  for (const asyncio::TaskRef& task : waiting) names += " " + label_of(task);
  log("-", 0, names);
  if (++rounds_ > kMaxRounds) {
    log("-", 0, "GIVEUP");
    return loop.stop();
  }
  arm();
  for (const asyncio::TaskRef& task : waiting) task.cancel();
  if (rounds_ > 1)  // some tasks wait for a lock before they can end
    for (const Statement& declaration : scenario_.objects)
      if (declaration.op == "lock" || declaration.op == "cond")
        objects.with_lock(declaration.args[0], [](auto& lock) {
          if (lock.locked()) lock.release();
          return Value();
        });
}

void Interpreter::run_idle() {
  static_cast<void>(loop.call_soon(
      [this] { bind("main", AnyFuture(loop.create_task(*coroutine("main"), {.name = "main"}))); }));
  arm();
  loop.run_forever();
}

std::vector<std::string> Interpreter::execute() {
  loop = asyncio::new_event_loop();
  clock.attach(loop);
  clock.set_patience(std::chrono::nanoseconds(0));
  start_ = loop.time();
  asyncio::set_event_loop(loop);
  if (scenario_.eager) loop.set_task_factory(asyncio::eager_task_factory);
  loop.set_exception_handler(
      [this](const asyncio::EventLoop&, const asyncio::ExceptionContext& c) { on_error(c); });
  for (const Statement& declaration : scenario_.objects) immediate(*this, declaration);
  if (scenario_.mode == "run")
    run_runner();
  else
    run_idle();
  for (const auto& [label, future] : made_) {
    std::string text = "end " + label + " " + state(as_ref(future));
    if (auto* task = std::get_if<asyncio::Task<Value>>(&future))
      text += " " + std::to_string(task->cancelling());
    log("-", 0, text);
  }
  futures_.clear();
  handles.clear();
  callbacks.clear();
  objects.groups.clear();
  objects.timeouts.clear();
  objects = {};
  while (!made_.empty()) {  // the last references: their reports come in this order
    AnyFuture future = std::move(made_.front().second);
    made_.pop_front();
    // A pending future keeps the task that waits for it, and the loop would report that task only
    // at its end. CPython reports it here.
    asyncio::detail::FutureBase& base = as_ref(future).base();
    if (base.refs() == 1 || !base.log_traceback() || label_of(as_ref(future)) != "*") continue;
    base.set_log_traceback(false);
    log("-", 0,
        std::string("handler ") + base.class_name() +
            " exception was never retrieved: " + show_error(base.peek_exception()));
  }
  network.close(loop);
  asyncio::set_event_loop({});
  loop.close();
  silent_ = true;
  if (const long futures = loop.object().futures_alive; futures != 0)
    trace_.push_back("left behind: futures " + std::to_string(futures));
  return std::move(trace_);
}

void Interpreter::run_runner() {
  arm();
  try {
    asyncio::Runner runner({.loop_factory = [this] { return loop; }});
    const auto main = [this] {
      bind("main", AnyFuture(asyncio::Task<Value>(asyncio::current_task().get())));
      return asyncio::await(*coroutine("main"));
    };
    asyncio::with(runner, [&] { log("-", 0, "main returned " + show(runner.run(main))); });
    log("-", 0, "run returned");
  } catch (...) {
    log("-", 0, "run raised " + show_error(std::current_exception()));
  }
}

}  // namespace differential
