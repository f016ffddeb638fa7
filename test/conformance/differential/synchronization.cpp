// Statements about locks, events, queues and barriers that never suspend, and their declarations.
#include "interpreter.hpp"

#include <functional>
#include <memory>
#include <stdexcept>
#include <unordered_map>

namespace differential {
namespace {

using Operation = std::function<Value(Objects& objects, const Words& args)>;

Value declare_condition(Objects& objects, const Words& args) {
  auto& condition = objects.conditions[args[0]];
  if (args.size() > 1 && objects.locks.count(args[1]) > 0)
    condition = std::make_shared<asyncio::Condition>(*objects.locks.at(args[1]));
  else
    condition = std::make_shared<asyncio::Condition>();
  return {};
}

Value declare_queue(Objects& objects, const Words& args) {
  const int size = std::stoi(args[2]);
  if (args[1] == "prio")
    objects.priority_queues[args[0]] = std::make_shared<asyncio::PriorityQueue<std::int64_t>>(size);
  else if (args[1] == "lifo")
    objects.lifo_queues[args[0]] = std::make_shared<asyncio::LifoQueue<std::int64_t>>(size);
  else
    objects.queues[args[0]] = std::make_shared<asyncio::Queue<std::int64_t>>(size);
  return {};
}

Value release(Objects& objects, const Words& args) {
  return objects.with_lock(args[0], [](auto& lock) {
    lock.release();
    return Value();
  });
}

Value locked(Objects& objects, const Words& args) {
  return objects.with_lock(args[0], [](auto& lock) { return Value(lock.locked()); });
}

// A statement whose result is None: `function` returns nothing.
template <class F>
Operation on_condition(F function) {
  return [function](Objects& objects, const Words& args) -> Value {
    auto* condition = lookup(objects.conditions, args[0]);
    if (condition == nullptr) return "unset";
    function(*condition, args);
    return {};
  };
}

template <class F>
Operation on_event(F function) {
  return [function](Objects& objects, const Words& args) -> Value {
    auto* event = lookup(objects.events, args[0]);
    if (event == nullptr) return "unset";
    return function(*event);
  };
}

template <class F>
Operation on_queue(F function) {
  return [function](Objects& objects, const Words& args) {
    return objects.with_queue(args[0], [&](auto& queue) -> Value { return function(queue, args); });
  };
}

Value barrier_state(Objects& objects, const Words& args) {
  auto* barrier = lookup(objects.barriers, args[0]);
  if (barrier == nullptr) return "unset";
  return List{Value(static_cast<int>(barrier->n_waiting())), Value(barrier->broken())};
}

const std::unordered_map<std::string, Operation>& table() {
  static const std::unordered_map<std::string, Operation> operations = {
      {"lock",
       [](Objects& objects, const Words& args) {
         objects.locks[args[0]] = std::make_shared<asyncio::Lock>();
         return Value();
       }},
      {"cond", declare_condition},
      {"sem",
       [](Objects& objects, const Words& args) {
         objects.semaphores[args[0]] = std::make_shared<asyncio::Semaphore>(std::stoi(args[1]));
         return Value();
       }},
      {"bsem",
       [](Objects& objects, const Words& args) {
         objects.bounded[args[0]] = std::make_shared<asyncio::BoundedSemaphore>(std::stoi(args[1]));
         return Value();
       }},
      {"event",
       [](Objects& objects, const Words& args) {
         objects.events[args[0]] = std::make_shared<asyncio::Event>();
         return Value();
       }},
      {"queue", declare_queue},
      {"barrier",
       [](Objects& objects, const Words& args) {
         objects.barriers[args[0]] = std::make_shared<asyncio::Barrier>(std::stoi(args[1]));
         return Value();
       }},
      {"release", release},
      {"locked", locked},
      {"notify", on_condition([](auto& c, const Words& args) { c.notify(std::stoi(args[1])); })},
      {"notifyall", on_condition([](auto& c, const Words&) { c.notify_all(); })},
      {"eset", on_event([](auto& e) {
         e.set();
         return Value();
       })},
      {"eclear", on_event([](auto& e) {
         e.clear();
         return Value();
       })},
      {"eisset", on_event([](auto& e) { return Value(e.is_set()); })},
      {"putnow", on_queue([](auto& q, const Words& args) {
         q.put_nowait(std::stoi(args[1]));
         return Value();
       })},
      {"getnow", on_queue([](auto& q, const Words&) { return Value(q.get_nowait()); })},
      {"taskdone", on_queue([](auto& q, const Words&) {
         q.task_done();
         return Value();
       })},
      {"shutdown", on_queue([](auto& q, const Words& args) {
         q.shutdown(args[1] == "1");
         return Value();
       })},
      {"qsize", on_queue([](auto& q, const Words&) {
         return Value(List{Value(static_cast<int>(q.qsize())), Value(q.empty()), Value(q.full())});
       })},
      {"bstate", barrier_state},
  };
  return operations;
}

}  // namespace

Value immediate_on_object(Interpreter& run, const std::string& op, const Words& args) {
  const auto found = table().find(op);
  if (found == table().end()) throw std::runtime_error("no such operation: " + op);
  return found->second(run.objects, args);
}

}  // namespace differential
