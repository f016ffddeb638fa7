// Statements that never suspend. Python's side is operations.py.
#include "interpreter.hpp"

#include <algorithm>
#include <functional>
#include <ranges>
#include <unordered_map>

namespace differential {
namespace {

using asyncio::Future;
using Operation = std::function<Value(Interpreter& run, const Words& args)>;

std::string text_at(const Words& args, std::size_t index) {
  return index < args.size() ? args[index] : "";
}

// --- tasks and futures ---

Value spawn(Interpreter& run, const Words& args) {
  auto coroutine = run.coroutine(args[1]);
  if (!coroutine) return "limit";
  asyncio::Task<Value> task =
      run.loop.create_task(std::move(*coroutine), {.name = run.label_for(args[0])});
  return run.bind(args[0], std::move(task));
}

Value gspawn(Interpreter& run, const Words& args) {
  asyncio::TaskGroup* group = lookup(run.objects.groups, args[0]);
  if (group == nullptr) return "unset";
  auto coroutine = run.coroutine(args[2]);
  if (!coroutine) return "limit";
  asyncio::Task<Value> task =
      group->create_task(std::move(*coroutine), {.name = run.label_for(args[1])});
  return run.bind(args[1], std::move(task));
}

Value future(Interpreter& run, const Words& args) {
  return run.bind(args[0], run.loop.create_future<Value>());
}

template <class R>
Value gather_all(Interpreter& run, const Words& args, R range) {
  if (args[1] == "rx")
    return run.bind(args[0], asyncio::gather(asyncio::return_exceptions, std::move(range)));
  return run.bind(args[0], asyncio::gather(std::move(range)));
}

// Gathers a mixture of coroutines and futures, like gather with separate arguments.
template <bool kExceptions>
Future<typename asyncio::detail::GatherRange<kExceptions, Value>::Results> gather_mixed(
    std::vector<Item> items) {
  using Gather = asyncio::detail::GatherRange<kExceptions, Value>;
  asyncio::detail::GatherInTurn gather(
      [](asyncio::detail::LoopObject* loop) -> asyncio::detail::GatherBase* {
        return new Gather(loop);
      },
      items.size());
  for (Item& item : items) gather.add(as_future(std::move(item)));
  return Future<typename Gather::Results>(gather.finish());
}

// gather() takes coroutines alone or futures alone. For a mixture the coroutines become tasks
// first, except if tasks start eagerly: their start would then come too early.
Value gather(Interpreter& run, const Words& args) {
  std::vector<Item> items = run.items(args, 2);
  const auto is_coroutine = [](const Item& item) { return item.index() == 0; };
  if (!items.empty() && std::ranges::all_of(items, is_coroutine)) {
    std::vector<asyncio::Coroutine<Value>> coroutines;
    for (Item& item : items) coroutines.push_back(std::move(std::get<0>(item)));
    return gather_all(run, args, std::move(coroutines));
  }
  if (std::ranges::none_of(items, is_coroutine) || !asyncio::detail::GatherInTurn::wanted())
    return gather_all(run, args, as_futures(std::move(items)));
  if (args[1] == "rx") return run.bind(args[0], gather_mixed<true>(std::move(items)));
  return run.bind(args[0], gather_mixed<false>(std::move(items)));
}

template <class F>
concept combinable = requires { typename result_of<F>; } &&
                     (std::same_as<result_of<F>, Value> || std::same_as<result_of<F>, List> ||
                      std::same_as<result_of<F>, Outcomes>);

Value gather_two(Interpreter& run, const Words& args) {
  AnyFuture* first = run.find(args[2]);
  AnyFuture* second = run.find(text_at(args, 3));
  if (first == nullptr || second == nullptr) return "unset";
  const bool exceptions = args[1] == "rx";
  return std::visit(
      [&](const auto& a, const auto& b) -> Value {
        using A = std::remove_cvref_t<decltype(a)>;
        using B = std::remove_cvref_t<decltype(b)>;
        if constexpr (combinable<A> && combinable<B>) {
          const Future<result_of<A>> x = a;
          const Future<result_of<B>> y = b;
          if (exceptions)
            return run.bind(args[0], asyncio::gather(asyncio::return_exceptions, x, y));
          return run.bind(args[0], asyncio::gather(x, y));
        } else {
          throw fiber::TypeError("gather2 of what gather2 made");
        }
      },
      *first, *second);
}

Value shield(Interpreter& run, const Words& args) {
  if (args[1].ends_with("()")) {
    auto coroutine = run.coroutine(args[1].substr(0, args[1].size() - 2));
    if (!coroutine) return "unset";
    const Future<Value> shielded = asyncio::shield(std::move(*coroutine));
    if (shielded.base().is_task())  // an eager task that has ended already
      return run.bind(args[0], asyncio::Task<Value>(shielded.get()));
    return run.bind(args[0], shielded);
  }
  AnyFuture* found = run.find(args[1]);
  if (found == nullptr) return "unset";
  // The shield of a future that is done is that future itself.
  return std::visit(
      [&](const auto& f) {
        Future<result_of<decltype(f)>> shielded = asyncio::shield(f);
        return run.bind(args[0], shielded == f ? AnyFuture(*found) : AnyFuture(shielded));
      },
      *found);
}

// Makes a statement about the future bound to its first word.
template <class F>
Operation on_future(F function) {
  return [function](Interpreter& run, const Words& args) -> Value {
    AnyFuture* found = run.find(args[0]);
    if (found == nullptr) return "unset";
    return function(run, *found, args);
  };
}

template <class F>
Operation on_task(F function) {
  return on_future([function](Interpreter&, AnyFuture& found, const Words&) -> Value {
    auto* task = std::get_if<asyncio::Task<Value>>(&found);
    if (task == nullptr) return "unset";
    return function(*task);
  });
}

Value state(Interpreter& run, AnyFuture& found, const Words&) {
  std::string text = run.state(as_ref(found));
  if (auto* task = std::get_if<asyncio::Task<Value>>(&found))
    text += " " + std::to_string(task->cancelling());
  return text;
}

Value result(Interpreter&, AnyFuture& found, const Words&) {
  return std::visit([](const auto& f) { return as_value(f.result()); }, found);
}

Value exception(Interpreter&, AnyFuture& found, const Words&) {
  return Value(as_ref(found).exception());
}

template <class F>
Value complete(AnyFuture& found, F function) {
  auto* plain = as_plain(found);
  if (plain == nullptr) return "unset";
  function(*plain);
  return {};
}

Value add_callback(Interpreter& run, AnyFuture& found, const Words& args) {
  if (!run.may_schedule(args[1])) return "limit";
  const std::string name = args[1];
  std::visit(
      [&](const auto& f) {
        using T = result_of<decltype(f)>;
        run.callbacks[name].emplace_back(
            f, f.add_done_callback([&run, name](const Future<T>& done) { run.act(name, done); }));
      },
      found);
  return {};
}

// Removes every callback that runs the action, because Python's side has one callable per action.
Value remove_callback(Interpreter& run, AnyFuture& found, const Words& args) {
  if (!run.has_action(args[1])) return "unset";
  std::size_t removed = 0;
  std::visit(
      [&](const auto& f) {
        for (const auto& [future, handle] : run.callbacks[args[1]])
          if (future == f) removed += f.remove_done_callback(handle);
      },
      found);
  return removed;
}

Value cancel_self(Interpreter&, const Words& args) {
  const asyncio::TaskRef task = asyncio::current_task();
  if (!task) return "unset";
  return task.cancel(text_at(args, 0));
}

Value uncancel_self(Interpreter&, const Words&) {
  const asyncio::TaskRef task = asyncio::current_task();
  if (!task) return "unset";
  return task.uncancel();
}

Value current(Interpreter& run, const Words&) {
  const asyncio::TaskRef task = asyncio::current_task();
  if (!task) return "none";
  return run.label_of(task);
}

// --- callbacks, scopes, errors ---

Value soon(Interpreter& run, const Words& args) {
  if (!run.may_schedule(args[1])) return "limit";
  run.handles[args[0]] = run.loop.call_soon([&run, name = args[1]] { run.act(name, {}); });
  return {};
}

Value later(Interpreter& run, const Words& args) {
  if (!run.may_schedule(args[2])) return "limit";
  run.handles[args[0]] =
      run.loop.call_later(milliseconds(args[1]), [&run, name = args[2]] { run.act(name, {}); });
  return {};
}

Value cancel_handle(Interpreter& run, const Words& args) {
  const auto found = run.handles.find(args[0]);
  if (found == run.handles.end()) return "unset";
  found->second.cancel();
  return {};
}

Value reschedule(Interpreter& run, const Words& args) {
  asyncio::Timeout* scope = lookup(run.objects.timeouts, args[0]);
  if (scope == nullptr) return "unset";
  const auto delay = timeout(args[1]);
  scope->reschedule(delay ? std::optional(run.loop.time() + *delay) : std::nullopt);
  return {};
}

Value expired(Interpreter& run, const Words& args) {
  asyncio::Timeout* scope = lookup(run.objects.timeouts, args[0]);
  if (scope == nullptr) return "unset";
  return scope->expired();
}

Value busy(Interpreter& run, const Words& args) {
  run.clock.advance(milliseconds(args[0]));
  return {};
}

Value set_variable(Interpreter& run, const Words& args) {
  run.variable.set(std::stoi(args[0]));
  return {};
}

const std::unordered_map<std::string, Operation>& table() {
  static const std::unordered_map<std::string, Operation> operations = {
      {"spawn", spawn},
      {"gspawn", gspawn},
      {"future", future},
      {"gather", gather},
      {"gather2", gather_two},
      {"shield", shield},
      {"cancel", on_future([](Interpreter&, AnyFuture& found, const Words& args) -> Value {
         return as_ref(found).cancel(text_at(args, 1));
       })},
      {"uncancel", on_task([](auto& task) { return Value(task.uncancel()); })},
      {"cancelself", cancel_self},
      {"uncancelself", uncancel_self},
      {"state", on_future(state)},
      {"result", on_future(result)},
      {"exception", on_future(exception)},
      {"set", on_future([](Interpreter&, AnyFuture& found, const Words& args) {
         return complete(found, [&](auto& f) { f.set_result(Value(std::stoi(args[1]))); });
       })},
      {"fail", on_future([](Interpreter&, AnyFuture& found, const Words& args) {
         return complete(found, [&](auto& f) { f.set_exception(fiber::ValueError(args[1])); });
       })},
      {"addcb", on_future(add_callback)},
      {"rmcb", on_future(remove_callback)},
      {"current", current},
      {"alltasks", [](Interpreter&, const Words&) { return Value(asyncio::all_tasks().size()); }},
      {"soon", soon},
      {"later", later},
      {"hcancel", cancel_handle},
      {"resched", reschedule},
      {"expired", expired},
      {"busy", busy},
      {"raise", [](Interpreter&, const Words& args) -> Value { throw fiber::ValueError(args[0]); }},
      {"raisecancel",
       [](Interpreter&, const Words& args) -> Value {
         throw asyncio::CancelledError(text_at(args, 0));
       }},
      {"ctxset", set_variable},
      {"ctxget", [](Interpreter& run, const Words&) { return Value(run.variable.get()); }},
  };
  return operations;
}

}  // namespace

Value immediate(Interpreter& run, const Statement& statement) {
  const auto found = table().find(statement.op);
  if (found != table().end()) return found->second(run, statement.args);
  if (const auto result = immediate_on_network(run, statement)) return *result;
  return immediate_on_object(run, statement.op, statement.args);
}

}  // namespace differential
