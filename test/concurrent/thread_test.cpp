#include <fiber/concurrent/thread.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <new>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "captured.hpp"
#include "support/platform.hpp"

using namespace fiber::concurrent::futures;
using namespace std::chrono_literals;
using fiber::RuntimeError;
using fiber::ValueError;

namespace {

int square(int x) { return x * x; }

std::string thread_name() {
  char name[16];
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

struct Account {
  int balance = 10;
  int add(int x) { return balance += x; }
};

}  // namespace

TEST_CASE("submit runs functions, lambdas and members with their arguments") {
  ThreadPoolExecutor pool({.max_workers = 2});
  CHECK(pool.submit(square, 5).result() == 25);
  CHECK(pool.submit([](std::string a, const char* b) { return a + b; }, "ab", "cd").result() ==
        "abcd");
  Account account;
  CHECK(pool.submit(&Account::add, &account, 5).result() == 15);
  pool.submit([](int& x) { ++x; }, std::ref(account.balance)).result();
  CHECK(account.balance == 16);
}

TEST_CASE("callables, arguments and results may be move-only") {
  ThreadPoolExecutor pool;
  Future<std::unique_ptr<int>> future = pool.submit(
      [factor = std::make_unique<int>(2)](std::unique_ptr<int> x) {
        *x *= *factor;
        return x;
      },
      std::make_unique<int>(21));
  CHECK(*future.take_result() == 42);
}

TEST_CASE("what a call throws is what its result throws") {
  ThreadPoolExecutor pool;
  const Future<int> future = pool.submit([]() -> int { throw ValueError("no"); });
  CHECK_THROWS_WITH_AS(static_cast<void>(future.result()), "no", ValueError);
  const Future<void> interrupted = pool.submit([] { throw fiber::KeyboardInterrupt(); });
  CHECK_THROWS_AS(interrupted.result(), fiber::KeyboardInterrupt);
}

TEST_CASE("of ten jobs in a pool of five, five are running and five pending") {
  std::latch go(1);
  std::vector<Future<int>> futures;
  std::vector<std::string> states;
  {
    ThreadPoolExecutor pool({.max_workers = 5});
    for (int i = 0; i < 10; ++i) {
      futures.push_back(pool.submit([&go, i] {
        go.wait();
        return i;
      }));
      const std::string text = repr(futures.back());
      states.push_back(text.substr(text.rfind('=') + 1));
    }
    go.count_down();
  }
  std::vector<std::string> expected(5, "running>");
  expected.resize(10, "pending>");
  CHECK(states == expected);
  for (int i = 0; i < 10; ++i) CHECK(futures[i].result() == i);
}

TEST_CASE("one thread does its jobs in the order submitted") {
  std::vector<int> order;
  {
    ThreadPoolExecutor pool({.max_workers = 1});
    for (int i = 0; i < 100; ++i) pool.submit([&order, i] { order.push_back(i); });
  }
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(order[i] == i);
}

TEST_CASE("a thread is started only when none is idle") {
  std::mutex mutex;
  std::set<std::thread::id> ids;
  const auto remember = [&] {
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  };
  ThreadPoolExecutor pool({.max_workers = 3});
  std::latch both(3);
  const auto meet = [&] {
    remember();
    both.arrive_and_wait();
  };
  const auto a = pool.submit(meet);
  const auto b = pool.submit(meet);
  CHECK(a.running());
  CHECK(b.running());
  both.arrive_and_wait();
  a.result();
  b.result();
  CHECK(ids.size() == 2);
  for (int i = 0; i < 50; ++i) pool.submit(remember).result();
  CHECK(ids.size() <= 3);
}

TEST_CASE("threads are named after the prefix, the number always shown") {
  if (support::lacks_thread_names()) return;
  ThreadPoolExecutor pool({.max_workers = 2, .thread_name_prefix = "crawl"});
  std::latch both(2);
  const auto name = [&] {
    both.arrive_and_wait();
    return thread_name();
  };
  const auto first = pool.submit(name);
  const auto second = pool.submit(name);
  CHECK(std::set{first.result(), second.result()} == std::set<std::string>{"crawl_0", "crawl_1"});

  ThreadPoolExecutor unnamed({.max_workers = 1});
  CHECK(unnamed.submit(thread_name).result() == "ThreadPoolExe_0");
}

TEST_CASE("max_workers must be positive") {
  CHECK_THROWS_WITH_AS(ThreadPoolExecutor({.max_workers = 0}), "max_workers must be greater than 0",
                       ValueError);
}

TEST_CASE("a pending job can be cancelled and is not run") {
  std::latch go(1);
  std::atomic<bool> ran = false;
  ThreadPoolExecutor pool({.max_workers = 1});
  const auto blocker = pool.submit([&] { go.wait(); });
  const auto victim = pool.submit([&] { ran = true; });
  const auto last = pool.submit([] { return 7; });
  CHECK(!blocker.cancel());
  CHECK(victim.cancel());
  go.count_down();
  CHECK(last.result() == 7);
  CHECK(wait({victim}).done.size() == 1);
  CHECK(!ran);
}

TEST_CASE("what a job holds is gone when its future is done") {
  ThreadPoolExecutor pool;
  const auto token = std::make_shared<int>(1);
  for (int i = 0; i < 100; ++i) {
    pool.submit([copy = token](std::shared_ptr<int>) {}, token).result();
    CHECK(token.use_count() == 1);
  }
}

TEST_CASE("callbacks run in the worker thread") {
  std::latch go(1);
  std::binary_semaphore called(0);
  std::thread::id caller;
  ThreadPoolExecutor pool({.max_workers = 1});
  const auto worker = pool.submit([] { return std::this_thread::get_id(); });
  const auto future = pool.submit([&] { go.wait(); });
  future.add_done_callback([&] {
    caller = std::this_thread::get_id();
    called.release();
  });
  go.count_down();
  called.acquire();
  CHECK(caller == worker.result());
}

TEST_CASE("a callback that throws an interrupt does not end the worker") {
  Captured errors(2);
  {
    ThreadPoolExecutor pool({.max_workers = 1});
    std::latch go(1);
    const auto future = pool.submit([&] { go.wait(); });
    future.add_done_callback([] { throw fiber::KeyboardInterrupt(); });
    go.count_down();
    CHECK(pool.submit(square, 3).result() == 9);
  }
  CHECK(errors.text() == "Exception in worker\nKeyboardInterrupt\n");
}

TEST_CASE("nothing can be submitted after a shutdown") {
  ThreadPoolExecutor pool;
  const auto future = pool.submit(square, 2);
  pool.shutdown();
  CHECK(future.done());
  pool.shutdown();
  CHECK_THROWS_WITH_AS(static_cast<void>(pool.submit(square, 2)),
                       "cannot schedule new futures after shutdown", RuntimeError);
}

TEST_CASE("shutdown waits for all that was submitted") {
  std::atomic<int> count = 0;
  ThreadPoolExecutor pool({.max_workers = 2});
  std::vector<Future<void>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(pool.submit([&] { ++count; }));
  pool.shutdown();
  CHECK(count == 20);
}

TEST_CASE("shutdown can cancel what is pending, and wakes the threads that wait for it") {
  std::latch go(1);
  ThreadPoolExecutor pool({.max_workers = 1});
  const auto running = pool.submit([&] { go.wait(); });
  const auto pending = pool.submit(square, 2);
  std::thread opener([&] {
    wait(std::vector{pending});
    go.count_down();
  });
  pool.shutdown({.cancel_futures = true});
  opener.join();
  CHECK(pending.cancelled());
  CHECK(running.done());
  CHECK(!running.cancelled());
}

TEST_CASE("after a shutdown without waiting the work goes on, even without the executor") {
  std::latch go(1);
  Future<int> queued;
  {
    ThreadPoolExecutor pool({.max_workers = 1});
    pool.submit([&] { go.wait(); });
    queued = pool.submit(square, 4);
    pool.shutdown({.wait = false});
  }
  CHECK(!queued.done());
  go.count_down();
  CHECK(queued.result() == 16);
}

TEST_CASE("a worker cannot wait for itself") {
  ThreadPoolExecutor pool;
  const auto future = pool.submit([&] { pool.shutdown(); });
  CHECK_THROWS_WITH_AS(future.result(), "cannot join current thread", RuntimeError);
}

TEST_CASE("a job may destroy its own executor") {
  auto pool = std::make_unique<ThreadPoolExecutor>();
  ThreadPoolExecutor& reference = *pool;
  std::latch go(1);
  const auto future = reference.submit([&, mine = std::move(pool)]() mutable {
    go.wait();
    mine.reset();
    return 1;
  });
  go.count_down();
  CHECK(future.result() == 1);
}

TEST_CASE("the initializer runs first in each thread") {
  static thread_local int prepared = 0;
  ThreadPoolExecutor pool({.max_workers = 2, .initializer = [] { prepared = 7; }});
  std::latch both(2);
  const auto read = [&] {
    both.arrive_and_wait();
    return prepared;
  };
  const auto a = pool.submit(read);
  const auto b = pool.submit(read);
  CHECK(a.result() + b.result() == 14);
}

TEST_CASE("a failing initializer breaks the pool") {
  Captured errors(2);
  std::latch submitted(1);
  ThreadPoolExecutor pool({.max_workers = 1, .initializer = [&] {
                             submitted.wait();
                             throw ValueError("cannot start");
                           }});
  const auto a = pool.submit(square, 1);
  const auto b = pool.submit(square, 2);
  CHECK(b.cancel());
  CHECK(!a.running());
  submitted.count_down();
  const char* message = "A thread initializer failed, the thread pool is not usable anymore";
  CHECK_THROWS_WITH_AS(static_cast<void>(a.result()), message, BrokenThreadPool);
  CHECK_THROWS_WITH_AS(static_cast<void>(pool.submit(square, 1)), message, BrokenExecutor);
  pool.shutdown();
  CHECK(errors.text() == "Exception in initializer:\nValueError: cannot start\n");
}

TEST_CASE("map gives results in order, over the shortest of its ranges") {
  ThreadPoolExecutor pool({.max_workers = 3});
  std::vector<int> results;
  for (int result : pool.map(square, std::vector{1, 2, 3, 4})) results.push_back(result);
  CHECK(results == std::vector{1, 4, 9, 16});

  std::vector<std::string> repeated;
  const std::vector<std::string> words{"a", "b", "c"};
  const auto repeat = [](const std::string& word, int n) {
    return std::string(static_cast<std::size_t>(n), word[0]);
  };
  for (auto& text : pool.map(repeat, words, std::vector{3, 2})) repeated.push_back(text);
  CHECK(repeated == std::vector<std::string>{"aaa", "bb"});
}

TEST_CASE("map raises where the failed call's result would be, and cancels the rest") {
  ThreadPoolExecutor pool({.max_workers = 1});
  std::latch go(1);
  std::atomic<int> calls = 0;
  const auto work = [&](int x) {
    ++calls;
    if (x == 2) {
      throw ValueError("two");
    }
    if (x == 3) go.wait();
    return x;
  };
  std::vector<int> results;
  const auto collect = [&] {
    for (int x : pool.map(work, std::vector{1, 2, 3, 4, 5})) results.push_back(x);
  };
  CHECK_THROWS_WITH_AS(collect(), "two", ValueError);
  go.count_down();
  pool.shutdown();
  CHECK(results == std::vector{1});
  CHECK(calls <= 3);
}

TEST_CASE("map has a limit of time, if wanted") {
  std::latch go(1);
  ThreadPoolExecutor pool({.max_workers = 1});
  const auto collect = [&] {
    for (auto none : pool.map(
             {.timeout = 0s}, [&](int) { go.wait(); }, std::vector{1, 2}))
      static_cast<void>(none);
  };
  CHECK_THROWS_AS(collect(), TimeoutError);
  go.count_down();
}

TEST_CASE("any executor can be used through its base, and written by users") {
  struct Inline final : Executor {
    void shutdown(ShutdownOptions) override {}
    void submit_work(std::unique_ptr<Work> work) override { work->run(); }
  } here;
  Executor& executor = here;
  CHECK(executor.submit(square, 6).result() == 36);
  ThreadPoolExecutor pool;
  Executor& threads = pool;
  CHECK(threads.submit(square, 7).result() == 49);
}

TEST_CASE("many threads may submit at once") {
  std::atomic<int> sum = 0;
  {
    ThreadPoolExecutor pool({.max_workers = 3});
    std::vector<std::thread> submitters;
    for (int t = 0; t < 4; ++t) {
      submitters.emplace_back([&] {
        for (int i = 0; i < 250; ++i) CHECK_NOTHROW(static_cast<void>(pool.submit([&] { ++sum; })));
      });
    }
    for (std::thread& submitter : submitters) submitter.join();
  }
  CHECK(sum == 1000);
}

TEST_CASE("the program's exit waits for a pool that nobody waited for") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    static std::latch exiting(1);
    auto* leaked = new ThreadPoolExecutor({.max_workers = 1});
    static_cast<void>(leaked->submit([fd = ends[1]] {
      exiting.wait();
      if (write(fd, "done", 4) != 4) std::abort();
    }));
    std::atexit([] { exiting.count_down(); });  // runs before the pool's own handler
    std::exit(0);
  }
  close(ends[1]);
  char text[5] = {};
  CHECK(read(ends[0], text, 4) == 4);
  CHECK(std::string(text) == "done");
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("map takes the elements of ranges whose references are objects of their own") {
  ThreadPoolExecutor pool({.max_workers = 1});
  std::latch is_mapped(1);
  const auto busy = pool.submit([&] { is_mapped.wait(); });
  auto results = pool.map([](bool b) { return b ? 1 : 0; }, std::vector<bool>(6400, true));
  const std::vector<char> reused(800, 0);
  is_mapped.count_down();
  int sum = 0;
  for (const int each : results) sum += each;
  CHECK(sum == 6400);
}

TEST_CASE("a result that cannot be moved is the exception of its future") {
  struct Copied {
    int copies_left;
    explicit Copied(int its_copies_left) : copies_left(its_copies_left) {}
    Copied(const Copied& other) : copies_left(other.copies_left - 1) {
      if (copies_left < 0) throw std::bad_alloc();
    }
    ~Copied() = default;
  };
  ThreadPoolExecutor pool({.max_workers = 1});
  int failed = 0;
  for (int copies = 0; copies < 8; ++copies) {
    const auto future = pool.submit([copies] { return Copied(copies); });
    try {
      static_cast<void>(future.result(20s));
    } catch (const std::bad_alloc&) {
      ++failed;
    }
  }
  CHECK(failed > 2);
  CHECK(failed < 8);
}
