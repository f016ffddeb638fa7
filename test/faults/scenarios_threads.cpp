// Threads.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/concurrent/thread.hpp>

#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::require;

FAULTS_SCENARIO(to_thread) {
  asyncio::run([] {
    require(await(asyncio::to_thread([] {
              return std::string("a result of another thread");
            })).ends_with("thread"),
            "to_thread");
    try {
      await(asyncio::to_thread([] { throw ValueError("an error of another thread"); }));
      require(false, "an error is lost");
    } catch (const ValueError&) {
    }
  });
}

FAULTS_SCENARIO(calls_from_threads) {
  asyncio::run([] {
    auto loop = asyncio::get_running_loop();
    asyncio::Event done;
    int calls = 0;
    const auto body = [&] {
      for (int i = 0; i < 100; ++i) {
        try {
          loop.call_soon_threadsafe([&] {
            if (++calls == 100) done.set();
          });
        } catch (const std::bad_alloc&) {
          --i;  // once more
        }
      }
    };
    std::thread thread;
    try {
      thread = std::thread(body);
    } catch (const std::system_error& failed) {
      raise_os_error(failed.code().value(), "std::thread");
    }
    struct Join {
      std::thread& thread;
      ~Join() { thread.join(); }
    } join{thread};
    await(done.wait());
  });
}

FAULTS_SCENARIO(thread_pool) {
  concurrent::futures::ThreadPoolExecutor pool({.max_workers = 3});
  std::vector<concurrent::futures::Future<int>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(pool.submit([](int n) { return n; }, i));
  int called = 0;
  futures[0].result();
  futures[0].add_done_callback([&] { ++called; });
  auto ended = concurrent::futures::wait(futures);
  require(ended.done.size() == 20 && called == 1, "wait");
  int sum = 0;
  for (auto& future : concurrent::futures::as_completed(futures)) sum += future.result();
  require(sum == 190, "as_completed");
  pool.shutdown({.wait = true, .cancel_futures = true});
}
