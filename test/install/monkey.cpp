// A program outside the tree that blocks in libc: the reader would wait forever if its call did
// not let the writer run.
#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <unistd.h>

#include <iostream>

using namespace fiber;

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  monkey::patch_all();
  int answer = 0;
  asyncio::run([&] {
    asyncio::await(asyncio::gather([&] { (void)!::read(ends[0], &answer, sizeof answer); },
                                   [&] {
                                     ::usleep(1000);
                                     const int value = 42;
                                     (void)!::write(ends[1], &value, sizeof value);
                                   }));
  });
  std::cout << answer << '\n';
}
