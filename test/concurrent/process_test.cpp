#include <fiber/concurrent/process.hpp>

#include <doctest/doctest.h>

#include <fiber/concurrent/thread.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "captured.hpp"

using namespace fiber::concurrent::futures;
using namespace std::chrono_literals;
using fiber::RuntimeError;
using fiber::ValueError;

namespace {

int square(int x) { return x * x; }

struct Point {
  int x = 0;
  int y = 0;
  int sum(int more) const { return x + y + more; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(x, y);
  }
};

struct Private {
  int x;
};

// A pipe that workers inherit: `wait` blocks a worker until `open` is called in the test.
class Gate {
 public:
  Gate() { REQUIRE(pipe(ends_) == 0); }
  ~Gate() {
    close(ends_[0]);
    close(ends_[1]);
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void open(int workers = 1) const {
    for (int i = 0; i < workers; ++i) REQUIRE(write(ends_[1], "x", 1) == 1);
  }
  static void wait(int reader) {
    char c;
    if (read(reader, &c, 1) != 1) _exit(1);
  }

 private:
  int ends_[2];
};

std::set<int> open_descriptors() {
  std::set<int> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    all.insert(std::stoi(entry.path().filename()));
  return all;
}

// Returns the names of the files behind this process's descriptors, without regular files and the
// standard streams.
std::multiset<std::string> sockets() {
  std::multiset<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.starts_with("socket:") || target.find("eventfd") != std::string::npos ||
        target.find("pidfd") != std::string::npos)
      all.insert(target);
  }
  return all;
}

bool no_child_is_left() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

std::string state(const FutureBase& future) {
  const std::string text = repr(future);
  return text.substr(text.rfind('=') + 1);
}

}  // namespace

TEST_CASE("functions, members and lambdas run in another process") {
  ProcessPoolExecutor pool({.max_workers = 2});
  CHECK(pool.submit(square, 5).result() == 25);
  CHECK(pool.submit(&square, 6).result() == 36);
  CHECK(pool.submit([](int a, int b) { return a + b; }, 1, 2).result() == 3);
  CHECK(pool.submit(&Point::sum, Point{1, 2}, 3).result() == 6);
  CHECK(pool.submit(std::plus<>(), 1.5, 2.5).result() == 4.0);
  CHECK(pool.submit(getpid).result() != getpid());
  pool.submit([] {}).result();
}

TEST_CASE("values cross in both directions") {
  ProcessPoolExecutor pool({.max_workers = 1});
  using Table = std::map<std::string, std::vector<int>>;
  const auto future = pool.submit(
      [](const Table& table, std::string_view word, std::optional<int> none, const Point& point) {
        return std::tuple(table, std::string(word) + "!", none, Point{point.y, point.x});
      },
      Table{{"a", {1, 2}}, {"b", {}}}, "text", std::optional<int>(), Point{3, 4});
  const auto& [table, word, none, point] = future.result();
  CHECK(table == Table{{"a", {1, 2}}, {"b", {}}});
  CHECK(word == "text!");
  CHECK(!none);
  CHECK(point.x == 4);

  const std::string large(3'000'000, 'x');
  CHECK(pool.submit([](const std::string& text) { return text + text; }, large).result() ==
        large + large);
}

TEST_CASE("callables and values that cannot be serialised are refused at compile time") {
  using detail::CallableThatCrosses;
  using detail::ValueThatCrosses;
  int captured = 0;
  const auto capturing = [&captured] { ++captured; };
  capturing();
  static_assert(CallableThatCrosses<int (*)(int)>);
  static_assert(CallableThatCrosses<decltype(&Point::sum)>);
  static_assert(CallableThatCrosses<decltype([] {})>);
  static_assert(!CallableThatCrosses<std::remove_const_t<decltype(capturing)>>);
  static_assert(!CallableThatCrosses<std::function<void()>>);
  static_assert(ValueThatCrosses<Point>);
  static_assert(!ValueThatCrosses<Private>);
  static_assert(!ValueThatCrosses<int*>);
}

TEST_CASE("a call submitted through the base class is refused, as it cannot be serialised") {
  ProcessPoolExecutor pool;
  Executor& executor = pool;
  CHECK_THROWS_AS(static_cast<void>(executor.submit(square, 1)), fiber::TypeError);
}

