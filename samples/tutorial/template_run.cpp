// template_run: one main coroutine, run, that makes tasks and gathers them.
//
//   async def main():
//       task1 = asyncio.create_task(func1())
//       task2 = asyncio.create_task(func2())
//       tasks = [task1, task2]
//       await asyncio.gather(*tasks)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func1 = asyncio::async([] {
  print(1);
  await(asyncio::sleep(2s));
  print(2);
});

auto func2 = asyncio::async([] {
  print(3);
  await(asyncio::sleep(2s));
  print(4);
});

int main() {
  asyncio::run([] {
    auto task1 = asyncio::create_task(func1());
    auto task2 = asyncio::create_task(func2());
    std::vector tasks{task1, task2};
    await(asyncio::gather(tasks));
  });
}
