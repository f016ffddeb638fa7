// concurrent_future: ten jobs for five workers; each future shows its state.
//
//   def func(value):
//       time.sleep(1)
//       return value * value
//   pool = ThreadPoolExecutor(max_workers=5)           # or ProcessPoolExecutor: --processes
//   for i in range(10):
//       fut = pool.submit(func, i)
//       print(fut)
//   for fut in futures:
//       print(fut.result())
#include <fiber/concurrent/process.hpp>
#include <fiber/concurrent/thread.hpp>

#include <chrono>
#include <string_view>
#include <thread>
#include <vector>

#include "support/print.hpp"

using namespace fiber::concurrent::futures;
using namespace std::chrono_literals;

int func(int value) {
  std::this_thread::sleep_for(1s);
  return value * value;
}

template <class Pool>
void run(Pool pool) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < 10; ++i) {
    auto fut = pool.submit(func, i);
    print(fut);
    futures.push_back(fut);
  }
  for (auto& fut : futures) print(fut.result());
}

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--processes")
    run(ProcessPoolExecutor({.max_workers = 5}));
  else
    run(ThreadPoolExecutor({.max_workers = 5}));
}
