// task_awaited: tasks run side by side, awaiting them fetches their values.
//
//   async def main():
//       print("main start")
//       task1 = asyncio.create_task(func("task1"))
//       task2 = asyncio.create_task(func("task2"))
//       print("main end")
//       result1 = await task1
//       result2 = await task2
//       print(result1, result2)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func = asyncio::async([](std::string flag) {
  print(1);
  await(asyncio::sleep(2s));
  print(2);
  return flag;
});

int main() {
  asyncio::run([] {
    print("main start");
    auto task1 = asyncio::create_task(func("task1"));
    auto task2 = asyncio::create_task(func("task2"));
    print("main end");
    std::string result1 = await(task1);
    std::string result2 = await(task2);
    print(result1, result2);
  });
}
