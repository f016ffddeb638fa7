#include <fiber/concurrent/pool.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/exceptions.hpp>

#include <atomic>
#include <utility>
#include <vector>

#include <unistd.h>

namespace fiber::concurrent::futures::detail {
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
    if (const auto alive = pool.lock()) alive->finish(true);
}

}  // namespace

// Removes the pool from the registry, so that the memory of its counts is freed.
Pool::~Pool() {
  ExitRegistry& registry = exit_registry();
  if (registry.process != getpid()) return;
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.pools, [](const auto& old) { return old.expired(); });
}

void Pool::shutdown(ShutdownOptions options) {
  if (forked()) return;
  refuse_work(options);
  if (!options.wait) return;
  if (is_own_thread()) throw RuntimeError("cannot join current thread");
  const std::lock_guard lock(join_mutex_);
  join();
}

bool Pool::wait_in_destructor() {
  if (forked()) return false;
  const std::lock_guard lock(mutex_);
  return wait_in_destructor_;
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

}  // namespace fiber::concurrent::futures::detail
