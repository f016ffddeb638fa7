// task_result: a finished task keeps its value.
//
//   async def main():
//       task1 = asyncio.create_task(func1(12))
//       task2 = asyncio.create_task(func2(2))
//       tasks = [task1, task2]
//       await asyncio.gather(*tasks)
//       for task in tasks:
//           print(task.result())
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func1 = asyncio::async([](int x) {
  print(1);
  await(asyncio::sleep(2s));
  print(2);
  return x * x;
});

auto func2 = asyncio::async([](int y) {
  print(3);
  await(asyncio::sleep(2s));
  print(4);
  return y * y;
});

int main() {
  asyncio::run([] {
    auto task1 = asyncio::create_task(func1(12));
    auto task2 = asyncio::create_task(func2(2));
    std::vector tasks{task1, task2};
    await(asyncio::gather(tasks));
    for (auto& task : tasks) print(task.result());
  });
}
