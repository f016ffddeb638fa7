// await_task: while one task waits, the other runs.
//
//   async def func():
//       print(1)
//       await asyncio.sleep(2)
//       print(2)
//   async def main():
//       tasks = [asyncio.create_task(func()), asyncio.create_task(func())]
//       await asyncio.gather(*tasks)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func = asyncio::async([] {
  print(1);
  await(asyncio::sleep(2s));
  print(2);
});

int main() {
  asyncio::run([] {
    std::vector tasks{asyncio::create_task(func()), asyncio::create_task(func())};
    await(asyncio::gather(tasks));
  });
}
