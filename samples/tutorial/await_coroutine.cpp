// await_coroutine: awaiting a coroutine object runs it and gives its value.
//
//   async def others():
//       print("start")
//       await asyncio.sleep(2)
//       print("end")
//       return 12
//   async def func():
//       print("before")
//       response = await others()
//       print("after", response)
//   asyncio.run(func())
#include <fiber/asyncio.hpp>

#include <chrono>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto others = asyncio::async([] {
  print("start");
  await(asyncio::sleep(2s));
  print("end");
  return 12;
});

auto func = asyncio::async([] {
  print("before");
  int response = await(others());
  print("after", response);
});

int main() { asyncio::run(func()); }