TEST_CASE("exceptions come back with their type and message") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto error = [&](auto fn) { return fiber::repr(pool.submit(fn).exception()); };
  CHECK(error([] { throw ValueError("bad value"); }) == "ValueError('bad value')");
  CHECK(error([] { throw ValueError(); }) == "ValueError()");
  CHECK(error([] { throw fiber::KeyboardInterrupt(); }) == "KeyboardInterrupt()");
  CHECK(error([] { throw std::out_of_range("far"); }) == "std::out_of_range('far')");
  CHECK(error([] { throw CancelledError(); }) == "CancelledError()");
  CHECK(error([] { static_cast<void>(std::vector<int>().at(0)); }).starts_with("std::out_of_r"));
  CHECK_THROWS_AS(pool.submit([] { throw std::bad_alloc(); }).result(), std::bad_alloc);

  const auto missing = [] { fiber::raise_os_error(ENOENT, "some/file"); };
  try {
    pool.submit(missing).result();
    FAIL("no error");
  } catch (const fiber::FileNotFoundError& e) {
    CHECK(e.error_number() == ENOENT);
    CHECK(std::string(e.what()) == "[Errno 2] No such file or directory: some/file");
  }
  try {
    pool.submit([] { throw fiber::SystemExit(3); }).result();
    FAIL("no error");
  } catch (const fiber::SystemExit& e) {
    CHECK(e.code() == 3);
  }
}

TEST_CASE("other exceptions come back as RuntimeError, with the message") {
  struct OwnError : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto error = [&](auto fn) { return fiber::repr(pool.submit(fn).exception()); };
  CHECK(error([] { throw OwnError("mine"); }) == "RuntimeError('mine')");
  CHECK(error([] { throw std::string("text"); }) == "RuntimeError('text')");
  CHECK(error([] { throw 7; }) == "RuntimeError('int')");
}

TEST_CASE("of ten jobs in a pool of five, six are running, as one waits in the call queue") {
  const Gate gate;
  ProcessPoolExecutor pool({.max_workers = 5});
  std::vector<Future<void>> futures;
  std::vector<std::string> states;
  for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(&Gate::wait, gate.reader()));
  for (const auto& future : futures) states.push_back(state(future));
  std::vector<std::string> expected(6, "running>");
  expected.resize(10, "pending>");
  CHECK(states == expected);
  CHECK(!futures[5].cancel());
  CHECK(futures[9].cancel());
  gate.open(9);
  CHECK(wait(futures).not_done.empty());
  CHECK(state(futures[0]) == "finished returned NoneType>");
  CHECK(state(futures[9]) == "cancelled>");
}

TEST_CASE("jobs run at the same time in different processes") {
  ProcessPoolExecutor pool({.max_workers = 3});
  const Gate arrivals;
  const Gate gate;
  std::vector<Future<pid_t>> futures;
  const auto meet = [](int arrived, int reader) {
    if (write(arrived, "x", 1) == 1) Gate::wait(reader);
    return getpid();
  };
  for (int i = 0; i < 3; ++i)
    futures.push_back(pool.submit(meet, arrivals.writer(), gate.reader()));
  for (int i = 0; i < 3; ++i) Gate::wait(arrivals.reader());
  gate.open(3);
  std::set<pid_t> pids;
  for (const auto& future : as_completed(futures)) pids.insert(future.result());
  CHECK(pids.size() == 3);
}

TEST_CASE("map gives results in order") {
  ProcessPoolExecutor pool({.max_workers = 2});
  std::vector<int> results;
  for (int result : pool.map(square, std::vector{1, 2, 3, 4, 5})) results.push_back(result);
  CHECK(results == std::vector{1, 4, 9, 16, 25});
}

TEST_CASE("a killed worker breaks the pool for all that is unfinished and all that comes") {
  const Gate gate;
  ProcessPoolExecutor pool({.max_workers = 2});
  const auto pid = pool.submit(getpid).result();
  CHECK(pid > 0);
  std::vector<Future<void>> futures;
  for (int i = 0; i < 5; ++i) futures.push_back(pool.submit(&Gate::wait, gate.reader()));
  kill(pid, SIGKILL);
  for (const auto& future : futures) {
    CHECK_THROWS_WITH_AS(future.result(),
                         "A process in the process pool was terminated abruptly while the future "
                         "was running or pending.",
                         BrokenProcessPool);
  }
  CHECK_THROWS_WITH_AS(
      static_cast<void>(pool.submit(square, 1)),
      "A child process terminated abruptly, the process pool is not usable anymore",
      BrokenExecutor);
  CHECK(no_child_is_left());
  pool.shutdown();
}

