// Statements that may suspend. Python's side is waiting.py.
#include "interpreter.hpp"

#include <functional>
#include <unordered_map>
#include <utility>

namespace differential {
namespace {

using asyncio::await;
using Operation =
    std::function<Value(Interpreter& run, const std::string& who, const Statement& statement)>;

bool is_call(const std::string& word) { return word.ends_with("()"); }
std::string called(const std::string& word) { return word.substr(0, word.size() - 2); }

Value sleep(Interpreter&, const std::string&, const Statement& statement) {
  const auto delay = milliseconds(statement.args[0]);
  if (statement.args.size() > 1)
    return await(asyncio::sleep(delay, Value(std::stoi(statement.args[1]))));
  await(asyncio::sleep(delay));
  return {};
}

Value await_one(Interpreter& run, const std::string&, const Statement& statement) {
  AnyFuture* found = run.find(statement.args[0]);
  if (found == nullptr) return "unset";
  return std::visit([](const auto& future) { return as_value(await(future)); }, *found);
}

Value await_self(Interpreter&, const std::string&, const Statement&) {
  const asyncio::Future<Value> self(asyncio::current_task().get());
  return await(self);
}

Value call(Interpreter& run, const std::string&, const Statement& statement) {
  auto coroutine = run.coroutine(statement.args[0]);
  if (!coroutine) return "limit";
  return await(std::move(*coroutine));
}

// Returns the futures that the words name; skips other words.
std::vector<asyncio::FutureRef> named(Interpreter& run, const Words& words, std::size_t first) {
  std::vector<asyncio::FutureRef> futures;
  for (std::size_t i = first; i < words.size(); ++i)
    if (AnyFuture* found = run.find(words[i])) futures.push_back(as_ref(*found));
  return futures;
}

Value labels(Interpreter& run, const std::vector<asyncio::FutureRef>& futures) {
  List list;
  for (const asyncio::FutureRef& future : futures) list.push_back(run.label_of(future));
  return list;
}

Value wait(Interpreter& run, const std::string&, const Statement& statement) {
  const Words& args = statement.args;
  const auto when = args[0] == "first"       ? asyncio::FIRST_COMPLETED
                    : args[0] == "exception" ? asyncio::FIRST_EXCEPTION
                                             : asyncio::ALL_COMPLETED;
  const auto delay = timeout(args[1]);
  const asyncio::time_limit limit = delay ? asyncio::time_limit(*delay) : std::nullopt;
  const auto result =
      await(asyncio::wait(named(run, args, 2), {.timeout = limit, .return_when = when}));
  return List{labels(run, result.done), labels(run, result.pending)};
}

Value wait_for(Interpreter& run, const std::string&, const Statement& statement) {
  const auto limit = timeout(statement.args[0]);
  const std::string& item = statement.args[1];
  if (is_call(item)) {
    auto coroutine = run.coroutine(called(item));
    if (!coroutine) return "unset";
    return await(asyncio::wait_for(std::move(*coroutine), limit));
  }
  AnyFuture* found = run.find(item);
  if (found == nullptr) return "unset";
  return std::visit(
      [&](const auto& future) { return as_value(await(asyncio::wait_for(future, limit))); },
      *found);
}

// Returns a coroutine that runs the statement in the words after the first.
asyncio::Coroutine<Value> one(Interpreter& run, const std::string& who,
                              const Statement& statement) {
  Statement inner{.line = statement.line,
                  .op = statement.args[1],
                  .args = {statement.args.begin() + 2, statement.args.end()},
                  .sections = {}};
  return asyncio::Coroutine<Value>(
      [&run, who, inner = std::move(inner)] { return wait_for_it(run, who, inner); });
}

Value within(Interpreter& run, const std::string& who, const Statement& statement) {
  return await(asyncio::wait_for(one(run, who, statement), timeout(statement.args[0])));
}

Value operation_task(Interpreter& run, const std::string& who, const Statement& statement) {
  const std::string& name = statement.args[0];
  return run.bind(name, run.loop.create_task(one(run, who, statement), {run.label_for(name)}));
}

// Coroutines become tasks when the call begins, in the order of the words.
Value as_completed(Interpreter& run, const std::string& who, const Statement& statement) {
  const Words& args = statement.args;
  const auto note = [&](const std::string& text) { run.log(who, statement.line, "next " + text); };
  const auto delay = timeout(args[1]);
  const asyncio::time_limit limit = delay ? asyncio::time_limit(*delay) : std::nullopt;
  const auto completed = asyncio::as_completed(as_futures(run.items(args, 2)), {.timeout = limit});
  if (args[0] == "plain") {
    for (auto&& next : completed) {
      try {
        note(show(await(std::move(next))));
      } catch (const std::exception&) {
        note(show_error(std::current_exception()));
      }
    }
  } else {
    for (const asyncio::Future<Value>& future : completed.async_())
      note(run.label_of(future) + (future.cancelled() ? " True" : " False"));
  }
  return {};
}

Value acquire(Interpreter& run, const std::string&, const Statement& statement) {
  return run.objects.with_lock(statement.args[0], [](auto& lock) {
    await(lock.acquire());
    return Value(true);
  });
}

Value condition_wait(Interpreter& run, const std::string&, const Statement& statement) {
  auto* condition = lookup(run.objects.conditions, statement.args[0]);
  if (condition == nullptr) return "unset";
  await(condition->wait());
  return true;
}

Value condition_wait_for(Interpreter& run, const std::string&, const Statement& statement) {
  auto* condition = lookup(run.objects.conditions, statement.args[0]);
  auto* event = lookup(run.objects.events, statement.args[1]);
  if (condition == nullptr || event == nullptr) return "unset";
  return await(condition->wait_for([event] { return event->is_set(); }));
}

Value event_wait(Interpreter& run, const std::string&, const Statement& statement) {
  auto* event = lookup(run.objects.events, statement.args[0]);
  if (event == nullptr) return "unset";
  await(event->wait());
  return true;
}

template <class F>
Operation on_barrier(F function) {
  return [function](Interpreter& run, const std::string&, const Statement& statement) -> Value {
    auto* barrier = lookup(run.objects.barriers, statement.args[0]);
    if (barrier == nullptr) return "unset";
    return function(*barrier);
  };
}

template <class F>
Operation on_queue(F function) {
  return [function](Interpreter& run, const std::string&, const Statement& statement) {
    return run.objects.with_queue(
        statement.args[0], [&](auto& queue) -> Value { return function(queue, statement.args); });
  };
}

const std::unordered_map<std::string, Operation>& table() {
  static const std::unordered_map<std::string, Operation> operations = {
      {"sleep", sleep},
      {"await", await_one},
      {"awaitself", await_self},
      {"call", call},
      {"wait", wait},
      {"waitfor", wait_for},
      {"within", within},
      {"optask", operation_task},
      {"ascompleted", as_completed},
      {"acquire", acquire},
      {"cwait", condition_wait},
      {"cwaitfor", condition_wait_for},
      {"ewait", event_wait},
      {"bwait", on_barrier([](auto& b) { return Value(static_cast<int>(await(b.wait()))); })},
      {"breset", on_barrier([](auto& b) {
         await(b.reset());
         return Value();
       })},
      {"babort", on_barrier([](auto& b) {
         await(b.abort());
         return Value();
       })},
      {"put", on_queue([](auto& q, const Words& args) {
         await(q.put(std::stoi(args[1])));
         return Value();
       })},
      {"get", on_queue([](auto& q, const Words&) { return Value(await(q.get())); })},
      {"join", on_queue([](auto& q, const Words&) {
         await(q.join());
         return Value();
       })},
  };
  return operations;
}

}  // namespace

bool waits(const std::string& op) { return table().count(op) > 0 || waits_on_network(op); }

Value wait_for_it(Interpreter& run, const std::string& who, const Statement& statement) {
  if (waits_on_network(statement.op)) return wait_on_network(run, statement);
  return table().at(statement.op)(run, who, statement);
}

}  // namespace differential
