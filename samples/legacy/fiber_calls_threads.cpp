// fiber_calls_threads: blocking calls run on threads; their tasks wait, and the rest runs on.
#include <fiber/asyncio.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

// The old library: it blocks its caller, and must not be called by two at a time.
namespace old_library {
std::string look_up(const std::string& name) {
  std::this_thread::sleep_for(name == "slow" ? 500ms : 50ms);
  if (name == "nobody") throw std::invalid_argument("unknown: " + name);
  return name + "@example.org";
}
}  // namespace old_library

int main() {
  int beats = 0;  // outlives the heart, which ends with the loop
  asyncio::run([&] {
    const auto heart = asyncio::create_task([&] {
      for (;; ++beats) await(asyncio::sleep(5ms));
    });

    // Any number of calls at once, up to the threads of the default executor.
    auto [a, b] = await(asyncio::gather(asyncio::to_thread(old_library::look_up, "ada"),
                                        asyncio::to_thread(old_library::look_up, "bob")));
    print(a, b);

    // One at a time: an executor with one thread runs all calls of the library.
    concurrent::futures::ThreadPoolExecutor alone({.max_workers = 1});
    const auto loop = asyncio::get_running_loop();
    std::vector<asyncio::Future<std::string>> calls;
    for (const char* name : {"cleo", "nobody", "dan"})
      calls.push_back(loop.run_in_executor(alone, old_library::look_up, std::string(name)));
    print(await(asyncio::gather(asyncio::return_exceptions, calls)));

    // A time limit ends the task's wait; the call itself goes on, because it cannot be stopped.
    try {
      await(asyncio::wait_for(asyncio::to_thread(old_library::look_up, "slow"), 10ms));
    } catch (const TimeoutError&) {
      print("too slow");
    }
    heart.cancel();
    print("the loop ran meanwhile:", beats >= 3 ? "yes" : "no");
  });
}
