// await_in_sequence: the second await begins when the first has ended.
//
//   async def func():
//       print("before")
//       response = await others(1)
//       print("first", response)
//       response = await others(response)
//       print("second", response)
//   asyncio.run(func())
#include <fiber/asyncio.hpp>

#include <chrono>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto others = asyncio::async([](int value) {
  print("start");
  await(asyncio::sleep(2s));
  print("end");
  return value + 1;
});

auto func = asyncio::async([] {
  print("before");
  int response = await(others(1));
  print("first", response);
  response = await(others(response));
  print("second", response);
});

int main() { asyncio::run(func()); }