TEST_CASE("a job that ends its process breaks the pool") {
  for (const int how : {0, 1}) {
    ProcessPoolExecutor pool({.max_workers = 1});
    const auto end = [](int way) {
      if (way == 0) _exit(0);
      raise(SIGTERM);
    };
    CHECK_THROWS_AS(pool.submit(end, how).result(), BrokenProcessPool);
  }
}

TEST_CASE("a worker that dies idle breaks the pool") {
  ProcessPoolExecutor pool({.max_workers = 1});
  kill(pool.submit(getpid).result(), SIGKILL);
  const auto broken = [&] {
    for (;;) pool.submit(square, 1).result();
  };
  CHECK_THROWS_AS(broken(), BrokenProcessPool);
}

TEST_CASE("the initializer runs first in each worker") {
  static int prepared = 0;
  ProcessPoolExecutor pool({.max_workers = 1, .initializer = [by = 7] { prepared = by; }});
  CHECK(pool.submit([] { return prepared; }).result() == 7);
  CHECK(prepared == 0);
}

TEST_CASE("a failing initializer breaks the pool") {
  Captured errors(2);
  ProcessPoolExecutor pool({.max_workers = 1, .initializer = [] { throw ValueError("no start"); }});
  CHECK_THROWS_AS(static_cast<void>(pool.submit(square, 1).result()), BrokenProcessPool);
  CHECK(errors.text() == "Exception in initializer:\nValueError: no start\n");
}

TEST_CASE("no process and no descriptor is left, of several pools at once") {
  const auto before = open_descriptors();
  {
    ProcessPoolExecutor a({.max_workers = 2});
    ProcessPoolExecutor b({.max_workers = 3});
    CHECK(a.submit(square, 1).result() == 1);
    CHECK(b.submit(square, 2).result() == 4);
    CHECK(a.submit(square, 3).result() == 9);
  }
  CHECK(no_child_is_left());
  CHECK(open_descriptors() == before);
  { const ProcessPoolExecutor never_used; }
  CHECK(open_descriptors() == before);
}

TEST_CASE("a worker has none of the descriptors of other workers and pools") {
  const auto before = sockets();
  ProcessPoolExecutor a({.max_workers = 3});
  a.submit(square, 1).result();
  ProcessPoolExecutor b({.max_workers = 1});
  const auto count = [] { return static_cast<int>(sockets().size()); };
  CHECK(b.submit(count).result() == static_cast<int>(before.size()) + 1);
  CHECK(a.submit(count).result() == static_cast<int>(before.size()) + 1);
}

TEST_CASE("our descriptors are closed in programs that are started") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto before = open_descriptors();
  pool.submit(square, 1).result();
  for (const int fd : open_descriptors()) {
    if (!before.contains(fd)) CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("output of jobs arrives when they end, and the parent's only once") {
  std::string text;
  {
    Captured output(1);
    std::fputs("parent, ", stdout);
    std::cout << "also parent, ";
    ProcessPoolExecutor pool({.max_workers = 1});
    const auto print = [](std::string word) {
      std::fputs(word.c_str(), stdout);
      std::cout << word;
    };
    pool.submit(print, "one ").result();
    std::fputs("parent between, ", stdout);
    std::fflush(stdout);
    pool.submit(print, "two ").result();
    pool.shutdown();
    text = output.text();
  }
  CHECK(text == "parent, also parent, one one parent between, two two ");
}

TEST_CASE("nothing can be submitted after a shutdown") {
  ProcessPoolExecutor pool;
  pool.shutdown();
  CHECK_THROWS_WITH_AS(static_cast<void>(pool.submit(square, 1)),
                       "cannot schedule new futures after shutdown", RuntimeError);
}

TEST_CASE("shutdown waits for all that was submitted") {
  ProcessPoolExecutor pool({.max_workers = 1});
  std::vector<Future<int>> futures;
  for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(square, i));
  pool.shutdown();
  for (int i = 0; i < 10; ++i) CHECK(futures[i].result(0s) == i * i);
  CHECK(no_child_is_left());
}

