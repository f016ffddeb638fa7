// The objects that threads wait for, used in tasks: read-write locks, semaphores, timed mutexes,
// initialisers that run once.
#include <dlfcn.h>
#include <semaphore.h>
#include <time.h>

#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "monkey/support.hpp"
#include "monkey/thread_calls.hpp"

using namespace monkey_test;

namespace {

// The clock of pthread_mutex_timedlock and its relatives.
timespec soon() { return from_now(CLOCK_REALTIME, 5ms); }
timespec much_later() { return from_now(CLOCK_REALTIME, 3'600'000ms); }

struct RwLock {
  RwLock() = default;
  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;
  ~RwLock() { ::pthread_rwlock_destroy(&lock); }
  void unlock() { CHECK(::pthread_rwlock_unlock(&lock) == 0); }
  pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
};

struct Semaphore {
  Semaphore() { REQUIRE(::sem_init(&semaphore, 0, 0) == 0); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  ~Semaphore() { ::sem_destroy(&semaphore); }
  sem_t semaphore;
};

[[maybe_unused]] Events* events = nullptr;  // of what runs once

}  // namespace

TEST_CASE("a read-write lock lets readers in together and writers alone") {
  Events say;
  RwLock its;
  run([&] {
    const auto read = [&](const char* name) {
      return asyncio::create_task([&, name] {
        CHECK(calls::rwlock_rdlock(&its.lock) == 0);
        say(name);
        calls::usleep(2000);
        say(name);
        its.unlock();
      });
    };
    const auto write = [&](const char* name, bool timed) {
      return asyncio::create_task([&, name, timed] {
        const timespec until = much_later();
        CHECK((timed ? calls::rwlock_timedwrlock(&its.lock, &until)
                     : calls::rwlock_wrlock(&its.lock)) == 0);
        say(name);
        calls::usleep(2000);
        say(name);
        its.unlock();
      });
    };
    const auto a = read("r"), b = read("r");
    await(a);
    await(b);
    CHECK(say.take() == "r r r r");
    const auto c = write("w", false), d = write("v", true);
    await(c);
    await(d);
    CHECK(say.take() == "w w v v");
  });
}

TEST_CASE("a time limit of a lock that another task holds") {
  RwLock its;
  run([&] {
    CHECK(calls::rwlock_wrlock(&its.lock) == 0);
    await(start([&] {
      timespec until = soon();
      CHECK(calls::rwlock_timedrdlock(&its.lock, &until) == ETIMEDOUT);
      until = soon();
      CHECK(calls::rwlock_timedwrlock(&its.lock, &until) == ETIMEDOUT);
    }));
    its.unlock();
    const timespec past{.tv_sec = 1, .tv_nsec = 0};
    CHECK(calls::rwlock_timedrdlock(&its.lock, &past) == 0);  // it is free
    its.unlock();
  });
}

TEST_CASE("a semaphore waits until another task posts, or a thread, or its time is over") {
  CountedEvents say;
  Semaphore its;
  run([&] {
    const auto waiter = start([&] {
      CHECK(calls::sem_wait(&its.semaphore) == 0);
      say("through");
      const timespec until = much_later();
      CHECK(calls::sem_timedwait(&its.semaphore, &until) == 0);
      say("again");
    });
    await(asyncio::sleep(2ms));
    say("posting");
    ::sem_post(&its.semaphore);
    while (say.count < 2) await(asyncio::sleep(1ms));
    std::thread([&] { ::sem_post(&its.semaphore); }).join();
    await(waiter);
    timespec until = soon();
    CHECK(calls::sem_timedwait(&its.semaphore, &until) == -1);
    CHECK(errno == ETIMEDOUT);
    until = from_now(CLOCK_MONOTONIC, 5ms);
    CHECK(calls::sem_clockwait(&its.semaphore, CLOCK_MONOTONIC, &until) == -1);
    CHECK(errno == ETIMEDOUT);
    until.tv_nsec = -1;
    CHECK(calls::sem_timedwait(&its.semaphore, &until) == -1);
    CHECK(errno == EINVAL);
  });
  CHECK(say.take() == "posting through again");
}

TEST_CASE("a cancelled task: a semaphore is interrupted, a lock is waited for") {
  Events say;
  Semaphore semaphore;
  RwLock its;
  run([&] {
    CHECK(calls::rwlock_wrlock(&its.lock) == 0);
    const auto posted = start([&] {
      CHECK(calls::sem_wait(&semaphore.semaphore) == -1);
      say(errno == EINTR ? "interrupted" : "other");
    });
    const auto locked = start([&] {
      CHECK(calls::rwlock_rdlock(&its.lock) == 0);
      say("locked");
      its.unlock();
    });
    await(asyncio::sleep(2ms));
    posted.cancel();
    locked.cancel();
    await(asyncio::wait(std::vector{posted}));
    await(asyncio::sleep(2ms));
    say("unlock");
    its.unlock();
    await(asyncio::wait(std::vector{locked}));
    CHECK(posted.cancelled());
    CHECK(locked.cancelled());
  });
  CHECK(say.take() == "interrupted unlock locked");
}

TEST_CASE("a cancelled task that tries a semaphore again waits for it, and the others go on") {
  Events say;
  Semaphore its;
  run([&] {
    const auto waiter = start([&] {
      while (calls::sem_wait(&its.semaphore) != 0) CHECK(errno == EINTR);
      say("through");
    });
    await(asyncio::sleep(2ms));
    waiter.cancel();
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(1ms));
    say("posting");
    ::sem_post(&its.semaphore);
    await(asyncio::wait(std::vector{waiter}));
    CHECK(waiter.cancelled());
  });
  CHECK(say.take() == "posting through");
}

