// The named objects of a scenario.
#pragma once

#include "futures.hpp"

#include <fiber/asyncio.hpp>

#include <map>
#include <memory>
#include <string>

namespace differential {

template <class T>
using Named = std::map<std::string, std::shared_ptr<T>>;

template <class T>
T* lookup(const Named<T>& table, const std::string& name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second.get();
}

struct Objects {
  Named<asyncio::Lock> locks;
  Named<asyncio::Condition> conditions;
  Named<asyncio::Semaphore> semaphores;
  Named<asyncio::BoundedSemaphore> bounded;
  Named<asyncio::Event> events;
  Named<asyncio::Barrier> barriers;
  Named<asyncio::Queue<std::int64_t>> queues;
  Named<asyncio::PriorityQueue<std::int64_t>> priority_queues;
  Named<asyncio::LifoQueue<std::int64_t>> lifo_queues;
  // Timeouts and groups stay after their block has ended: other tasks may still name them.
  Named<asyncio::Timeout> timeouts;
  Named<asyncio::TaskGroup> groups;

  // Calls `function` with the lock, condition or semaphore of that name; returns "unset" if there
  // is none.
  template <class F>
  Value with_lock(const std::string& name, F function) {
    if (auto* lock = lookup(locks, name)) return function(*lock);
    if (auto* condition = lookup(conditions, name)) return function(*condition);
    if (auto* semaphore = lookup(semaphores, name)) return function(*semaphore);
    if (auto* semaphore = lookup(bounded, name)) return function(*semaphore);
    return "unset";
  }

  template <class F>
  Value with_queue(const std::string& name, F function) {
    if (auto* queue = lookup(queues, name)) return function(*queue);
    if (auto* queue = lookup(priority_queues, name)) return function(*queue);
    if (auto* queue = lookup(lifo_queues, name)) return function(*queue);
    return "unset";
  }
};

}  // namespace differential
