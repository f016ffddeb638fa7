// Tasks that are threads to the code that they call: create_task(f, {.own_thread_state = true}).
#include <fiber/asyncio.hpp>
#include <fiber/core/own_thread.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "support/child_process.hpp"
#include "support/emulator.hpp"
#include "support/events.hpp"
#include "support/own_thread.hpp"
#include "support/platform.hpp"
#include "support/vectors.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using namespace std::chrono_literals;
using support::Events;
using support::own;

namespace {

thread_local int number = 0;

// Counts its living objects, and notes each end.
struct Noted {
  static inline std::vector<std::string>* list = nullptr;
  ~Noted() {
    if (list != nullptr) list->push_back("ended " + name);
  }
  std::string name;
};
Noted& noted() {
  static thread_local Noted object;
  return object;
}

void yield() { await(asyncio::sleep(0)); }

}  // namespace

TEST_CASE("create_task says why if thread state of its own is not available") {
  const char* why = fiber::core::OwnThread::why_not(false);
  asyncio::run([&] {
    const auto body = [] {};
    const std::string text = support::thrown_by(
        [&] { static_cast<void>(asyncio::create_task(body, {.own_thread_state = true})); });
    if (why == nullptr)
      CHECK(text == "");
    else
      CHECK(text ==
            std::string("RuntimeError('a task cannot have own_thread_state: ") + why + "')");
  });
}

TEST_CASE("thread_local variables, errno, pthread_self() and keys are the task's own") {
  if (support::lacks_own_threads()) return;
  static pthread_key_t key;
  REQUIRE(::pthread_key_create(&key, nullptr) == 0);
  number = 100;
  const pthread_t outside = ::pthread_self();
  asyncio::run([&] {
    const auto body = [&](int id) {
      CHECK(number == 0);
      CHECK(::pthread_getspecific(key) == nullptr);
      const pthread_t self = ::pthread_self();
      CHECK(::pthread_equal(self, outside) == 0);
      ::pthread_setspecific(key, &id);
      int right = 0;
      for (int i = 1; i <= 200; ++i) {
        number = id * 1000 + i;
        errno = id;
        yield();
        right += static_cast<int>(errno == id && number == id * 1000 + i &&
                                  ::pthread_equal(::pthread_self(), self) != 0 &&
                                  ::pthread_getspecific(key) == &id);
      }
      return right;
    };
    std::vector<asyncio::Task<int>> tasks;
    for (int id = 1; id <= 20; ++id)
      tasks.push_back(asyncio::create_task([&body, id] { return body(id); }, own));
    // Other tasks have the loop's thread.
    for (int i = 0; i < 100; ++i) {
      CHECK(::pthread_equal(::pthread_self(), outside) != 0);
      CHECK(number == 100);
      yield();
    }
    for (const auto& task : tasks) CHECK(await(task) == 200);
  });
  CHECK(number == 100);
  ::pthread_key_delete(key);
}

TEST_CASE("thread_local objects are destroyed when the task ends, before it is done") {
  if (support::lacks_own_threads()) return;
  std::vector<std::string> list;
  Noted::list = &list;
  asyncio::run([&] {
    for (const char* name : {"a", "b"}) {
      await(asyncio::create_task(
          [&, name] {
            noted().name = name;
            yield();
            CHECK(noted().name == name);
          },
          own));
      list.push_back(std::string("done ") + name);
    }
    const auto cancelled = asyncio::create_task(
        [] {
          noted().name = "c";
          await(asyncio::sleep(1h));
        },
        own);
    yield();
    cancelled.cancel();
    await(asyncio::wait(std::vector{cancelled}));
    CHECK(cancelled.cancelled());
    // A task that never starts has no state to destroy.
    const auto unstarted = asyncio::create_task([] { noted().name = "d"; }, own);
    unstarted.cancel();
    await(asyncio::wait(std::vector{unstarted}));
    CHECK(unstarted.cancelled());
  });
  Noted::list = nullptr;
  CHECK((list == std::vector<std::string>{"ended a", "done a", "ended b", "done b", "ended c"}));
}

