// greenlet_switch: two greenlets hand control to each other.
//
//   def func1():
//       print(1)
//       gr2.switch()
//       print(2)
//       gr2.switch()
//   def func2():
//       print(3)
//       gr1.switch()
//       print(4)
//   gr1 = greenlet(func1)
//   gr2 = greenlet(func2)
//   gr1.switch()
#include <fiber/greenlet.hpp>

#include "support/print.hpp"

int main() {
  fiber::greenlet gr1, gr2;
  gr1 = fiber::greenlet([&] {
    print(1);
    gr2.switch_();
    print(2);
    gr2.switch_();
  });
  gr2 = fiber::greenlet([&] {
    print(3);
    gr1.switch_();
    print(4);
  });
  gr1.switch_();
}