TEST_CASE("shutdown can cancel what is pending, and wakes the threads that wait for it") {
  const Gate gate;
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto running = pool.submit(&Gate::wait, gate.reader());
  const auto queued = pool.submit(&Gate::wait, gate.reader());
  const auto pending = pool.submit(&Gate::wait, gate.reader());
  std::thread opener([&] {
    wait({pending});
    gate.open(2);
  });
  pool.shutdown({.cancel_futures = true});
  opener.join();
  CHECK(pending.cancelled());
  running.result();
  queued.result();
}

TEST_CASE("after a shutdown without waiting the work goes on, even without the executor") {
  const Gate gate;
  Future<int> last;
  {
    ProcessPoolExecutor pool({.max_workers = 1});
    pool.submit(&Gate::wait, gate.reader());
    last = pool.submit(square, 3);
    pool.shutdown({.wait = false});
  }
  CHECK(!last.done());
  gate.open();
  CHECK(last.result() == 9);
  waitpid(-1, nullptr, 0);  // the workers end on their own
}

TEST_CASE("a callback may submit, but not wait for its own pool") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const Gate gate;
  Future<int> more;
  Future<std::string> refused;
  const auto first = pool.submit(&Gate::wait, gate.reader());
  first.add_done_callback([&] { more.set_result(pool.submit(square, 4).done()); });
  first.add_done_callback([&] {
    try {
      pool.shutdown();
    } catch (const RuntimeError& e) {
      refused.set_result(e.what());
    }
  });
  gate.open();
  CHECK(more.result() == 0);
  CHECK(refused.result() == "cannot join current thread");
}

TEST_CASE("a pool may be first used while other threads are busy") {
  std::atomic<bool> stop = false;
  ThreadPoolExecutor threads({.max_workers = 3});
  const auto churn = [&] {
    while (!stop) static_cast<void>(std::make_unique<std::string>(1000, 'x'));
  };
  for (int i = 0; i < 2; ++i) threads.submit(churn);
  for (int i = 0; i < 5; ++i) {
    ProcessPoolExecutor pool({.max_workers = 2});
    CHECK(pool.submit([] { return std::to_string(1.5).size(); }).result() == 8);
  }
  stop = true;
}

#ifndef FIBER_TSAN  // ThreadSanitizer ends a forked process that starts threads
TEST_CASE("a job may use pools of its own") {
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto nested = [](int x) {
    ThreadPoolExecutor threads({.max_workers = 2});
    ProcessPoolExecutor processes({.max_workers = 2});
    return threads.submit(square, x).result() + processes.submit(square, x).result();
  };
  CHECK(pool.submit(nested, 3).result() == 18);
  CHECK(pool.submit(nested, 4).result() == 32);
}
#endif

TEST_CASE("signal handlers of the parent do not run in workers") {
  const auto old = std::signal(SIGUSR1, [](int) { _exit(0); });
  ProcessPoolExecutor pool({.max_workers = 1});
  const auto is_default = [] { return std::signal(SIGUSR1, SIG_DFL) == SIG_DFL; };
  CHECK(pool.submit(is_default).result());
  std::signal(SIGUSR1, old);
}

TEST_CASE("workers die with their parent, busy or idle") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t parent = fork();
  if (parent == 0) {
    close(ends[0]);
    ProcessPoolExecutor pool({.max_workers = 2});
    pool.submit(square, 1).result();
    pool.submit(
            [](int fd) {
              if (write(fd, "x", 1) == 1)
                for (;;) pause();
            },
            ends[1])
        .result();
    _exit(0);
  }
  close(ends[1]);
  char c = 0;
  REQUIRE(read(ends[0], &c, 1) == 1);
  kill(parent, SIGKILL);
  REQUIRE(waitpid(parent, nullptr, 0) == parent);
  // The end of file comes when the last process with the other end is gone.
  CHECK(read(ends[0], &c, 1) == 0);
  close(ends[0]);
}

TEST_CASE("a future that the user ends while it waits for a worker is left out, and told") {
  const Gate gate;
  Captured errors(2);
  {
    ProcessPoolExecutor pool({.max_workers = 1});
    std::vector<Future<void>> calls;
    for (int i = 0; i < 3; ++i) calls.push_back(pool.submit(&Gate::wait, gate.reader()));
    calls.back().set_result();
    gate.open(2);
    CHECK(pool.submit(square, 3).result() == 9);
  }
  CHECK(errors.text() == "Exception in worker\nRuntimeError: Future in unexpected state\n");
}
