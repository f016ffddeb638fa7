// A shared object with the library inside, loaded by a program that knows nothing of fibers.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <chrono>
#include <stdexcept>

using namespace fiber;
using asyncio::await;

// Returns 42 if everything works.
extern "C" __attribute__((visibility("default"))) int plugin_answer() {
  try {
    const Generator<int> numbers = [](auto& self) {
      for (int i = 1; i <= 3; ++i) self.yield(i);
    };
    int sum = 0;
    for (const int number : numbers) sum += number;
    const greenlet thrower([] { throw std::runtime_error("expected"); });
    try {
      thrower.switch_();
    } catch (const std::runtime_error&) {
      sum += 6;
    }
    return sum + asyncio::run([] {
             auto [a, b] = await(asyncio::gather(
                 [] {
                   await(asyncio::sleep(std::chrono::milliseconds(1)));
                   return 10;
                 },
                 [] { return await(asyncio::to_thread([] { return 20; })); }));
             return a + b;
           });
  } catch (...) {
    return -1;
  }
}
