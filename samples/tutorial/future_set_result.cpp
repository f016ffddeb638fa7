// future_set_result: another task completes the future.
//
//   async def set_after(fut):
//       await asyncio.sleep(2)
//       fut.set_result(12)
//   async def main():
//       loop = asyncio.get_running_loop()
//       fut = loop.create_future()
//       await loop.create_task(set_after(fut))
//       print(await fut)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto set_after = asyncio::async([](asyncio::Future<int> fut) {
  await(asyncio::sleep(2s));
  fut.set_result(12);
});

int main() {
  asyncio::run([] {
    auto loop = asyncio::get_running_loop();
    auto fut = loop.create_future<int>();
    await(loop.create_task(set_after(fut)));
    print(await(fut));
  });
}
