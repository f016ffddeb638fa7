// await_together: as many tasks as one likes, awaited at once.
//
//   async def func(limit):
//       tasks = []
//       for n in range(limit):
//           tasks.append(asyncio.create_task(others(n)))
//       responses = await asyncio.gather(*tasks, return_exceptions=True)
//       print(responses)
//   asyncio.run(func(limit=3))
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto others = asyncio::async([](int value) {
  print("start");
  await(asyncio::sleep(2s));
  print("end");
  return value;
});

auto func = asyncio::async([](int limit) {
  std::vector<asyncio::Task<int>> tasks;
  for (int n = 0; n < limit; ++n) tasks.push_back(asyncio::create_task(others(n)));
  auto responses = await(asyncio::gather(asyncio::return_exceptions, tasks));
  print(responses);
});

int main() { asyncio::run(func(3)); }
