// Mutexes of threads between tasks of one thread.
#include <pthread.h>

#include <cerrno>
#include <string>
#include <thread>

#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

// Returns the events of two tasks that hold a mutex while they wait.
std::string meet(int kind) {
  Events say;
  run([&] {
    Mutex mutex(kind);
    const auto work = [&](int number) {
      CHECK(mutex.lock() == 0);
      say(number);
      calls::usleep(1000);
      say(number);
      CHECK(mutex.unlock() == 0);
    };
    await(asyncio::gather([&] { work(1); }, [&] { work(2); }));
  });
  return say.take();
}

}  // namespace

TEST_CASE("a mutex that another task holds across a wait is waited for, and the thread goes on") {
  CHECK(meet(PTHREAD_MUTEX_NORMAL) == "1 1 2 2");
  CHECK(meet(PTHREAD_MUTEX_ERRORCHECK) == "1 1 2 2");
}

TEST_CASE("a recursive mutex keeps tasks apart") {
  CHECK(meet(PTHREAD_MUTEX_RECURSIVE) == "1 1 2 2");
  run([] {
    Mutex mutex(PTHREAD_MUTEX_RECURSIVE);
    CHECK(mutex.lock() == 0);
    CHECK(mutex.lock() == 0);
    const auto other = [&] { return start([&] { return mutex.trylock(); }); };
    CHECK(await(other()) == EBUSY);
    CHECK(mutex.unlock() == 0);
    CHECK(await(other()) == EBUSY);
    CHECK(mutex.unlock() == 0);
    const auto last = start([&] {
      const int result = mutex.trylock();
      return result == 0 ? mutex.unlock() : result;
    });
    CHECK(await(last) == 0);
  });
}

TEST_CASE("a mutex of type ERRORCHECK finds the errors of one task, and sees none in two") {
  run([] {
    Mutex mutex(PTHREAD_MUTEX_ERRORCHECK);
    CHECK(mutex.lock() == 0);
    CHECK(mutex.lock() == EDEADLK);
    CHECK(mutex.unlock() == 0);
    CHECK(mutex.unlock() == EPERM);
  });
}

TEST_CASE("a task that does not hold a mutex which tells holders apart cannot unlock it") {
  for (const int kind : {PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE})
    run([&] {
      Mutex mutex(kind);
      CHECK(mutex.lock() == 0);
      CHECK(await(start([&] { return mutex.unlock(); })) == EPERM);
      CHECK(await(start([&] { return mutex.trylock(); })) == EBUSY);
      CHECK(mutex.unlock() == 0);
      const auto next = start([&] {
        const int result = mutex.trylock();
        return result == 0 ? mutex.unlock() : result;
      });
      CHECK(await(next) == 0);
    });
}

TEST_CASE("a recursive mutex whose owner has died is one task's after the other") {
  Events say;
  run([&] {
    Mutex mutex(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST);
    std::thread([&] { CHECK(mutex.lock() == 0); }).join();
    const auto work = [&](const auto& lock) {
      const int result = lock();
      if (result == EOWNERDEAD) CHECK(mutex.make_consistent() == 0);
      say(result == EOWNERDEAD ? "inherited" : "locked");
      calls::usleep(1000);
      say("unlocks");
      CHECK(mutex.unlock() == 0);
    };
    await(asyncio::gather([&] { work([&] { return mutex.lock(); }); },
                          [&] { work([&] { return mutex.lock(); }); }));
    std::thread([&] { CHECK(mutex.lock() == 0); }).join();
    await(asyncio::gather([&] { work([&] { return mutex.trylock(); }); },
                          [&] { work([&] { return mutex.lock(); }); }));
  });
  CHECK(say.take() == "inherited unlocks locked unlocks inherited unlocks locked unlocks");
}

TEST_CASE("a recursive mutex that main() holds, too, is free once each has unlocked it as often") {
  Mutex mutex(PTHREAD_MUTEX_RECURSIVE);
  CHECK(mutex.lock() == 0);
  const auto lock_twice = [&] {
    CHECK(mutex.lock() == 0);
    CHECK(mutex.trylock() == 0);
    CHECK(mutex.unlock() == 0);
    calls::usleep(1000);
    return mutex.unlock();
  };
  run([&] {
    CHECK(await(start(lock_twice)) == 0);
    CHECK(mutex.unlock() == 0);
    CHECK(await(start(lock_twice)) == 0);
    std::thread([&] {
      CHECK(mutex.trylock() == 0);
      CHECK(mutex.unlock() == 0);
    }).join();
  });
}

TEST_CASE("locking fails in no cancelled task") {
  Events say;
  run([&] {
    Mutex mutex(PTHREAD_MUTEX_RECURSIVE);
    CHECK(mutex.lock() == 0);
    const auto task = start([&] {
      say(mutex.lock());
      say("locked");
      CHECK(mutex.unlock() == 0);
    });
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::sleep(1ms));
    say("unlocks");
    CHECK(mutex.unlock() == 0);
    try {
      await(task);
    } catch (const asyncio::CancelledError&) {
      say("CancelledError");
    }
  });
  CHECK(say.take() == "unlocks 0 locked CancelledError");
}

TEST_CASE("outside of tasks, and between threads, a mutex is what it was") {
  const Patch patch;
  Mutex mutex(PTHREAD_MUTEX_RECURSIVE);
  CHECK(mutex.lock() == 0);
  CHECK(mutex.lock() == 0);
  std::thread([&] { CHECK(mutex.trylock() == EBUSY); }).join();
  CHECK(mutex.unlock() == 0);
  CHECK(mutex.unlock() == 0);
  asyncio::run([&] {
    CHECK(mutex.lock() == 0);
    CHECK(mutex.unlock() == 0);
  });
}
