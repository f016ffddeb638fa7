// task_not_awaited: tasks that nobody waits for are cancelled when main ends.
//
//   async def main():
//       print("main start")
//       task1 = asyncio.create_task(func("task1"))
//       task2 = asyncio.create_task(func("task2"))
//       print("main end")
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
  });
}
