// Permitted operations in a child made by fork(), which must not affect the parent.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/stall.hpp>
#include <fiber/core/block_pool.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;

namespace {

// Returns the status of a child that runs `body`, which must end by returning.
template <class F>
int status_of_child(F&& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = 99;
    try {
      status = body();
    } catch (...) {
      // 99
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int use_loop() {
  return asyncio::run([] {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) return 1;
    const auto loop = asyncio::get_running_loop();
    const auto received = asyncio::create_task([&] { return await(loop.sock_recv(ends[0], 10)); });
    await(asyncio::sleep(1ms));
    await(loop.sock_sendall(ends[1], "hello"));
    const int answer = await(received) == "hello" ? 42 : 2;
    ::close(ends[0]);
    ::close(ends[1]);
    return answer;
  });
}

}  // namespace

TEST_CASE("a child runs loops of its own, whether the parent had one or not") {
  CHECK(status_of_child(use_loop) == 42);
  CHECK(use_loop() == 42);
  CHECK(status_of_child(use_loop) == 42);
}

TEST_CASE("a child that is forked in a task is in no loop") {
  asyncio::run([] {
    CHECK(status_of_child([] {
            CHECK_THROWS_AS(asyncio::get_running_loop(), fiber::RuntimeError);
            return support::thrown_by([] {
                     await(asyncio::sleep(1ms));
                   }).starts_with("RuntimeError('await() was called outside of a task")
                       ? 7
                       : 8;
          }) == 7);
    CHECK(status_of_child(use_loop) == 42);
    await(asyncio::sleep(1ms));
  });
}

TEST_CASE("a child's calls on the descriptors of its parent's loop do not affect the parent") {
  asyncio::run([] {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    const auto loop = asyncio::get_running_loop();
    support::Events events;
    loop.add_reader(ends[0], [&] {
      char byte;
      (void)!::read(ends[0], &byte, 1);
      events("read");
    });
    await(asyncio::sleep(0));
    CHECK(status_of_child([&] {
            loop.remove_reader(ends[0]);
            loop.call_soon_threadsafe([] {});
            return 5;
          }) == 5);
    (void)!::write(ends[1], "x", 1);
    await(asyncio::sleep(20ms));
    CHECK(events.take() == "read");
    // Wake-ups from threads still arrive.
    CHECK(await(asyncio::to_thread([] { return 42; })) == 42);
    loop.remove_reader(ends[0]);
    ::close(ends[0]);
    ::close(ends[1]);
  });
}

TEST_CASE("generators and greenlets go on in the child where they were") {
  const fiber::Generator<int> numbers = [](auto& self) {
    for (int i = 0;; ++i) self.yield(i);
  };
  CHECK(numbers.next() == 0);
  CHECK(status_of_child([&] { return numbers.next() + numbers.next(); }) == 3);
  CHECK(numbers.next() == 1);
}

TEST_CASE("a child that ends by exit() in the middle of a task ends with its status") {
  std::fflush(stdout);
  const auto result = support::run_child({.body = [] {
    asyncio::run([] {
      const auto other = asyncio::create_task([] { await(asyncio::sleep(1h)); });
      await(asyncio::sleep(0));
      const pid_t pid = ::fork();
      if (pid == 0) std::exit(3);
      int status = 0;
      ::waitpid(pid, &status, 0);
      std::printf("child %d\n", WEXITSTATUS(status));
      await(asyncio::sleep(1ms));
      std::printf("parent goes on\n");
      other.cancel();
    });
    std::fflush(stdout);
  }});
  CHECK(result.out() == "child 3\nparent goes on\n");
  CHECK(result.errors == "");
  CHECK(result.status == 0);
}

TEST_CASE("a child has none of the watchers of its parent, and may have its own") {
  asyncio::run([] {
    auto monitor = std::make_unique<asyncio::StallMonitor>(asyncio::StallOptions{.limit = 1h});
    asyncio::print_call_graphs_on_signal(asyncio::get_running_loop(), SIGUSR1);
    CHECK(status_of_child([&] {
            ::alarm(60);
            monitor.reset();
            return asyncio::run([] {
              std::atomic<int> stalls{0};
              {
                const asyncio::StallMonitor own(
                    {.limit = 1ms, .hook = [&](const asyncio::Stall&) { ++stalls; }});
                while (stalls == 0) std::this_thread::sleep_for(1ms);
              }
              return 42;
            });
          }) == 42);
    asyncio::get_running_loop().remove_signal_handler(SIGUSR1);
  });
}

TEST_CASE("an executor is refused in a child, which does not have its threads") {
  namespace futures = fiber::concurrent::futures;
  futures::ThreadPoolExecutor pool({.max_workers = 1});
  CHECK(pool.submit([] { return 1; }).result() == 1);
  std::fflush(stdout);
  const auto result = support::run_child({.body = [&] {
    ::alarm(60);
    std::puts(support::thrown_by([&] { pool.submit([] {}); }).c_str());
    futures::ThreadPoolExecutor own;
    std::printf("%d\n", own.submit([] { return 42; }).result());
    pool.shutdown({});
    std::fflush(stdout);
  }});
  CHECK(result.out() ==
        "RuntimeError('the threads of this executor are those of the parent process: make an "
        "executor of your own after fork()')\n42\n");
  CHECK(result.status == 0);
  CHECK(pool.submit([] { return 2; }).result() == 2);
}

TEST_CASE("a child that a job forks has the program's signal mask, not that of the thread") {
  fiber::concurrent::futures::ThreadPoolExecutor pool;
  CHECK(pool.submit([] {
              return status_of_child([] {
                sigset_t mask;
                ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
                return ::sigismember(&mask, SIGTERM) ? 1 : 42;
              });
            })
            .result() == 42);
  // A child process that runs a loop of its own.
  CHECK(pool.submit([] {
              return asyncio::run([] {
                auto child =
                    await(asyncio::create_subprocess_exec({"grep", "SigBlk", "/proc/self/status"},
                                                          {.stdout_ = asyncio::subprocess::PIPE}));
                return await(child.communicate()).first;
              });
            })
            .result() == "SigBlk:\t0000000000000000\n");
}

TEST_CASE("a child gets memory for its tasks, whatever other threads were doing with theirs") {
  using fiber::core::BlockPool;
  constexpr std::size_t kSize = 333;
  const auto use_pool = [] {
    BlockPool pool;
    pool.release(pool.allocate(kSize), kSize);
  };
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) use_pool();
  });
  int ended = 0;
  for (int i = 0; i < 100 && ended == i; ++i)
    ended += status_of_child([&] {
               ::alarm(20);
               use_pool();
               return 42;
             }) == 42;
  stop = true;
  other.join();
  CHECK(ended == 100);
}
