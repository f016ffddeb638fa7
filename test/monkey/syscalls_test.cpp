// Calls that code makes by syscall().
#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "monkey/support.hpp"
#include "support/child_process.hpp"

using namespace monkey_test;

namespace {

long as_long(const void* pointer) {
  return static_cast<long>(reinterpret_cast<std::intptr_t>(pointer));
}

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  return calls::syscall(number, a, b, c, d, e, f);
}

}  // namespace

TEST_CASE("calls that wait do so on the loop") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto other = start([&] {
      say("other");
      CHECK(call(SYS_write, ends.b, as_long("abc"), 3) == 3);
    });
    char text[4] = {};
    CHECK(call(SYS_read, ends.a, as_long(text), 3) == 3);
    say(text);
    await(other);
    const auto sleeper = start([&] {
      const timespec time{.tv_sec = 0, .tv_nsec = 5'000'000};
      CHECK(call(SYS_nanosleep, as_long(&time), 0) == 0);
      say("slept");
    });
    const auto poller = start([&] {
      pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
      CHECK(call(SYS_ppoll, as_long(&one), 1, 0, 0, 8) == 1);
      say("readable");
    });
    await(asyncio::sleep(0));
    CHECK(calls::write(ends.b, "x", 1) == 1);
    await(poller);
    await(sleeper);
  });
  CHECK(say.take() == "other abc readable slept");
}

TEST_CASE("calls that move bytes between descriptors, and pause, wait on the loop, too") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const Ends from = monkey_test::pipe();
    const auto other = start([&] {
      say("other");
      CHECK(calls::write(from.b, "abc", 3) == 3);
    });
    CHECK(call(SYS_splice, from.a, 0, ends.b, 0, 3, 0) == 3);
    await(other);
    say("spliced");
#if defined(SYS_pause)
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before);
    const itimerval soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 20'000}};
    CHECK(call(SYS_setitimer, ITIMER_REAL, as_long(&soon), 0) == 0);
    const auto beside = start([&] { say("beside"); });
    CHECK(call(SYS_pause) == -1);
    CHECK(errno == EINTR);
    await(beside);
    ::sigaction(SIGALRM, &before, nullptr);
#endif
  });
  CHECK(std::string_view(say.take()).starts_with("other spliced"));
}

TEST_CASE("a call that would not wait is the kernel's, and so are its errors") {
  run([] {
    CHECK(call(SYS_getpid) == ::getpid());
    char byte = 0;
    CHECK(call(SYS_read, -1, as_long(&byte), 1) == -1);
    CHECK(errno == EBADF);
    CHECK(call(-1) == -1);
    CHECK(errno == ENOSYS);
  });
}

TEST_CASE("close_range and close by their numbers leave the loop its own descriptors") {
  const support::ChildResult child = support::run_child({.body = [] {
    run([] {
      if (call(SYS_close_range, 3, ~0U, 0) != 0) std::_Exit(1);
      for (long fd = 3; fd < 64; ++fd) static_cast<void>(call(SYS_close, fd));
      const Ends ends = socket_pair();
      const auto writer = start([&] { static_cast<void>(calls::write(ends.b, "x", 1)); });
      char byte = 0;
      if (calls::read(ends.a, &byte, 1) != 1) std::_Exit(2);
      await(writer);
      std::_Exit(0);
    });
  }});
  CHECK(child.status == 0);
  CHECK(child.errors == "");
}

TEST_CASE("calls of syscall are cut short as the policy of their object says") {
  struct Row {
    monkey::Cancel policy;
    int of_read, of_futex;
  };
  Dl_info where{};
  REQUIRE(::dladdr(reinterpret_cast<void*>(calls::syscall), &where) != 0);
  for (const Row& row :
       {Row{monkey::Cancel::error, ECANCELED, EINTR}, Row{monkey::Cancel::interrupt, EINTR, EINTR},
        Row{monkey::Cancel::never, 0, 0}}) {
    CAPTURE(static_cast<int>(row.policy));
    REQUIRE(monkey::patch_library(where.dli_fname, {.cancel = row.policy}) > 0);
    asyncio::run([&] {
      const Ends ends = socket_pair();
      static std::atomic<std::uint32_t> word{0};
      word = 0;
      const auto reader = start([&] {
        char byte = 0;
        CHECK((call(SYS_read, ends.a, as_long(&byte), 1) == 1 ? 0 : errno) == row.of_read);
      });
      const auto waiter = start([&] {
        CHECK((call(SYS_futex, as_long(&word), FUTEX_WAIT_PRIVATE, 0) == 0 ? 0 : errno) ==
              row.of_futex);
      });
      await(asyncio::sleep(1ms));
      reader.cancel();
      waiter.cancel();
      await(asyncio::sleep(1ms));
      word = 1;
      CHECK(::write(ends.b, "x", 1) == 1);
      await(asyncio::wait(std::vector{reader, waiter}));
      CHECK(reader.cancelled());
      CHECK(waiter.cancelled());
    });
    monkey::unpatch();
  }
}
