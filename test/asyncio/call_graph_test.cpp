// Call graphs: which tasks wait for which, and where.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <signal.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/log.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::FutureCallGraph;

// Found by name in stacks: must not be inlined, nor end in a call.
[[gnu::noinline]] void waits_for_a_second() {
  await(asyncio::sleep(1s));
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void calls_what_waits() {
  waits_for_a_second();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void iterates(fiber::Generator<int> generator) {
  for (const int item : generator) static_cast<void>(item);
  asm volatile("" ::: "memory");
}

namespace {

// Returns "name <- (awaiters)" of a graph, without frames; "name..." for one that is only named.
std::string shape(const FutureCallGraph& graph) {
  std::string text = graph.future.base().is_task()
                         ? static_cast<asyncio::detail::TaskBase&>(graph.future.base()).get_name()
                         : "future";
  if (graph.repeated) text += "...";
  if (graph.awaited_by.empty()) return text;
  text += " <- (";
  for (std::size_t i = 0; i < graph.awaited_by.size(); ++i)
    text += (i == 0 ? "" : ", ") + shape(graph.awaited_by[i]);
  return text + ")";
}

std::string shape(const asyncio::FutureRef& future) {
  return shape(asyncio::capture_call_graph(future));
}

// Returns the functions of this file on the stack, innermost first.
std::string functions(const FutureCallGraph& graph) {
  std::string text;
  for (const asyncio::FrameCallGraphEntry& entry : graph.call_stack)
    for (const char* name : {"waits_for_a_second", "calls_what_waits", "iterates"})
      if (entry.frame.name.starts_with(name)) text += (text.empty() ? "" : " ") + std::string(name);
  return text;
}

void name_main() { asyncio::current_task().set_name("main"); }

}  // namespace

TEST_CASE("a task's graph has its frames, innermost first, and those who await it") {
  run([] {
    name_main();
    auto inner = create_task(calls_what_waits, {.name = "inner"});
    auto outer = create_task([&] { await(inner); }, {.name = "outer"});
    auto other = create_task([&] { await(inner); }, {.name = "other"});
    turns(2);
    const FutureCallGraph graph = asyncio::capture_call_graph(inner);
    CHECK(shape(graph) == "inner <- (outer, other)");
    CHECK(functions(graph) == "waits_for_a_second calls_what_waits");
    CHECK(functions(asyncio::capture_call_graph(inner, {.limit = 1})) == "waits_for_a_second");
    CHECK(functions(asyncio::capture_call_graph(inner, {.limit = -1})) == "calls_what_waits");
    CHECK(functions(asyncio::capture_call_graph(
              inner, {.limit = std::numeric_limits<int>::min()})) == functions(graph));
    CHECK(asyncio::capture_call_graph(inner, {.limit = 0}).call_stack.empty());
    CHECK(shape(other) == "other");
    await(outer);
    await(other);
    CHECK(asyncio::capture_call_graph(inner).call_stack.empty());
  });
}

TEST_CASE("call graphs look through gather, wait, wait_for, shield and groups") {
  run([] {
    name_main();
    const auto named = [](const char* name) {
      return create_task(calls_what_waits, {.name = name});
    };
    auto a = named("a");
    auto b = named("b");
    auto c = named("c");
    auto d = named("d");
    auto e = named("e");
    const auto spawn = [](const char* name, auto body) {
      return create_task(body, {.name = name});
    };
    auto gathers = spawn("gathers", [&] { await(asyncio::gather(a, b)); });
    auto waits = spawn("waits", [&] { await(asyncio::wait(std::vector{b, c})); });
    auto shields = spawn("shields", [&] { await(asyncio::shield(c)); });
    auto limits = spawn("limits", [&] { await(asyncio::wait_for(d, 10s)); });
    auto groups = spawn("groups", [&] {
      asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
        group.create_task([&] { await(e); }, {.name = "child"});
      });
    });
    auto nested =
        spawn("nested", [&] { await(asyncio::gather(asyncio::shield(a), asyncio::gather(b, e))); });
    turns(3);
    CHECK(shape(a) == "a <- (gathers, nested)");
    CHECK(shape(b) == "b <- (gathers, waits, nested)");
    CHECK(shape(c) == "c <- (waits, shields)");
    CHECK(shape(d) == "d <- (limits)");
    CHECK(shape(e) == "e <- (nested, child <- (groups))");
    await(asyncio::gather(gathers, waits, shields, limits, groups, nested));
  });
}