TEST_CASE("exceptions: thrown in the task, in flight over a wait, caught and uncaught") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    const auto throwing = asyncio::create_task(
        [] {
          yield();
          throw fiber::ValueError("from the task");
        },
        own);
    CHECK(support::thrown_by([&] { await(throwing); }) == "ValueError('from the task')");
    CHECK(std::uncaught_exceptions() == 0);

    // Many at once, each with an exception being handled and one in flight.
    struct Waits {
      int* uncaught;
      ~Waits() {
        yield();
        *uncaught = std::uncaught_exceptions();
      }
    };
    const auto body = [](int id) {
      std::string text;
      for (int i = 0; i < 20; ++i) {
        try {
          throw fiber::ValueError(std::to_string(id));
        } catch (const fiber::ValueError&) {
          yield();
          int uncaught = -1;
          try {
            const Waits waits{&uncaught};
            throw fiber::TypeError("in flight");
          } catch (const fiber::TypeError&) {
            yield();
          }
          if (uncaught != 1 || std::uncaught_exceptions() != 0) return std::string("wrong count");
          try {
            throw;
          } catch (const std::exception& again) {
            text = again.what();
          }
        }
      }
      return text;
    };
    std::vector<asyncio::Task<std::string>> tasks;
    for (int id = 0; id < 10; ++id)
      tasks.push_back(asyncio::create_task([&body, id] { return body(id); },
                                           id % 2 == 0 ? own : asyncio::TaskOptions{}));
    for (int id = 0; id < 10; ++id)
      CHECK(await(tasks[static_cast<std::size_t>(id)]) == std::to_string(id));
  });
}

TEST_CASE("mutexes: each task with a thread state of its own is an owner of its own") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    for (const int kind :
         {PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_NORMAL}) {
      CAPTURE(kind);
      pthread_mutex_t mutex;
      ::pthread_mutexattr_settype(&attributes, kind);
      ::pthread_mutex_init(&mutex, &attributes);
      Events say;
      const auto holder = asyncio::create_task(
          [&] {
            say("lock " + std::to_string(::pthread_mutex_lock(&mutex)));
            if (kind == PTHREAD_MUTEX_RECURSIVE)
              say("again " + std::to_string(::pthread_mutex_lock(&mutex)));
            for (int i = 0; i < 4; ++i) yield();
            if (kind == PTHREAD_MUTEX_RECURSIVE) ::pthread_mutex_unlock(&mutex);
            say("unlock " + std::to_string(::pthread_mutex_unlock(&mutex)));
          },
          own);
      const auto other = asyncio::create_task(
          [&] {
            say(::pthread_mutex_trylock(&mutex) == EBUSY ? "busy" : "free");
            if (kind == PTHREAD_MUTEX_ERRORCHECK)
              say(::pthread_mutex_unlock(&mutex) == EPERM ? "not mine" : "mine");
            await(holder);
            say(::pthread_mutex_trylock(&mutex) == EBUSY ? "busy" : "free");
            ::pthread_mutex_unlock(&mutex);
          },
          own);
      await(other);
      CHECK(say.take() ==
            (kind == PTHREAD_MUTEX_RECURSIVE
                 ? "lock 0 again 0 busy unlock 0 free"
                 : (kind == PTHREAD_MUTEX_ERRORCHECK ? "lock 0 busy not mine unlock 0 free"
                                                     : "lock 0 busy unlock 0 free")));
      ::pthread_mutex_destroy(&mutex);
    }
    // A robust mutex tells of an owner that has ended.
    if (support::lacks_robust_mutexes()) return;
    pthread_mutex_t robust;
    ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_NORMAL);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&robust, &attributes);
    await(asyncio::create_task([&] { CHECK(::pthread_mutex_lock(&robust) == 0); }, own));
    await(asyncio::create_task(
        [&] {
          CHECK(::pthread_mutex_lock(&robust) == EOWNERDEAD);
          CHECK(::pthread_mutex_consistent(&robust) == 0);
          CHECK(::pthread_mutex_unlock(&robust) == 0);
        },
        own));
    ::pthread_mutex_destroy(&robust);
    ::pthread_mutexattr_destroy(&attributes);
  });
}

