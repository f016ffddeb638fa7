// Barriers of threads, to which tasks come.
#include <cerrno>
#include <thread>
#include <vector>

#include "monkey/support.hpp"
#include "monkey/thread_calls.hpp"

using namespace monkey_test;

namespace {

struct Barrier {
  explicit Barrier(unsigned size) { REQUIRE(::pthread_barrier_init(&barrier, nullptr, size) == 0); }
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;
  ~Barrier() { CHECK(calls::barrier_destroy(&barrier) == 0); }
  int wait() { return calls::barrier_wait(&barrier); }
  pthread_barrier_t barrier;
};

}  // namespace

TEST_CASE("a barrier holds tasks back until all have come, and tells one of them apart") {
  run([] {
    constexpr int kRounds = 4;
    Barrier barrier(3);
    int come = 0, told = 0;
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(start([&] {
        for (int round = 1; round <= kRounds; ++round) {
          ++come;
          errno = 33;
          const int result = barrier.wait();
          CHECK(errno == 33);
          CHECK(come >= 3 * round);
          told += result == PTHREAD_BARRIER_SERIAL_THREAD ? 1 : 0;
          CHECK((result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD));
        }
      }));
    for (const auto& task : tasks) await(task);
    CHECK(told == kRounds);
  });
}

TEST_CASE("tasks and threads come to one barrier, in any order") {
  run([] {
    constexpr int kRounds = 20;
    Barrier barrier(4);
    int told = 0;
    const auto body = [&](int& count) {
      for (int round = 0; round < kRounds; ++round)
        count += barrier.wait() == PTHREAD_BARRIER_SERIAL_THREAD ? 1 : 0;
    };
    int told_to_threads[2] = {};
    std::thread first([&] { body(told_to_threads[0]); });
    std::thread second([&] { body(told_to_threads[1]); });
    const auto task = start([&] { body(told); });
    body(told);
    await(task);
    first.join();
    second.join();
    CHECK(told + told_to_threads[0] + told_to_threads[1] == kRounds);
  });
}

TEST_CASE("a cancelled task waits at a barrier to the end; its cancellation comes afterwards") {
  run([] {
    Barrier barrier(2);
    bool passed = false;
    const auto task = start([&] {
      barrier.wait();
      passed = true;
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::sleep(5ms));
    CHECK(!task.done());
    barrier.wait();
    await(asyncio::wait(std::vector{task}));
    CHECK(passed);
    CHECK(task.cancelled());
  });
}

TEST_CASE("a barrier may be destroyed by the task that it lets through first") {
  run([] {
    pthread_barrier_t barrier;
    REQUIRE(::pthread_barrier_init(&barrier, nullptr, 2) == 0);
    const auto slow = start([&] { calls::barrier_wait(&barrier); });
    await(asyncio::sleep(1ms));
    calls::barrier_wait(&barrier);  // the other task has not gone on yet
    CHECK(calls::barrier_destroy(&barrier) == 0);
    await(slow);
  });
}
