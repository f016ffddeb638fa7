// callback_result: the value of a task, fetched after await.
//
//   async def set_number():
//       return random.randint(0, 100)
//   async def main():
//       task = asyncio.create_task(set_number())
//       await task
//       print("random number", task.result())
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <random>

#include "support/print.hpp"

using namespace fiber;
using asyncio::await;

auto set_number = asyncio::async([] {
  std::random_device random;
  return std::uniform_int_distribution(0, 100)(random);
});

int main() {
  asyncio::run([] {
    auto task = asyncio::create_task(set_number());
    await(task);
    print("random number", task.result());
  });
}