TEST_CASE("memory, locales, generators and other tasks work across the border") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    number = 100;
    std::vector<std::string> texts;
    const auto count = [](auto& self) {
      for (int i = 0; i < 3; ++i) self.yield(i);
    };
    std::optional<fiber::Generator<int>> kept;
    const auto task = asyncio::create_task(
        [&] {
          for (int i = 0; i < 1000; ++i) texts.emplace_back(100, 'x');
          const locale_t its = ::newlocale(LC_ALL_MASK, "C", nullptr);
          ::uselocale(its);
          yield();
          CHECK(::uselocale(nullptr) == its);
          ::uselocale(LC_GLOBAL_LOCALE);
          ::freelocale(its);
          // A generator that is made here, and used and dropped outside.
          kept.emplace(count);
          CHECK(kept->next() == 0);
          // A task that is made here has the loop's state, unless an option says otherwise.
          number = 5;
          CHECK(await(asyncio::create_task([] { return number; })) == 100);
          CHECK(await(asyncio::create_task([] { return number; }, own)) == 0);
          CHECK(await(asyncio::to_thread([] { return number; })) == 0);
          CHECK(number == 5);
          return asyncio::current_task().get_name();
        },
        [] {
          asyncio::TaskOptions named = own;
          named.name = "its name";
          return named;
        }());
    CHECK(await(task) == "its name");
    CHECK(::uselocale(nullptr) == LC_GLOBAL_LOCALE);
    CHECK(kept->next() == 1);
    kept.reset();
    texts.clear();
    CHECK(::sched_getcpu() >= 0);
    CHECK(await(asyncio::create_task([] { return ::sched_getcpu(); }, own)) >= 0);
  });
}

TEST_CASE("signals: raise() and the handler's errno; pthread_kill(pthread_self())") {
  if (support::lacks_own_threads()) return;
  static volatile int handled = 0;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {
    handled = handled + 1;
    errno = EDOM;
  };
  ::sigaction(SIGUSR1, &action, &before);
  asyncio::run([] {
    await(asyncio::create_task(
        [] {
          CHECK(::raise(SIGUSR1) == 0);
          CHECK(handled == 1);
          CHECK(::pthread_kill(::pthread_self(), SIGUSR1) == 0);
          CHECK(handled == 2);
          yield();
          CHECK(::raise(SIGUSR1) == 0);
          CHECK(handled == 3);
        },
        own));
  });
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE(
    "a child process that a task with own_thread_state forks goes on as a thread's child would") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    await(asyncio::create_task(
        [] {
          number = 7;
          yield();
          const pid_t child = ::fork();
          if (child == 0) {
            void* memory = ::operator new(1000);
            ::operator delete(memory);
            ::_exit(number == 7 && ::pthread_self() != 0 ? 3 : 4);
          }
          int status = 0;
          CHECK(::waitpid(child, &status, 0) == child);
          CHECK(WEXITSTATUS(status) == 3);
        },
        own));
  });
}

TEST_CASE("exit() and pthread_exit() in a task with a thread state of its own") {
  if (support::lacks_own_threads()) return;
  const support::ChildResult ended = support::run_child({.body = [] {
    asyncio::run([] {
      await(asyncio::create_task(
          [] {
            noted().name = "x";
            yield();
            std::atexit([] { static_cast<void>(!::write(1, "at exit\n", 8)); });
            std::exit(9);
          },
          own));
    });
  }});
  CHECK(ended.status == 9);
  CHECK(ended.out().find("at exit\n") != std::string::npos);
  CHECK(ended.errors == "");
  if (support::lacks_forced_unwinding()) return;
  const support::ChildResult refused = support::run_child({.body = [] {
    asyncio::run([] { await(asyncio::create_task([] { ::pthread_exit(nullptr); }, own)); });
  }});
  CHECK(refused.status == 128 + SIGABRT);
  CHECK(refused.errors.find("pthread_exit() in a task with own_thread_state") == 7);
}

TEST_CASE("unfinished tasks of a closed loop destroy their own thread state") {
  if (support::lacks_own_threads()) return;
  std::vector<std::string> list;
  Noted::list = &list;
  asyncio::run([] {
    static std::vector<asyncio::Task<void>> left;
    for (const char* name : {"a", "b"})
      left.push_back(asyncio::create_task(
          [name] {
            noted().name = name;
            await(asyncio::sleep(1h));
          },
          own));
    yield();
    left.clear();
  });
  Noted::list = nullptr;
  std::sort(list.begin(), list.end());
  CHECK((list == std::vector<std::string>{"ended a", "ended b"}));
}
