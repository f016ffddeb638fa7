// coroutine_object: a call makes an object and runs nothing; a loop or run() runs it.
//
//   async def func():
//       print("hello")
//   result = func()                        # a coroutine object
//   loop = asyncio.get_event_loop()
//   loop.run_until_complete(result)
//   asyncio.run(func())                    # the same in one line
//   func()                                 # warns: never awaited
#include <fiber/asyncio.hpp>

#include "support/print.hpp"

using namespace fiber;

auto func = asyncio::async("func", [] { print("hello"); });

int main() {
  auto result = func();
  auto loop = asyncio::get_event_loop();
  loop.run_until_complete(result);

  result = func();
  asyncio::run(result);

  static_cast<void>(func());  // forgotten: nothing is printed but the warning on stderr
}
