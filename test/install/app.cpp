// A program outside the tree: one thing from each layer.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>

using namespace fiber;

Generator<int> numbers() {
  return [](auto& self) {
    for (int i = 1; i <= 3; ++i) self.yield(i);
  };
}

int main() {
  greenlet twice([](int x) { return 2 * x; });
  int sum = twice.switch_(18).as<int>();
  for (int i : numbers()) sum += i;
  try {
    greenlet([] { throw std::runtime_error("crosses"); }).switch_();
    sum = 0;
  } catch (const std::runtime_error&) {
    // The expected exception.
  }
  std::cout << asyncio::run([&] {
    asyncio::await(asyncio::sleep(std::chrono::milliseconds(1)));
    return sum;
  }) << '\n';
}
