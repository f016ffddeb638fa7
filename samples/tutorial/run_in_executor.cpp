// run_in_executor: blocking functions in the loop's pool, in a pool of threads, of processes.
//
//   def func():
//       time.sleep(2)
//       return "func return"
//   async def main():
//       loop = asyncio.get_running_loop()
//       result = await loop.run_in_executor(None, func)
//       print("default thread pool", result)
//       with concurrent.futures.ThreadPoolExecutor() as pool:
//           result = await loop.run_in_executor(pool, func)
//           print("custom thread pool", result)
//       with concurrent.futures.ProcessPoolExecutor() as pool:
//           result = await loop.run_in_executor(pool, func)
//           print("custom process pool", result)
//   asyncio.run(main())
#include <fiber/asyncio.hpp>
#include <fiber/concurrent/process.hpp>

#include <chrono>
#include <string>
#include <thread>

#include "support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

std::string func() {
  std::this_thread::sleep_for(2s);
  return "func return";
}

int main() {
  asyncio::run([] {
    auto loop = asyncio::get_running_loop();

    std::string result = await(loop.run_in_executor(nullptr, func));
    print("default thread pool", result);
    {
      concurrent::futures::ThreadPoolExecutor pool;
      result = await(loop.run_in_executor(pool, func));
      print("custom thread pool", result);
    }
    {
      concurrent::futures::ProcessPoolExecutor pool;
      result = await(loop.run_in_executor(pool, func));
      print("custom process pool", result);
    }
  });
}
