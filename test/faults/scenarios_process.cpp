// Pools of worker processes.
#include "harness.hpp"

#include <fiber/concurrent/process.hpp>

#include <string>

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
