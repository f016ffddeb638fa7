// future_forever: nobody completes the future, so only Ctrl-C ends the program.
//
//   async def main():
//       loop = asyncio.get_running_loop()
//       fut = loop.create_future()
//       await fut
//   asyncio.run(main())
#include <fiber/asyncio.hpp>

#include <csignal>
#include <cstdio>

#include "support/print.hpp"

using namespace fiber;
using asyncio::await;

int main() {
  try {
    asyncio::run([] {
      auto loop = asyncio::get_running_loop();
      auto fut = loop.create_future<int>();
      print("waiting");
      await(fut);
    });
  } catch (const KeyboardInterrupt&) {
    // As Python ends: say so, then die of the signal, which a shell shows as status 130.
    std::fputs("KeyboardInterrupt\n", stderr);
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
}