TEST_CASE("a semaphore of an object whose calls are never cut short is waited for") {
  Events say;
  Semaphore its;
  Dl_info where{};
  REQUIRE(::dladdr(reinterpret_cast<void*>(calls::sem_wait), &where) != 0);
  REQUIRE(monkey::patch_library(where.dli_fname, {.cancel = monkey::Cancel::never}) > 0);
  asyncio::run([&] {
    const auto waiter = start([&] {
      CHECK(calls::sem_wait(&its.semaphore) == 0);
      say("through");
    });
    await(asyncio::sleep(2ms));
    waiter.cancel();
    await(asyncio::sleep(2ms));
    say("posting");
    ::sem_post(&its.semaphore);
    await(asyncio::wait(std::vector{waiter}));
    CHECK(waiter.cancelled());
  });
  monkey::unpatch();
  CHECK(say.take() == "posting through");
}

TEST_CASE("a thread that is joined lets tasks run, which let it end") {
  CountedEvents say;
  Semaphore its;
  const auto wait_for_post = [](void* semaphore) -> void* {
    ::sem_wait(static_cast<sem_t*>(semaphore));
    return semaphore;
  };
  run([&] {
    pthread_t thread{};
    REQUIRE(::pthread_create(&thread, nullptr, wait_for_post, &its.semaphore) == 0);
    const auto joiner = start([&] {
      void* value = nullptr;
      const timespec until = soon();
      CHECK(calls::timedjoin(thread, &value, &until) == ETIMEDOUT);
      say("late");
      CHECK(calls::join(thread, &value) == 0);
      CHECK(value == &its.semaphore);
      say("joined");
    });
    while (say.count < 1) await(asyncio::sleep(1ms));
    say("posting");
    ::sem_post(&its.semaphore);
    await(joiner);
#if !defined(FIBER_TSAN)  // which knows neither the first thread nor those of thrd_create
    CHECK(calls::join(::pthread_self(), nullptr) == EDEADLK);
    thrd_t other{};
    REQUIRE(::thrd_create(
                &other, [](void*) { return 7; }, nullptr) == thrd_success);
    int result = 0;
    CHECK(calls::thrd_join(other, &result) == thrd_success);
    CHECK(result == 7);
#endif
    std::thread([&] { say("std"); }).join();
  });
  CHECK(say.take() == "late posting joined std");
}

TEST_CASE("mutexes with a time limit, recursive ones too, whose owner is another task") {
  for (const int kind : {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK}) {
    CAPTURE(kind);
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_settype(&attributes, kind);
    pthread_mutex_t mutex;
    ::pthread_mutex_init(&mutex, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
    CountedEvents say;
    run([&] {
      CHECK(calls::mutex_lock(&mutex) == 0);
      const auto other = start([&] {
        timespec until = soon();
        say(calls::mutex_timedlock(&mutex, &until) == ETIMEDOUT ? "late" : "?");
        until = from_now(CLOCK_MONOTONIC, 5ms);
        say(calls::mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until) == ETIMEDOUT ? "late" : "?");
        until = much_later();
        say(calls::mutex_timedlock(&mutex, &until) == 0 ? "mine" : "?");
        CHECK(calls::mutex_unlock(&mutex) == 0);
      });
      while (say.count < 2) await(asyncio::sleep(1ms));
      say("unlock");
      CHECK(calls::mutex_unlock(&mutex) == 0);
      await(other);
    });
    CHECK(say.take() == "late late unlock mine");
    ::pthread_mutex_destroy(&mutex);
  }
}

