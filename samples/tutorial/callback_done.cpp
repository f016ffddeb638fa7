// callback_done: the loop calls a function with the finished task.
//
//   def callback(future):
//       print(future.result() - 100)
//   async def main():
//       task = asyncio.create_task(set_number())
//       await task
//       task.add_done_callback(callback)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <random>

#include "support/print.hpp"

using namespace fiber;
using asyncio::await;

void callback(asyncio::Future<int> future) { print(future.result() - 100); }

auto set_number = asyncio::async([] {
  std::random_device random;
  return std::uniform_int_distribution(0, 100)(random);
});

int main() {
  asyncio::run([] {
    auto task = asyncio::create_task(set_number());
    await(task);
    task.add_done_callback(callback);
  });
}
