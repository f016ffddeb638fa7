// Patched calls in tasks with own_thread_state.
#include <fiber/core/own_thread.hpp>

#include <locale.h>
#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "monkey/child_reaper.hpp"
#include "monkey/support.hpp"
#include "monkey/thread_calls.hpp"
#include "support/child_process.hpp"
#include "support/own_thread.hpp"

using namespace monkey_test;
using support::own;

namespace {

const asyncio::TaskOptions shared{};

thread_local int number = 0;

}  // namespace

TEST_CASE("mutexes keep tasks apart, whether they are threads or not") {
  if (support::lacks_own_threads()) return;
  for (const int kind : {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE})
    for (const auto* first : {&own, &shared})
      for (const auto* second : {&own, &shared}) {
        CAPTURE(kind);
        CAPTURE(first->own_thread_state);
        CAPTURE(second->own_thread_state);
        Events say;
        run([&] {
          Mutex mutex(kind);
          const auto work = [&](int id) {
            CHECK(mutex.lock() == 0);
            if (kind == PTHREAD_MUTEX_RECURSIVE) CHECK(mutex.lock() == 0);
            if (kind == PTHREAD_MUTEX_ERRORCHECK) CHECK(mutex.lock() == EDEADLK);
            say(id);
            calls::usleep(1000);
            say(id);
            if (kind == PTHREAD_MUTEX_RECURSIVE) CHECK(mutex.unlock() == 0);
            CHECK(mutex.unlock() == 0);
          };
          const auto a = asyncio::create_task([&] { work(1); }, *first);
          const auto b = asyncio::create_task([&] { work(2); }, *second);
          await(a);
          await(b);
        });
        CHECK(say.take() == "1 1 2 2");
      }
}

TEST_CASE("state that a task sets for its thread stays over its patched calls") {
  if (support::lacks_own_threads()) return;
  run([] {
    const auto body = [](int id) {
      const Ends ends = socket_pair();
      const locale_t its = ::newlocale(LC_ALL_MASK, "C", nullptr);
      ::uselocale(its);
      number = id;
      int right = 0;
      for (int i = 0; i < 20; ++i) {
        errno = id;
        calls::usleep(100);
        char byte = 0;
        const bool fails = calls::read(-1, &byte, 1) == -1 && errno == EBADF;
        const auto writer = start([&] { return calls::write(ends.b, "x", 1); });
        const bool reads = calls::read(ends.a, &byte, 1) == 1;
        right += static_cast<int>(fails && reads && await(writer) == 1 && number == id &&
                                  ::uselocale(nullptr) == its);
      }
      ::uselocale(LC_GLOBAL_LOCALE);
      ::freelocale(its);
      return right;
    };
    std::vector<asyncio::Task<int>> tasks;
    for (int id = 1; id <= 8; ++id)
      tasks.push_back(asyncio::create_task([&body, id] { return body(id); }, own));
    for (const auto& task : tasks) CHECK(await(task) == 20);
  });
}

TEST_CASE("a cancelled call is cut short in a task with a thread state of its own, too") {
  if (support::lacks_own_threads()) return;
  run([] {
    int error = 0;
    const auto task = asyncio::create_task(
        [&] {
          const Ends ends = socket_pair();
          char byte = 0;
          const auto count = calls::read(ends.a, &byte, 1);
          error = count < 0 ? errno : 0;
        },
        own);
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
    CHECK(error == ECANCELED);
  });
}

TEST_CASE("in debug mode a task is named that leaves its locale to others while it waits") {
  std::vector<std::string> messages;
  asyncio::set_log_handler([&](const asyncio::LogRecord& record) {
    const auto at = record.message.find("> suspended");
    messages.push_back(at != std::string::npos ? record.message.substr(at) : record.message);
  });
  const Patch patch;
  asyncio::Runner runner({.debug = true});
  runner.run([] {
    const auto body = [] {
      const locale_t its = ::newlocale(LC_ALL_MASK, "C", nullptr);
      ::uselocale(its);
      calls::usleep(1000);  // saves the state of the thread
      await(asyncio::sleep(0ms));
      await(asyncio::sleep(0ms));  // once is enough
      ::uselocale(LC_GLOBAL_LOCALE);
      ::freelocale(its);
    };
    await(asyncio::create_task(body));
    if (fiber::core::OwnThread::why_not(true) == nullptr) await(asyncio::create_task(body, own));
  });
  asyncio::set_log_handler(nullptr);
  CHECK((messages == std::vector<std::string>{
                         "> suspended and left its locale (uselocale) to the thread, which other "
                         "tasks of this thread see. Only patched calls save it: see "
                         "own_thread_state"}));
}

