#include <fiber/asyncio/asyncgens.hpp>

#include <fiber/asyncio/tasks.hpp>

#include <vector>

namespace fiber::asyncio::detail {
namespace {

bool closable(const GeneratorBase& generator, std::uint64_t scope) {
  // A generator to which another one delegates is closed by that other one.
  return generator.object()->scope == scope && generator.object()->delegator == nullptr &&
         generator.state() == GEN_SUSPENDED;
}

void on_start(fiber::detail::GeneratorObject* generator) noexcept {
  if (const TaskBase* task = current_task_or_null()) generator->scope = task->loop()->serial;
}

// Takes over a dropped generator where no task runs: its clean-up could not wait.
bool on_drop(fiber::detail::GeneratorObject* generator) noexcept {
  LoopObject* loop = asyncio_thread().running;
  if (loop == nullptr || loop->serial != generator->scope || loop->turns().current_task != nullptr)
    return false;
  try {
    static_cast<void>(
        EventLoop(loop).create_task([held = GeneratorBase(generator)] { held.object()->close(); }));
    return true;
  } catch (...) {
    return false;
  }
}

constexpr fiber::detail::GeneratorHooks kHooks{on_start, on_drop};

}  // namespace

void watch_generators() noexcept { fiber::detail::set_generator_hooks(&kHooks); }

void close_generators(LoopObject& loop) {
  std::vector<GeneratorBase> closing;
  for (GeneratorBase& generator : all_generators())
    if (closable(generator, loop.serial)) closing.push_back(std::move(generator));
  if (closing.empty()) return;
  std::vector<FutureRef> tasks;
  tasks.reserve(closing.size());
  for (const GeneratorBase& generator : closing)
    tasks.emplace_back(EventLoop(&loop).create_task([generator, scope = loop.serial] {
      if (closable(generator, scope)) generator.object()->close();
    }));
  asyncio::await(gather_untyped(tasks));
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    FutureBase& task = tasks[i].base();
    if (task.cancelled() || !task.peek_exception()) continue;
    loop.errors().report({.message = "an error occurred during closing of asynchronous "
                                     "generator " +
                                     repr(closing[i]),
                          .exception = task.peek_exception(),
                          .asyncgen = closing[i]});
  }
}

}  // namespace fiber::asyncio::detail
