// gather: results in the order of the arguments; what an exception does to it and to the siblings.
//
//   async def main():
//       print(await asyncio.gather(*[work(n) for n in (1, 2, 3)]))
//       tasks = [asyncio.create_task(count(n)) for n in (1, 2, 3)]
//       try:
//           await asyncio.gather(*tasks)
//       except ValueError as error:
//           print("ValueError", error)
//       print("sibling", await tasks[2])             # it went on
//       print(await asyncio.gather(*[count(n) for n in (1, 2, 3)], return_exceptions=True))
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

#include "support/print.hpp"

using namespace fiber;
using asyncio::await;
using std::chrono::seconds;

auto work = asyncio::async([](int n) {
  await(asyncio::sleep(seconds(n)));
  return n;
});

auto count = asyncio::async([](int n) {
  await(asyncio::sleep(seconds(n)));
  if (n == 2) throw ValueError("two is bad");
  print(n);
  return n;
});

int main() {
  asyncio::run([] {
    std::vector works{work(1), work(2), work(3)};
    print(await(asyncio::gather(works)));

    std::vector tasks{asyncio::create_task(count(1)), asyncio::create_task(count(2)),
                      asyncio::create_task(count(3))};
    try {
      await(asyncio::gather(tasks));
    } catch (const ValueError& error) {
      print("ValueError", error.what());
    }
    print("sibling", await(tasks[2]));

    std::vector counts{count(1), count(2), count(3)};
    print(await(asyncio::gather(asyncio::return_exceptions, counts)));
  });
}
