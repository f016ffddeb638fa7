// yield_from: a generator lets another one yield in its place.
//
//   def func1():
//       yield 1
//       yield from func2()
//       yield 2
//   def func2():
//       yield 3
//       yield 4
//   for item in func1():
//       print(item)
#include <fiber/generator.hpp>

#include "support/print.hpp"

fiber::Generator<int> func2() {
  return [](auto& self) {
    self.yield(3);
    self.yield(4);
  };
}

fiber::Generator<int> func1() {
  return [](auto& self) {
    self.yield(1);
    self.yield_from(func2());
    self.yield(2);
  };
}

int main() {
  for (int item : func1()) print(item);
}
