// async_await: two tasks that sleep at the same time, with async and await.
//
//   async def func1():
//       print(1)
//       await asyncio.sleep(2)
//       print(2)
//   (func2 the same with 3 and 4)
//   tasks = [asyncio.ensure_future(func1()), asyncio.ensure_future(func2())]
//   loop = asyncio.get_event_loop()
//   loop.run_until_complete(asyncio.wait(tasks))
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func1 = asyncio::async([] {
  print(1);
  await(asyncio::sleep(2s));  // the loop runs the other task meanwhile
  print(2);
});

auto func2 = asyncio::async([] {
  print(3);
  await(asyncio::sleep(2s));
  print(4);
});

int main() {
  std::vector tasks{asyncio::ensure_future(func1()), asyncio::ensure_future(func2())};
  auto loop = asyncio::get_event_loop();
  loop.run_until_complete(asyncio::wait(tasks));
}
