// template_loop: coroutine object, loop, task, run; then several at once.
//
//   async def func(name):
//       print("hello", name)
//   coro = func("world")                                   # 1. a coroutine object
//   loop = asyncio.get_event_loop()                        # 2. a loop
//   task = loop.create_task(coro)                          # 3. a task,
//   task = asyncio.ensure_future(func("world"))            #    made in either way
//   loop.run_until_complete(task)                          # 4. run it
//   loop.run_until_complete(asyncio.wait(tasks))           # or a list of them
#include <fiber/asyncio.hpp>

#include <string>
#include <vector>

#include "support/print.hpp"

using namespace fiber;

auto func = asyncio::async([](const std::string& name) { print("hello", name); });

int main() {
  auto coro = func("world");
  auto loop = asyncio::get_event_loop();
  auto task = loop.create_task(coro);
  loop.run_until_complete(task);

  task = asyncio::ensure_future(func("world"));
  loop.run_until_complete(task);

  std::vector tasks{loop.create_task(func("world")), asyncio::ensure_future(func("world"))};
  loop.run_until_complete(asyncio::wait(tasks));
}
