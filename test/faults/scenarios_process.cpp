// Pools of worker processes.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/concurrent/process.hpp>

#include <csignal>
#include <string>
#include <vector>

using namespace fiber;
using faults::require;

namespace {

int square(int n) { return n * n; }
std::string long_text(int n) { return std::string(static_cast<std::size_t>(n), 'b'); }

}  // namespace

FAULTS_SCENARIO(process_pool) {
  concurrent::futures::ProcessPoolExecutor pool({.max_workers = 2});
  auto first = pool.submit(square, 3);
  auto second = pool.submit(long_text, 10'000);
  auto third = pool.submit(square, 4);
  require(first.result() == 9 && second.result().size() == 10'000 && third.result() == 16,
          "the results of processes");
}

FAULTS_SCENARIO(processes_of_a_loop) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    concurrent::futures::ProcessPoolExecutor pool({.max_workers = 2});
    auto first = loop.run_in_executor(pool, square, 3);
    auto second = loop.run_in_executor(pool, long_text, 100'000);
    const std::vector<int> numbers{1, 2, 3};
    auto results = pool.map(square, numbers);
    require(await(first) == 9 && await(second).size() == 100'000, "results in a loop");
    int sum = 0;
    for (const int result : results) sum += result;
    require(sum == 14, "the results of map()");
  });
}

FAULTS_SCENARIO(processes_that_die) {
  concurrent::futures::ProcessPoolExecutor pool({.max_workers = 2});
  const auto broken = [](auto call) {
    try {
      call();
      return false;
    } catch (const concurrent::futures::BrokenProcessPool&) {
      return true;
    }
  };
  auto dies = pool.submit(std::raise, SIGKILL);
  // This call may end before the pool is broken.
  broken([&] { pool.submit(square, 3).exception(); });
  require(broken([&] { dies.result(); }), "the result of a killed process");
}
