// Tasks that are threads to the code that they call, and the state that stays the kernel's: the
// rows of the table in fiber/monkey/README.md.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "support/child_process.hpp"
#include "support/emulator.hpp"
#include "support/own_thread.hpp"
#include "support/platform.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::own;
using namespace std::chrono_literals;

namespace {

void yield() { await(asyncio::sleep(0)); }

// Runs `body` in such a task.
template <class F>
void run(F body) {
  asyncio::run([&] { await(asyncio::create_task(body, own)); });
}

long thread_id() { return ::syscall(SYS_gettid); }

sigset_t blocked_signals() {
  sigset_t set;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
  return set;
}

}  // namespace

TEST_CASE("gettid, masks, clocks, affinity and names are those of the loop's thread") {
  if (support::lacks_own_threads()) return;
  const long outside = thread_id();
  char name[17] = {};
  ::prctl(PR_GET_NAME, name);
  run([&] {
    yield();
    CHECK(thread_id() == outside);
    char its[17] = {};
    ::prctl(PR_GET_NAME, its);
    CHECK(std::string(its) == name);
    // A mask that the task sets is that of the thread, for all of its tasks.
    sigset_t one, before;
    ::sigemptyset(&one);
    ::sigaddset(&one, SIGUSR2);
    CHECK(::pthread_sigmask(SIG_BLOCK, &one, &before) == 0);
    CHECK(await(asyncio::create_task([] {
            const sigset_t set = blocked_signals();
            return ::sigismember(&set, SIGUSR2);
          })) == 1);
    CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
    // The clock of pthread_self() is the helper's, which does nothing; that of the thread goes on.
    clockid_t clock;
    CHECK(::pthread_getcpuclockid(::pthread_self(), &clock) == 0);
    timespec used{}, thread{};
    CHECK(::clock_gettime(clock, &used) == 0);
    CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread) == 0);
    CHECK((used.tv_sec < thread.tv_sec || used.tv_nsec < thread.tv_nsec));
    stack_t alternate;
    CHECK(::sigaltstack(nullptr, &alternate) == 0);
    stack_t of_thread = await(asyncio::create_task([] {
      stack_t current;
      ::sigaltstack(nullptr, &current);
      return current;
    }));
    CHECK(alternate.ss_sp == of_thread.ss_sp);
  });
}

TEST_CASE("pthread_getattr_np tells of the helper's stack, not of the task's") {
  if (support::lacks_own_threads()) return;
  run([] {
    pthread_attr_t attributes;
    REQUIRE(::pthread_getattr_np(::pthread_self(), &attributes) == 0);
    void* lowest = nullptr;
    std::size_t size = 0;
    ::pthread_attr_getstack(&attributes, &lowest, &size);
    ::pthread_attr_destroy(&attributes);
    const char here = 0;
    const auto at = reinterpret_cast<std::uintptr_t>(&here);
    const auto begin = reinterpret_cast<std::uintptr_t>(lowest);
    CHECK((at < begin || at >= begin + size));
  });
}

TEST_CASE(
    "a task with own_thread_state has no restartable sequences, and sched_getcpu asks the "
    "kernel") {
  if (support::lacks_own_threads()) return;
  run([] {
#if defined(RSEQ_SIG)
    const auto* area = reinterpret_cast<const struct rseq*>(
        static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset);
    if (__rseq_size != 0) CHECK(static_cast<int>(area->cpu_id) < 0);
#endif
    yield();
    cpu_set_t allowed;
    REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    const int processor = ::sched_getcpu();
    REQUIRE(processor >= 0);
    CHECK(CPU_ISSET(static_cast<std::size_t>(processor), &allowed));
  });
}

TEST_CASE("pthread_cancel is put off for ever") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    pthread_t self{};
    const auto task = asyncio::create_task(
        [&] {
          self = ::pthread_self();
          CHECK(::pthread_cancel(self) == 0);
          ::pthread_testcancel();
          yield();
          yield();
          const timespec moment{.tv_sec = 0, .tv_nsec = 1};
          ::nanosleep(&moment, nullptr);  // where a thread would end
          return 7;
        },
        own);
    yield();
    CHECK(::pthread_cancel(self) == 0);
    CHECK(await(task) == 7);
  });
}

TEST_CASE("pthread_kill from another thread reaches the helper, which blocks all signals") {
  if (support::lacks_own_threads()) return;
  static std::atomic<int> handled{0};
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { ++handled; };
  ::sigaction(SIGUSR1, &action, &before);
  run([] {
    const pthread_t self = ::pthread_self();
    int error = -1;
    std::thread([&] { error = ::pthread_kill(self, SIGUSR1); }).join();
    CHECK(error == 0);
    yield();
  });
  CHECK(handled == 0);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("flockfile: each task with own_thread_state is an owner") {
  if (support::lacks_own_threads()) return;
  FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  asyncio::run([&] {
    const auto holder = asyncio::create_task(
        [&] {
          ::flockfile(file);
          ::flockfile(file);
          for (int i = 0; i < 4; ++i) yield();
          ::funlockfile(file);
          ::funlockfile(file);
        },
        own);
    await(asyncio::create_task(
        [&] {
          CHECK(::ftrylockfile(file) != 0);
          await(holder);
          CHECK(::ftrylockfile(file) == 0);
          ::funlockfile(file);
        },
        own));
  });
  std::fclose(file);
}

TEST_CASE("mutexes that inherit priority work as long as nobody waits for them") {
  if (support::lacks_own_threads()) return;
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  pthread_mutex_t mutex;
  ::pthread_mutex_init(&mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  for (int i = 0; i < 2; ++i)
    run([&] {
      CHECK(::pthread_mutex_lock(&mutex) == 0);
      yield();
      CHECK(::pthread_mutex_unlock(&mutex) == 0);
    });
  ::pthread_mutex_destroy(&mutex);
}

TEST_CASE("state that libc keeps in memory of the thread is the task's own") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    const auto body = [](in_addr_t number) {
      const in_addr address{.s_addr = ::htonl(number)};
      const char* text = ::inet_ntoa(address);
      yield();
      return std::string(text);
    };
    const auto a = asyncio::create_task([&] { return body(INADDR_LOOPBACK); }, own);
    const auto b = asyncio::create_task([&] { return body(INADDR_LOOPBACK + 1); }, own);
    CHECK(await(a) == "127.0.0.1");
    CHECK(await(b) == "127.0.0.2");
  });
}

TEST_CASE(
    "a robust mutex of a task with own_thread_state is found by another process when the task's "
    "process ends") {
  if (support::lacks_robust_mutexes()) return;
  if (support::lacks_own_threads()) return;
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  void* shared = ::mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto* mutex = static_cast<pthread_mutex_t*>(shared);
  ::pthread_mutex_init(mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  const support::ChildResult ended = support::run_child({.body = [mutex] {
    run([mutex] {
      if (::pthread_mutex_lock(mutex) == 0) ::_exit(3);
    });
  }});
  CHECK(ended.status == 3);
  CHECK(::pthread_mutex_lock(mutex) == EOWNERDEAD);
  CHECK(::pthread_mutex_consistent(mutex) == 0);
  CHECK(::pthread_mutex_unlock(mutex) == 0);
  ::pthread_mutex_destroy(mutex);
  ::munmap(shared, sizeof(pthread_mutex_t));
}
