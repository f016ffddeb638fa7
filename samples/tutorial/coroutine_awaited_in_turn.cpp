// coroutine_awaited_in_turn: coroutine objects run one after the other, not side by side.
//
//   async def main():
//       print("main start")
//       result1 = await func("func1")
//       result2 = await func("func2")
//       print(result1, result2)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

auto func = asyncio::async([](std::string flag) {
  print(1);
  await(asyncio::sleep(2s));
  print(2);
  return flag;
});

int main() {
  asyncio::run([] {
    print("main start");
    std::string result1 = await(func("func1"));
    std::string result2 = await(func("func2"));
    print(result1, result2);
  });
}