TEST_CASE("the frames of a generator that waits come before its consumer's") {
  run([] {
    auto task = create_task([] {
      iterates([](auto& self) {
        self.yield(1);
        waits_for_a_second();
        self.yield(2);
      });
    });
    turns(1);
    CHECK(functions(asyncio::capture_call_graph(task)) == "waits_for_a_second iterates");
    await(task);
  });
}

TEST_CASE("the current task's graph may be asked for in itself; a callback has none") {
  CHECK(thrown_by([] {
          static_cast<void>(asyncio::capture_call_graph());
        }).starts_with("RuntimeError('capture_call_graph() is called outside of a running"));
  run([] {
    name_main();
    CHECK(shape(*asyncio::capture_call_graph()) == "main");
    CHECK_FALSE(asyncio::capture_call_graph()->call_stack.empty());
    bool callback_has = true;
    asyncio::get_running_loop().call_soon(
        [&] { callback_has = asyncio::capture_call_graph().has_value(); });
    turns(1);
    CHECK_FALSE(callback_has);
    auto asks = create_task([] { return shape(*asyncio::capture_call_graph()); }, {.name = "asks"});
    CHECK(await(asks) == "asks <- (main)");
  });
}

TEST_CASE("a graph is written as CPython writes it") {
  run([] {
    auto inner = create_task(calls_what_waits, {.name = "inner"});
    auto outer = create_task([&] { await(asyncio::gather(inner)); }, {.name = "outer"});
    turns(2);
    std::string text = asyncio::format_call_graph(inner);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string line = text.substr(at, end - at);
      at = end + 1;
      if (const std::size_t id = line.find(", id="); id != std::string::npos) line.resize(id);
      if (const std::size_t file = line.find("File '"); file != std::string::npos)
        line = line.substr(0, file) + "...";
      if (lines.empty() || lines.back() != line) lines.push_back(line);
    }
    text.clear();
    for (const std::string& line : lines) text += line + "\n";
    CHECK(text ==
          "* Task(name='inner'\n"
          "  + Call stack:\n"
          "  |   ...\n"
          "  + Awaited by:\n"
          "    * Task(name='outer'\n"
          "      + Call stack:\n"
          "      |   ...\n");
    await(outer);
  });
}

TEST_CASE("the creator of an eager task has its frames while the task runs") {
  run([] {
    const asyncio::TaskRef main = asyncio::current_task();
    auto eager = create_task([&] { return asyncio::capture_call_graph(main).call_stack.empty(); },
                             {.eager_start = true});
    CHECK(eager.done());
    CHECK_FALSE(await(eager));
  });
}

TEST_CASE("tasks that wait for each other in a circle have an end") {
  const Log log;
  const std::string refused = thrown_by([] {
    run([] {
      asyncio::Task<> second;
      auto first = create_task([&] { await(second); }, {.name = "first"});
      second = create_task([&] { await(first); }, {.name = "second"});
      turns(2);
      CHECK(shape(first) == "first <- (second <- (first...))");
      const std::string all = asyncio::format_all_call_graphs(asyncio::get_running_loop());
      CHECK(all.find("name='first'") != std::string::npos);
      CHECK(all.find("name='second'") != std::string::npos);
      CHECK(first.repr().find("wait_for=...") != std::string::npos);
      // Nothing can wake these tasks: the loop cannot end them either.
    });
  });
  CHECK(refused.find("cannot be cancelled: it waits for itself") != std::string::npos);
}

TEST_CASE("a task to which several ways lead is shown once, and then only named") {
  run([] {
    name_main();
    auto innermost = create_task(calls_what_waits, {.name = "innermost"});
    auto left = create_task([&] { await(innermost); }, {.name = "left"});
    auto right = create_task([&] { await(innermost); }, {.name = "right"});
    auto both = create_task([&] { await(asyncio::gather(left, right)); }, {.name = "both"});
    auto last = create_task([&] { await(both); }, {.name = "last"});
    turns(3);
    const FutureCallGraph graph = asyncio::capture_call_graph(innermost);
    CHECK(shape(graph) == "innermost <- (left <- (both <- (last)), right <- (both...))");
    CHECK(graph.awaited_by.at(1).awaited_by.at(0).call_stack.empty());
    std::string text = asyncio::format_call_graph(innermost);
    CHECK(text.ends_with(") (shown above)"));
    text.resize(text.rfind(" (shown above)"));
    CHECK(text.find(" (shown above)") == std::string::npos);
    await(last);
  });
}

