#include <fiber/concurrent/executor.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#include <unistd.h>

namespace fiber::concurrent::futures {

BrokenExecutor::~BrokenExecutor() = default;
Executor::~Executor() = default;
Work::~Work() = default;

void Work::run() {
  if (future().set_running_or_notify_cancel()) run_started();
}

namespace detail {
namespace {

struct ExitRegistry {
  std::mutex mutex;
  std::vector<std::weak_ptr<Pool>> pools;
  std::atomic<pid_t> process{0};
};

ExitRegistry& exit_registry() {
  static constinit core::Undying<ExitRegistry> registry;  // threads may outlive statics
  return *registry;
}

void finish_all() {
  ExitRegistry& registry = exit_registry();
  if (registry.process != getpid()) return;  // a forked child has none of the threads
  std::vector<std::weak_ptr<Pool>> pools;
  {
    const std::lock_guard lock(registry.mutex);
    pools.swap(registry.pools);
  }
  for (const auto& pool : pools)
    if (const auto alive = pool.lock()) alive->finish_at_exit();
}

}  // namespace

// Removes the pool from the registry, so that the memory of its counts is freed.
Pool::~Pool() {
  ExitRegistry& registry = exit_registry();
  if (registry.process != getpid()) return;
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.pools, [](const auto& old) { return old.expired(); });
}

void fail(const FutureBase& future, std::exception_ptr error) {
  try {  // the user may have ended the future
    if (!future.running() && !future.set_running_or_notify_cancel()) return;
    future.set_exception(std::move(error));
  } catch (...) {
    report("Exception in worker");
  }
}

void thread_ends(const FutureBase& future) {
  fail(future, fiber::detail::error_from([] {
         return RuntimeError("the call has ended its thread, by pthread_exit, without a result");
       }));
}

void cancel(const FutureBase& future) {
  // CPython leaves out the second step, so that wait() never returns for such a future.
  if (future.cancel()) future.set_running_or_notify_cancel();
}

void finish_at_exit(std::weak_ptr<Pool> pool) {
  ExitRegistry& registry = exit_registry();
  const std::lock_guard lock(registry.mutex);
  if (registry.process == 0) core::finish_at_exit(finish_all);
  if (registry.process != getpid()) registry.pools.clear();
  registry.process = getpid();
  std::erase_if(registry.pools, [](const auto& old) { return old.expired(); });
  registry.pools.push_back(std::move(pool));
}

int process_cpu_count() { return platform::usable_processors(); }

int checked_max_workers(std::optional<int> max_workers, int fallback) {
  const int workers = max_workers.value_or(fallback);
  if (workers <= 0) throw ValueError("max_workers must be greater than 0");
  return workers;
}

}  // namespace detail
}  // namespace fiber::concurrent::futures
