#include "works.hpp"

#include <fiber/asyncio.hpp>

#ifdef BENCHMARK_BOOST_FIBER
#include <boost/fiber/all.hpp>
#endif

#include <string>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
namespace asyncio = fiber::asyncio;

void add_ping_pong() {
  const std::string work = "queue ping-pong, round trip";
  add(work, "fiber", 300'000, [](long items) {
    asyncio::run([&] {
      asyncio::Queue<int> there(1);
      asyncio::Queue<int> back(1);
      auto echo = asyncio::create_task([&] {
        for (long i = 0; i < items; ++i) await(back.put(await(there.get())));
      });
      for (long i = 0; i < items; ++i) {
        await(there.put(1));
        await(back.get());
      }
      await(echo);
    });
    return items;
  });
#ifdef BENCHMARK_BOOST_FIBER
  add(work, "Boost.Fiber", 300'000, [](long items) {
    boost::fibers::buffered_channel<int> there(2);
    boost::fibers::buffered_channel<int> back(2);
    boost::fibers::fiber echo([&] {
      for (long i = 0; i < items; ++i) back.push(there.value_pop());
    });
    for (long i = 0; i < items; ++i) {
      there.push(1);
      back.value_pop();
    }
    echo.join();
    return items;
  });
#endif
}

// One producer, one consumer; Boost's channel requires a capacity that is a power of two.
void add_queue(long depth) {
  const std::string work = "queue of depth " + std::to_string(depth) + ", per item";
  add(work, "fiber", 500'000, [depth](long items) {
    asyncio::run([&] {
      asyncio::Queue<int> queue(depth);
      auto consumer = asyncio::create_task([&] {
        for (long i = 0; i < items; ++i) await(queue.get());
      });
      for (long i = 0; i < items; ++i) await(queue.put(1));
      await(consumer);
    });
    return items;
  });
#ifdef BENCHMARK_BOOST_FIBER
  add(work, "Boost.Fiber", 500'000, [depth](long items) {
    std::size_t capacity = 2;
    while (capacity < static_cast<std::size_t>(depth)) capacity *= 2;
    boost::fibers::buffered_channel<int> queue(capacity);
    boost::fibers::fiber consumer([&] {
      for (long i = 0; i < items; ++i) queue.value_pop();
    });
    for (long i = 0; i < items; ++i) queue.push(1);
    consumer.join();
    return items;
  });
#endif
}

// Ten tasks hand a lock on: each releases it while the others wait, and locks it again.
void add_lock() {
  const std::string work = "lock handed over among 10 tasks";
  constexpr long kTasks = 10;
  add(work, "fiber", 300'000, [](long items) {
    asyncio::run([&] {
      asyncio::Lock lock;
      std::vector<asyncio::Task<>> all;
      for (long i = 0; i < kTasks; ++i)
        all.push_back(asyncio::create_task([&] {
          for (long round = 0; round < items / kTasks; ++round) {
            await(lock.acquire());
            await(asyncio::sleep(0));
            lock.release();
          }
        }));
      await(asyncio::gather(all));
    });
    return items / kTasks * kTasks;
  });
#ifdef BENCHMARK_BOOST_FIBER
  add(work, "Boost.Fiber", 300'000, [](long items) {
    boost::fibers::mutex lock;
    std::vector<boost::fibers::fiber> all;
    for (long i = 0; i < kTasks; ++i)
      all.emplace_back([&] {
        for (long round = 0; round < items / kTasks; ++round) {
          lock.lock();
          boost::this_fiber::yield();
          lock.unlock();
        }
      });
    for (auto& one : all) one.join();
    return items / kTasks * kTasks;
  });
#endif
}

}  // namespace

void add_synchronization() {
  add_ping_pong();
  add_queue(1);
  add_queue(1'000);
  add_lock();
}

}  // namespace works
