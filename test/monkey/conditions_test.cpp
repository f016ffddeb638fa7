// Condition variables of threads, in tasks: waiting, and waking from tasks and threads.
#include <dlfcn.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <thread>
#include <vector>

#include "monkey/support.hpp"
#include "monkey/thread_calls.hpp"

using namespace monkey_test;

namespace {

// A number of things that are there, as old code guards it.
class Store {
 public:
  explicit Store(bool monotonic = false) {
    pthread_condattr_t attributes;
    ::pthread_condattr_init(&attributes);
    if (monotonic) ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    ::pthread_cond_init(&condition, &attributes);
    ::pthread_condattr_destroy(&attributes);
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store() { ::pthread_cond_destroy(&condition); }

  void take() {
    CHECK(calls::mutex_lock(&mutex) == 0);
    while (count == 0) CHECK(calls::cond_wait(&condition, &mutex) == 0);
    --count;
    CHECK(calls::mutex_unlock(&mutex) == 0);
  }
  void put(int more, bool all = false) {
    CHECK(calls::mutex_lock(&mutex) == 0);
    count += more;
    CHECK((all ? calls::cond_broadcast(&condition) : calls::cond_signal(&condition)) == 0);
    CHECK(calls::mutex_unlock(&mutex) == 0);
  }

  int left() {
    CHECK(calls::mutex_lock(&mutex) == 0);
    const int now = count;
    CHECK(calls::mutex_unlock(&mutex) == 0);
    return now;
  }

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  int count = 0;
};

}  // namespace

TEST_CASE("a task that waits for a condition is woken by another task") {
  Events say;
  Store store;
  run([&] {
    const auto taker = [&](const char* name) {
      return start([&say, &store, name] {
        store.take();
        say(name);
      });
    };
    const auto a = taker("a"), b = taker("b"), c = taker("c");
    await(asyncio::sleep(1ms));
    say("put");
    store.put(1);
    await(a);  // the one that came first
    store.put(2, true);
    await(b);
    await(c);
  });
  CHECK(say.take() == "put a b c");
}

TEST_CASE("a task is woken by a thread, and a thread by a task") {
  Store to_task, to_thread;
  std::atomic<int> turns{0};
  run([&] {
    std::thread other([&] {
      for (int i = 0; i < 100; ++i) {
        to_thread.take();
        while (turns == 0) std::this_thread::yield();  // another task runs while one waits
        to_task.put(1);
      }
    });
    const auto ticker = start([&] {
      for (;; ++turns) await(asyncio::sleep(0));
    });
    for (int i = 0; i < 100; ++i) {
      to_thread.put(1);
      to_task.take();
    }
    other.join();
    ticker.cancel();
    await(asyncio::wait(std::vector{ticker}));
  });
  CHECK(to_task.count == 0);
}

TEST_CASE("tasks and threads that wait for one condition get what is there, all of it") {
  Store store;
  constexpr int kEach = 50;
  run([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&] {
        for (int k = 0; k < kEach; ++k) store.take();
      });
    std::vector<asyncio::Task<void>> takers;
    for (int i = 0; i < 3; ++i)
      takers.push_back(start([&] {
        for (int k = 0; k < kEach; ++k) store.take();
      }));
    // Each waiter is woken by an item that comes after it has begun to wait, or finds an earlier
    // one.
    for (int i = 0; i < 6 * kEach; ++i) {
      store.put(1, i % 2 == 0);
      await(asyncio::sleep(0));
    }
    while (store.left() > 0) {
      store.put(0, true);
      await(asyncio::sleep(1ms));
    }
    for (const auto& taker : takers) await(taker);
    for (std::thread& each : threads) each.join();
  });
  CHECK(store.count == 0);
}

