// gather_coroutines: gather takes coroutines, a list of them, or tasks.
//
//   async def main():
//       await asyncio.gather(func1(), func2())
//       coroutines = [func1(), func2()]
//       await asyncio.gather(*coroutines)
//       tasks = [asyncio.create_task(func1()), asyncio.create_task(func2())]
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
    await(asyncio::gather(func1(), func2()));

    std::vector coroutines{func1(), func2()};
    await(asyncio::gather(coroutines));

    std::vector tasks{asyncio::create_task(func1()), asyncio::create_task(func2())};
    await(asyncio::gather(tasks));
  });
}