TEST_CASE("a report of all tasks grows with the tasks and their waits, not with the ways") {
  run([] {
    name_main();
    const auto innermost = asyncio::get_running_loop().create_future();
    std::vector<asyncio::Task<>> layer;
    for (int k = 0; k < 2; ++k) layer.push_back(create_task([=] { await(innermost); }));
    constexpr int kLayers = 12;
    for (int i = 1; i < kLayers; ++i) {
      std::vector<asyncio::Task<>> next;
      for (int k = 0; k < 2; ++k)
        next.push_back(create_task([layer] { await(asyncio::gather(layer)); }));
      layer = std::move(next);
    }
    turns(3);
    const std::string all = asyncio::format_all_call_graphs(asyncio::get_running_loop());
    std::size_t named = 0;
    for (std::size_t at = 0; (at = all.find("(shown above)", at)) != std::string::npos; ++at)
      ++named;
    CHECK(named == 2 * (kLayers - 1));  // of the four waits between two layers, two come second
    constexpr std::size_t kMain = 1;
    CHECK(static_cast<std::size_t>(std::count(all.begin(), all.end(), '*')) ==
          kMain + 2 * kLayers + named);
    innermost.set_result();
    await(asyncio::gather(layer));
  });
}

TEST_CASE("a long chain of tasks is cut, and says so; all together show every task") {
  run([] {
    name_main();
    const auto innermost = asyncio::get_running_loop().create_future();
    std::vector<asyncio::Task<>> chain{create_task([=] { await(innermost); })};
    while (chain.size() < 300)
      chain.push_back(create_task([inner = chain.back()] { await(inner); }));
    turns(1);
    const std::string text = asyncio::format_call_graph(chain.front());
    CHECK(std::count(text.begin(), text.end(), '*') == 100);
    CHECK(text.ends_with("  + Awaited by others, which are left out"));
    const std::string all = asyncio::format_all_call_graphs(asyncio::get_running_loop());
    for (const asyncio::Task<>& task : chain)
      CHECK(all.find("'" + task.get_name() + "'") != std::string::npos);
    innermost.set_result();
    await(chain.back());
  });
}

TEST_CASE("a task's stack is its real frames") {
  run([] {
    auto task = create_task(calls_what_waits, {.name = "t"});
    CHECK(task.get_stack().empty());
    std::ostringstream out;
    task.print_stack(std::nullopt, out);
    CHECK(out.str() == "No stack for " + task.repr() + "\n");
    turns(1);
    const auto frames = task.get_stack();
    const auto at = [&](std::string_view name) {
      return std::find_if(frames.begin(), frames.end(),
                          [&](const auto& frame) { return frame.name.starts_with(name); }) -
             frames.begin();
    };
    CHECK(at("calls_what_waits") < at("waits_for_a_second"));
    CHECK(at("waits_for_a_second") < static_cast<std::ptrdiff_t>(frames.size()));
    CHECK(asyncio::TaskRef(&static_cast<asyncio::detail::TaskBase&>(task.base()))
              .get_stack(3)
              .size() == 3);
    out.str("");
    task.print_stack(std::nullopt, out);
    CHECK(out.str().starts_with("Stack for " + task.repr() + " (most recent call last):\n"));
    CHECK(out.str().find("in calls_what_waits()+0x") != std::string::npos);
    await(task);
    CHECK(task.get_stack().empty());
  });
}

TEST_CASE("a signal writes the graphs of all tasks") {
  const ChildResult result = run_child({.body = [] {
    asyncio::run([] {
      name_main();
      asyncio::print_call_graphs_on_signal(asyncio::get_running_loop(), SIGUSR1);
      auto task = create_task(calls_what_waits, {.name = "worker"});
      asyncio::get_running_loop().call_later(10ms, [] { ::raise(SIGUSR1); });
      await(task);
    });
  }});
  CHECK(result.status == 0);
  CHECK(result.errors.find("* Task(name='worker', id=0x") == 0);
  CHECK(result.errors.find("in calls_what_waits()+0x") != std::string::npos);
  CHECK(result.errors.find("    * Task(name='main', id=0x") != std::string::npos);
}