TEST_CASE("C11's mutexes keep tasks apart") {
  for (const int kind : std::vector<int>{mtx_plain, mtx_plain | mtx_recursive, mtx_timed}) {
    CAPTURE(kind);
    mtx_t mutex;
    REQUIRE(::mtx_init(&mutex, kind) == thrd_success);
    CountedEvents say;
    run([&] {
      CHECK(calls::mtx_lock(&mutex) == thrd_success);
      const auto other = start([&] {
        say(calls::mtx_trylock(&mutex) == thrd_busy ? "busy" : "?");
        const timespec until = soon();
        say(calls::mtx_timedlock(&mutex, &until) == thrd_timedout ? "late" : "?");
        CHECK(calls::mtx_lock(&mutex) == thrd_success);
        say("mine");
        CHECK(calls::mtx_unlock(&mutex) == thrd_success);
      });
      while (say.count < 2) await(asyncio::sleep(1ms));
      say("unlock");
      CHECK(calls::mtx_unlock(&mutex) == thrd_success);
      await(other);
    });
    CHECK(say.take() == "busy late unlock mine");
    ::mtx_destroy(&mutex);
  }
}

#if !defined(FIBER_TSAN)  // whose own guards of what runs once let no other task run
TEST_CASE("an initialiser that runs once and waits is waited for by other tasks") {
  Events say;
  events = &say;
  run([&] {
    std::vector<asyncio::Task<int>> tasks;
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    static once_flag flag = ONCE_FLAG_INIT;
    const auto check = [&](auto once) {
      for (int i = 0; i < 3; ++i)
        tasks.push_back(start([once] {
          once([] {
            (*events)("begun");
            calls::usleep(2000);
            (*events)("done");
          });
          (*events)("once");
          return 0;
        }));
      for (const auto& task : tasks) await(task);
      CHECK(say.take() == "begun done once once once");
      tasks.clear();
    };
    check([](void (*initialise)()) { calls::c_call_once(&flag, initialise); });
    check([](void (*initialise)()) { calls::once(&control, initialise); });

    for (int i = 0; i < 3; ++i)
      tasks.push_back(start([] {
        return calls::static_value([] {
          (*events)("begun");
          calls::usleep(2000);
          return 7;
        });
      }));
    for (const auto& task : tasks) CHECK(await(task) == 7);
  });
  CHECK(say.take() == "begun");
}

TEST_CASE("call_once in tasks: each calls its own function, also after one that throws") {
  Events say;
  std::once_flag flag, other;
  run([&] {
    const auto first = start([&] {
      try {
        calls::call_once(flag, [&] {
          say("first");
          calls::usleep(2000);
          throw std::runtime_error("no");
        });
      } catch (const std::runtime_error& e) {
        say(e.what());
      }
      return 0;
    });
    const auto second = start([&] {
      calls::call_once(flag, [&] { say("second"); });
      return 0;
    });
    const auto third = start([&] {
      calls::call_once(other, [&] { say("third"); });
      return 0;
    });
    for (const auto& task : {first, second, third}) await(task);
  });
  CHECK(say.take() == "first third no second");
}
#endif

#if !defined(FIBER_TSAN)
TEST_CASE("pthread_cancel ends a thread that blocks in a patched call") {
  const Patch patch;
  const Ends ends = pipe();
  static int never_readable = -1;
  never_readable = ends.a;
  static Semaphore semaphore;
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  static const auto unlock = [](void*) { ::pthread_mutex_unlock(&mutex); };
  using Body = void* (*)(void*);
  const Body bodies[] = {
      [](void*) -> void* {
        char byte;
        calls::read(never_readable, &byte, 1);
        return nullptr;
      },
      [](void*) -> void* {
        calls::sleep(1000);
        return nullptr;
      },
      [](void*) -> void* {
        calls::poll(nullptr, 0, -1);
        return nullptr;
      },
      [](void*) -> void* {
        calls::sem_wait(&semaphore.semaphore);
        return nullptr;
      },
      [](void*) -> void* {
        ::pthread_mutex_lock(&mutex);
        pthread_cleanup_push(unlock, nullptr);
        for (;;) calls::cond_wait(&condition, &mutex);
        pthread_cleanup_pop(1);
        return nullptr;
      },
      [](void*) -> void* {
        calls::waitid(P_ALL, 0, nullptr, WEXITED);
        for (;;) calls::usleep(1000);
        return nullptr;
      },
  };
  for (const Body body : bodies) {
    pthread_t thread{};
    REQUIRE(::pthread_create(&thread, nullptr, body, nullptr) == 0);
    CHECK(::pthread_cancel(thread) == 0);
    void* result = nullptr;
    CHECK(::pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
  }
}
#endif

TEST_CASE("outside of tasks locks, semaphores and joins are libc's") {
  const Patch patch;
  RwLock its;
  CHECK(calls::rwlock_wrlock(&its.lock) == 0);
  its.unlock();
  Semaphore semaphore;
  ::sem_post(&semaphore.semaphore);
  CHECK(calls::sem_wait(&semaphore.semaphore) == 0);
  const timespec until = soon();
  CHECK(calls::sem_timedwait(&semaphore.semaphore, &until) == -1);
  CHECK(errno == ETIMEDOUT);
}