TEST_CASE("time limits of conditions, on each clock") {
  Events say;
  Store plain, monotonic(true);
  run([&] {
    const auto wait = [&](Store& store, clockid_t clock, bool by_clock) {
      const timespec until = from_now(clock, 5ms);
      CHECK(calls::mutex_lock(&store.mutex) == 0);
      const int result = by_clock
                             ? calls::cond_clockwait(&store.condition, &store.mutex, clock, &until)
                             : calls::cond_timedwait(&store.condition, &store.mutex, &until);
      CHECK(calls::mutex_trylock(&store.mutex) == EBUSY);  // the task has the mutex again
      CHECK(calls::mutex_unlock(&store.mutex) == 0);
      return result;
    };
    const auto other = start([&] { say("other"); });
    CHECK(wait(plain, CLOCK_REALTIME, false) == ETIMEDOUT);
    say("late");
    await(other);
    CHECK(wait(monotonic, CLOCK_MONOTONIC, false) == ETIMEDOUT);
    CHECK(wait(plain, CLOCK_MONOTONIC, true) == ETIMEDOUT);
    const timespec wrong{.tv_sec = 0, .tv_nsec = -1};
    CHECK(calls::mutex_lock(&plain.mutex) == 0);
    CHECK(calls::cond_timedwait(&plain.condition, &plain.mutex, &wrong) == EINVAL);
    CHECK(calls::mutex_unlock(&plain.mutex) == 0);
  });
  CHECK(say.take() == "other late");
}

TEST_CASE(
    "a cancelled task wakes up without a reason, and is cancelled when it has what it wants") {
  Events say;
  Store store;
  run([&] {
    const auto taker = start([&] {
      store.take();
      say("taken");
      await(asyncio::sleep(0));
      say("not here");
    });
    await(asyncio::sleep(1ms));
    taker.cancel();
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(1ms));
    say("put");
    store.put(1);
    await(asyncio::wait(std::vector{taker}));
    CHECK(taker.cancelled());
    // This task gives up after the first wake-up, without a look at the store.
    Store other;
    const auto once = start([&] {
      CHECK(calls::mutex_lock(&other.mutex) == 0);
      CHECK(calls::cond_wait(&other.condition, &other.mutex) == 0);
      CHECK(calls::mutex_unlock(&other.mutex) == 0);
      say("gives up");
    });
    await(asyncio::sleep(1ms));
    once.cancel();
    await(asyncio::wait(std::vector{once}));
    CHECK(once.cancelled());
    store.put(1);
    store.take();  // no waiter is left that would take a signal
  });
  CHECK(say.take() == "put taken gives up");
}

