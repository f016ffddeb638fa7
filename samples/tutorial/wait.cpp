// wait: two sets, done and pending; when it returns; errors stay in the tasks.
//
//   async def main():
//       tasks = [asyncio.create_task(work(n), name=f"work {n}") for n in (1, 2, 3)]
//       done, pending = await asyncio.wait(tasks, timeout=2.5)
//       for task in done: print("done", task.result())
//       for task in pending: print("pending", task.get_name())
//       for when in FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED:
//           tasks = [asyncio.create_task(co) for co in (work(1), fail(2), work(3))]
//           done, pending = await asyncio.wait(tasks, return_when=when)
//           print(when, len(done), "done", len(pending), "pending")
//       try:
//           tasks[1].result()
//       except ValueError as error:
//           print("ValueError", error)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using std::chrono::seconds;

auto work = asyncio::async([](int n) {
  await(asyncio::sleep(seconds(n)));
  return n;
});

auto fail = asyncio::async([](int n) -> int {
  await(asyncio::sleep(seconds(n)));
  throw ValueError("failed after " + std::to_string(n));
});

int main() {
  asyncio::run([] {
    std::vector<asyncio::Task<int>> tasks;
    for (int n : {1, 2, 3})
      tasks.push_back(asyncio::create_task(work(n), {.name = "work " + std::to_string(n)}));
    auto [done, pending] = await(asyncio::wait(tasks, {.timeout = 2500ms}));
    for (auto& task : done) print("done", task.result());
    for (auto& task : pending) print("pending", task.get_name());

    for (auto [when, name] : {std::pair{asyncio::FIRST_COMPLETED, "FIRST_COMPLETED"},
                              std::pair{asyncio::FIRST_EXCEPTION, "FIRST_EXCEPTION"},
                              std::pair{asyncio::ALL_COMPLETED, "ALL_COMPLETED"}}) {
      tasks = {asyncio::create_task(work(1)), asyncio::create_task(fail(2)),
               asyncio::create_task(work(3))};
      auto [done, pending] = await(asyncio::wait(tasks, {.return_when = when}));
      print(name, done.size(), "done", pending.size(), "pending");
      for (auto& task : tasks) task.cancel();
    }

    try {
      tasks[1].result();
    } catch (const ValueError& error) {
      print("ValueError", error.what());
    }
  });
}
