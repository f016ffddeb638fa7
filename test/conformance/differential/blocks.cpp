// Statements with statements inside. Python's side is blocks.py.
#include "interpreter.hpp"

#include <fiber/generator.hpp>

#include <functional>
#include <memory>
#include <unordered_map>

namespace differential {
namespace {

using Block =
    std::function<Flow(Interpreter& run, const std::string& who, const Statement& statement)>;

// --- try ---

// The sections of a `try`, looked up once.
struct Parts {
  const Section* handler = nullptr;
  const Section* final = nullptr;
};

Parts parts_of(const Statement& statement) {
  Parts parts;
  for (std::size_t i = 1; i < statement.sections.size(); ++i)
    (statement.sections[i].words[0] == "except" ? parts.handler : parts.final) =
        &statement.sections[i];
  return parts;
}

// Runs the handler inside the catch block, so that its `raise` has an exception to rethrow.
Flow handle(Interpreter& run, const std::string& who, const Section& handler) {
  run.log(who, handler.line, "except " + show_error(std::current_exception()));
  return run.run(handler.statements, who);
}

template <class E, class Body>
Flow catching(Interpreter& run, const std::string& who, const Section& handler, Body body) {
  try {
    return body();
  } catch (const E&) {
    Flow flow = handle(run, who, handler);
    if (flow.kind == Flow::reraise) throw;
    return flow;
  }
}

template <class Body>
Flow with_handler(Interpreter& run, const std::string& who, const Section* handler, Body body) {
  if (handler == nullptr) return body();
  const std::string& kind = handler->words.at(1);
  if (kind == "Cancelled") return catching<asyncio::CancelledError>(run, who, *handler, body);
  if (kind == "Timeout") return catching<fiber::TimeoutError>(run, who, *handler, body);
  if (kind == "Value") return catching<fiber::ValueError>(run, who, *handler, body);
  return catching<std::exception>(run, who, *handler, body);
}

// Runs a `try` whose first section is replaced by `body`.
template <class Body>
Flow try_around(Interpreter& run, const std::string& who, const Statement& statement, Body body) {
  const Parts parts = parts_of(statement);
  const auto finally = [&] {
    if (parts.final == nullptr) return;
    run.log(who, parts.final->line, "finally");
    run.run(parts.final->statements, who);
  };
  Flow flow;
  try {
    flow = with_handler(run, who, parts.handler, body);
  } catch (...) {
    finally();
    throw;
  } finally();
  return flow;
}

Flow try_block(Interpreter& run, const std::string& who, const Statement& statement) {
  return try_around(run, who, statement,
                    [&] { return run.run(statement.sections[0].statements, who); });
}

Flow inside(Interpreter& run, const std::string& who, const Statement& statement) {
  return run.run(statement.sections[0].statements, who);
}

// --- blocks whose leaving is logged ---

std::string truth(bool value) { return value ? " True" : " False"; }

// Calls `details` after the block has been left, for the rest of the logged line.
template <class Details, class Body>
Flow leaving(Interpreter& run, const std::string& who, const Statement& statement, Details details,
             Body body) {
  Flow flow;
  try {
    flow = body();
  } catch (...) {
    run.log(who, statement.line,
            "leave" + details() + " ! " + show_error(std::current_exception()));
    throw;
  }
  run.log(who, statement.line, "leave" + details());
  return flow;
}

std::string cancelling() { return " " + std::to_string(asyncio::current_task().cancelling()); }

Flow timeout_block(Interpreter& run, const std::string& who, const Statement& statement) {
  const auto delay = timeout(statement.args[1]);
  const auto scope = std::make_shared<asyncio::Timeout>(delay ? asyncio::timeout(*delay)
                                                              : asyncio::timeout(std::nullopt));
  run.objects.timeouts[statement.args[0]] = scope;
  return leaving(
      run, who, statement, [&] { return truth(scope->expired()) + cancelling(); },
      [&] { return asyncio::with(*scope, [&] { return inside(run, who, statement); }); });
}

Flow group_block(Interpreter& run, const std::string& who, const Statement& statement) {
  const auto group = std::make_shared<asyncio::TaskGroup>();
  run.objects.groups[statement.args[0]] = group;
  return leaving(run, who, statement, cancelling, [&] {
    return asyncio::with(*group, [&] { return inside(run, who, statement); });
  });
}

Flow with_block(Interpreter& run, const std::string& who, const Statement& statement) {
  const std::string& name = statement.args[0];
  Flow flow;
  return leaving(
      run, who, statement, [] { return std::string(); },
      [&]() -> Flow {
        if (auto* barrier = lookup(run.objects.barriers, name))
          return asyncio::with(*barrier, [&](int index) {
            run.log(who, statement.line, "enter " + std::to_string(index));
            return inside(run, who, statement);
          });
        bool found = false;
        run.objects.with_lock(name, [&](auto& lock) {
          found = true;
          flow = asyncio::with(lock, [&] {
            run.log(who, statement.line, "enter None");
            return inside(run, who, statement);
          });
          return Value();
        });
        return found ? flow : inside(run, who, statement);
      });
}

Flow repeat_block(Interpreter& run, const std::string& who, const Statement& statement) {
  const int count = std::stoi(statement.args[0]);
  for (int i = 0; i < count; ++i)
    if (Flow flow = inside(run, who, statement)) return flow;
  return {};
}

// --- generators that await ---

// Runs statements of a generator, `yield` included. Returns true if the generator has returned.
template <class Self>
bool generate(Interpreter& run, const std::string& who, const Statements& statements, Self& self) {
  for (const Statement& statement : statements) {
    if (statement.op == "yield") {
      run.log(who, statement.line, "yield " + statement.args[0]);
      self.yield(std::stoi(statement.args[0]));
    } else if (statement.op == "try") {
      const Flow flow = try_around(run, who, statement, [&]() -> Flow {
        const Statements& body = statement.sections[0].statements;
        return {generate(run, who, body, self) ? Flow::returned : Flow::next};
      });
      if (flow) return true;
    } else if (run.run({statement}, who)) {
      return true;
    }
  }
  return false;
}

fiber::Generator<int> generator(Interpreter& run, const std::string& name,
                                const std::string& label) {
  return [&run, name, label](auto& self) {
    if (!generate(run, label, run.scenario().agens.at(name), self)) run.log(label, 0, "exhausted");
  };
}

Flow for_block(Interpreter& run, const std::string& who, const Statement& statement) {
  return leaving(
      run, who, statement, [] { return std::string(); },
      [&]() -> Flow {
        const std::string label = run.generator_label(statement.args[0]);
        if (label.empty()) return {};
        auto items = generator(run, statement.args[0], label);
        Flow flow;
        int count = 0;
        try {
          for (int item : items) {
            run.log(who, statement.line, "item " + std::to_string(item));
            flow = inside(run, who, statement);
            if (flow || std::to_string(++count) == statement.args[1]) break;
          }
        } catch (...) {
          items.close();
          throw;
        }
        items.close();
        return flow;
      });
}

const std::unordered_map<std::string, Block>& table() {
  static const std::unordered_map<std::string, Block> blocks = {
      {"try", try_block},   {"timeout", timeout_block}, {"group", group_block},
      {"with", with_block}, {"repeat", repeat_block},   {"afor", for_block},
  };
  return blocks;
}

}  // namespace

bool is_block(const std::string& op) { return table().count(op) > 0; }

Flow run_block(Interpreter& run, const std::string& who, const Statement& statement) {
  return table().at(statement.op)(run, who, statement);
}

}  // namespace differential
