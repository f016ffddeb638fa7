// Tools that observe a loop: debug mode, call graphs, traces, the stall monitor; and asynchronous
// generators, which the loop closes.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/stall.hpp>
#include <fiber/asyncio/tracing.hpp>

#include <atomic>
#include <chrono>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::require;

FAULTS_SCENARIO(debug_mode) {
  asyncio::run(
      [] {
        auto task = asyncio::create_task([] { await(asyncio::sleep(1ms)); });
        auto cancelled = asyncio::create_task([] { await(asyncio::sleep(1h)); });
        await(asyncio::sleep(0));
        cancelled.cancel();
        await(task);
        auto lost = asyncio::create_task([] { throw ValueError("never retrieved"); });
        await(asyncio::sleep(0));
      },
      {.debug = true});
}

FAULTS_SCENARIO(call_graphs) {
  asyncio::run([] {
    auto inner = asyncio::create_task([] { await(asyncio::sleep(1h)); });
    auto outer = asyncio::create_task([inner] { await(asyncio::gather(inner)); });
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    require(asyncio::format_call_graph(inner).find("Task") != std::string::npos, "a call graph");
    require(!asyncio::format_all_call_graphs(asyncio::get_running_loop()).empty(), "all of them");
    outer.cancel();
  });
}

FAULTS_SCENARIO(traces) {
  asyncio::run([] {
    std::ostringstream text;
    {
      asyncio::tracing::Trace trace(asyncio::get_running_loop(), text);
      auto task = asyncio::create_task([] { await(asyncio::sleep(1ms)); });
      await(task);
    }
    require(!text.str().empty(), "a trace");
  });
}

FAULTS_SCENARIO(asynchronous_generators) {
  asyncio::run([] {
    int closed = 0;
    {
      struct Note {
        int& count;
        ~Note() { ++count; }
      };
      Generator<int> numbers = [&](auto& self) {
        const Note note{closed};
        for (int i = 0;; ++i) {
          await(asyncio::sleep(0));
          self.yield(i);
        }
      };
      int sum = 0;
      for (const int number : numbers) {
        sum += number;
        if (number == 5) break;
      }
      require(sum == 15, "its items");
    }
    require(closed == 1, "a generator that is dropped");
  });
}

// A whole report, requested by a signal: observing threads, and text of tasks of all kinds.
// A fault may end the creator of the tasks before they start: objects that they use live longer.
FAULTS_SCENARIO(reports_on_signals) {
  asyncio::Event never;
  std::vector<asyncio::Task<>> tasks;
  asyncio::run([&] {
    auto loop = asyncio::get_running_loop();
    asyncio::print_call_graphs_on_signal(loop, SIGUSR2);
    struct Remove {
      asyncio::EventLoop& loop;
      ~Remove() { loop.remove_signal_handler(SIGUSR2); }
    } remove{loop};
    for (int i = 0; i < 3; ++i) tasks.push_back(asyncio::create_task([&] { await(never.wait()); }));
    auto outer =
        asyncio::create_task([&] { await(asyncio::wait_for(asyncio::shield(tasks[0]), 1h)); });
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    ::raise(SIGUSR2);
    await(asyncio::sleep(1ms));
    outer.cancel();
    for (const auto& task : tasks) task.cancel();
    await(asyncio::gather(asyncio::return_exceptions, tasks));
  });
}

// The loop blocks until its monitor has reported that. A monitor without memory at the time looks
// again a little later.
FAULTS_SCENARIO(stall_monitors) {
  std::atomic<int> told{0};
  asyncio::run([&] {
    {
      const asyncio::StallMonitor monitor(
          {.limit = 2ms, .hook = [&](const asyncio::Stall&) { ++told; }});
      auto task = asyncio::create_task([&] {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (told == 0 && std::chrono::steady_clock::now() < end)
          std::this_thread::sleep_for(1ms);
      });
      await(task);
    }
    require(told > 0, "a stall that nobody is told of");
  });
}