#if !defined(FIBER_TSAN)  // which reports that the program is wrong
TEST_CASE("a mutex that the task does not hold is no one's to wait with") {
  Store store;
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t mutex;
  ::pthread_mutex_init(&mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  run([&] { CHECK(calls::cond_wait(&store.condition, &mutex) == EPERM); });
  ::pthread_mutex_destroy(&mutex);
}
#endif

TEST_CASE("C11's condition variables, and those of C++") {
  CountedEvents say;
  mtx_t mutex;
  cnd_t condition;
  REQUIRE(::mtx_init(&mutex, mtx_timed) == thrd_success);
  REQUIRE(::cnd_init(&condition) == thrd_success);
  run([&] {
    const auto waiter = start([&] {
      CHECK(calls::mtx_lock(&mutex) == thrd_success);
      const timespec until = from_now(CLOCK_REALTIME, 2ms);
      CHECK(calls::cnd_timedwait(&condition, &mutex, &until) == thrd_timedout);
      say("late");
      CHECK(calls::cnd_wait(&condition, &mutex) == thrd_success);
      say("woken");
      CHECK(calls::mtx_unlock(&mutex) == thrd_success);
    });
    while (say.count < 1) await(asyncio::sleep(1ms));
    await(asyncio::sleep(1ms));
    CHECK(calls::cnd_signal(&condition) == thrd_success);
    await(waiter);

    std::mutex lock;
    std::condition_variable ready;
    bool there = false;
    const auto consumer = start([&] {
      std::unique_lock its(lock);
      CHECK(!ready.wait_for(its, 2ms, [&] { return there; }));
      say("nothing");
      ready.wait(its, [&] { return there; });
      say("there");
    });
    while (say.count < 3) await(asyncio::sleep(1ms));
    {
      const std::lock_guard its(lock);
      there = true;
    }
    ready.notify_one();
    await(consumer);
  });
  ::cnd_destroy(&condition);
  ::mtx_destroy(&mutex);
  CHECK(say.take() == "late woken nothing there");
}

#if !defined(FIBER_TSAN)  // which sees no synchronization in the library's futex
TEST_CASE("a std::future that a task or a thread fulfils") {
  Events say;
  run([&] {
    std::promise<int> promise;
    std::future<int> future = promise.get_future();
    bool late = false;
    const auto waiter = start([&] {
      CHECK(future.wait_for(2ms) == std::future_status::timeout);
      late = true;
      say("late");
      say(future.get());
    });
    while (!late) await(asyncio::sleep(1ms));
    promise.set_value(7);
    await(waiter);
    say(std::async(std::launch::async, [] { return 8; }).get());
  });
  CHECK(say.take() == "late 7 8");
}
#endif

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // the program's calls are not patched there
TEST_CASE("waits by futexes: latches, semaphores and atomics of C++") {
  Events say;
  run([&] {
    std::latch latch(2);
    std::counting_semaphore<> semaphore(0);
    std::atomic<int> word{0};
    const auto waiter = start([&] {
      latch.arrive_and_wait();
      say("latch");
      CHECK(!semaphore.try_acquire_for(2ms));
      semaphore.acquire();
      say("semaphore");
      word.wait(0);
      say(word.load());
    });
    const auto other = start([&] {
      say("other");
      await(asyncio::sleep(2ms));
      latch.count_down();
      await(asyncio::sleep(10ms));
      semaphore.release();
      await(asyncio::sleep(2ms));
      word = 7;
      word.notify_all();
    });
    await(waiter);
    await(other);
    const auto in_vain = start([&] {
      while (word.load() == 7) word.wait(7);
      say("changed");
    });
    await(asyncio::sleep(2ms));
    in_vain.cancel();
    await(asyncio::sleep(10ms));
    word = 8;
    await(asyncio::wait(std::vector{in_vain}));
    CHECK(in_vain.cancelled());
  });
  CHECK(say.take() == "other latch semaphore 7 changed");
}
#endif

#if !defined(FIBER_TSAN)  // whose own functions this program calls
TEST_CASE("an object that is not patched wakes the tasks of one that is") {
  Events say;
  Store store;
  Dl_info where{};
  REQUIRE(::dladdr(reinterpret_cast<void*>(calls::cond_wait), &where) != 0);
  REQUIRE(monkey::patch_library(where.dli_fname) > 0);
  CHECK(monkey::patched().size() == 1);
  asyncio::run([&] {
    const auto taker = start([&] {
      store.take();
      say("taken");
    });
    await(asyncio::sleep(1ms));
    ::pthread_mutex_lock(&store.mutex);
    store.count = 1;
    ::pthread_cond_signal(&store.condition);  // of this program
    ::pthread_mutex_unlock(&store.mutex);
    await(taker);
  });
  monkey::unpatch_library(where.dli_fname);
  CHECK(monkey::patched().empty());
  CHECK(say.take() == "taken");
}
#endif

TEST_CASE("outside of tasks a condition variable is libc's") {
  const Patch patch;
  Store store;
  std::thread other([&] { store.take(); });
  store.put(1);
  other.join();
  CHECK(calls::mutex_lock(&store.mutex) == 0);
  const timespec until = from_now(CLOCK_REALTIME, 2ms);
  CHECK(calls::cond_timedwait(&store.condition, &store.mutex, &until) == ETIMEDOUT);
  CHECK(calls::mutex_unlock(&store.mutex) == 0);
}