TEST_CASE("in debug mode a task is named that ends and leaves its locale to others") {
  std::vector<std::string> messages;
  asyncio::set_log_handler([&](const asyncio::LogRecord& record) {
    const auto at = record.message.find(" ended and left");
    messages.push_back(at != std::string::npos ? record.message.substr(at) : record.message);
  });
  const Patch patch;
  asyncio::Runner runner({.debug = true});
  const locale_t its = ::newlocale(LC_ALL_MASK, "C", nullptr);
  runner.run([&] {
    const auto fails = [&] {
      ::uselocale(its);
      calls::usleep(1000);
      throw fiber::ValueError("before it is put back");
    };
    CHECK_THROWS_AS(await(asyncio::create_task(fails)), fiber::ValueError);
    ::uselocale(LC_GLOBAL_LOCALE);
    await(asyncio::create_task([] { calls::usleep(1); }));
  });
  ::freelocale(its);
  asyncio::set_log_handler(nullptr);
  CHECK((messages == std::vector<std::string>{
                         " ended and left its locale (uselocale) to the thread, which other tasks "
                         "of this thread see. The state of a thread ends with it, that of a task "
                         "does not: see own_thread_state"}));
}

TEST_CASE("setuid and its relatives change all threads, and come back") {
  if (support::lacks_own_threads()) return;
  const support::ChildResult ended = support::run_child({.body = [] {
    const auto must = [](bool fact, int status) {
      if (!fact) ::_exit(status);
    };
    ::alarm(60);
    run([&] {
      await(asyncio::create_task(
          [&] {
            number = 1;
            errno = 7;
            must(calls::setuid(::getuid()) == 0 && errno == 7, 10);
            const bool is_root = ::geteuid() == 0;
            const gid_t group = ::getgid();
            const int set = calls::setgroups(1, &group);
            must(is_root ? set == 0 && errno == 7 : set == -1 && errno == EPERM, 11);
            must(calls::setuid(static_cast<uid_t>(-1)) == -1 && errno == EINVAL, 12);
            calls::usleep(1000);
            must(number == 1, 13);
          },
          own));
      must(number == 0, 14);
      // While the helper of another task is parked.
      const auto other = asyncio::create_task([] { calls::usleep(5000); }, own);
      await(asyncio::sleep(0));
      must(calls::setuid(::getuid()) == 0, 15);
      await(other);
    });
    ::_exit(3);
  }});
  CHECK(ended.status == 3);
}

TEST_CASE(
    "a handler that waits for every child leaves those of system() alone, whichever child ends "
    "first") {
  if (support::lacks_own_threads()) return;
  const ChildReaper reaper;
  run([&] {
    for (const auto* first : {&own, &shared})
      for (const auto* second : {&own, &shared}) {
        CAPTURE(first->own_thread_state);
        CAPTURE(second->own_thread_state);
        const Ends ends = pipe();
        ::fcntl(ends.a, F_SETFD, 0);
        const std::string reads = "read x <&" + std::to_string(ends.a) + "; exit 5";
        const auto quick = asyncio::create_task([] { return calls::system("exit 4"); }, *first);
        const auto slow =
            asyncio::create_task([&] { return calls::system(reads.c_str()); }, *second);
        CHECK(await(quick) == 4 << 8);
        CHECK(is_blocked(SIGCHLD));
        CHECK(::write(ends.b, "\n", 1) == 1);
        CHECK(await(slow) == 5 << 8);
        CHECK_FALSE(is_blocked(SIGCHLD));
      }
    CHECK(ChildReaper::reaped() == 0);
  });
}
