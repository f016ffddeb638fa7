// alarm(): old code limits the time of a call by it.
#include <fiber/asyncio/testing.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include <sys/time.h>

#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

volatile int rung[2];
void first_handler(int) { rung[0] = rung[0] + 1; }
void second_handler(int) { rung[1] = rung[1] + 1; }

// Sets the handler of SIGALRM while it lives.
class Handles {
 public:
  explicit Handles(void (*handler)(int), int flags = 0) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    ::sigaction(SIGALRM, &action, &before_);
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() { ::sigaction(SIGALRM, &before_, nullptr); }
  const struct sigaction& before() const { return before_; }

 private:
  struct sigaction before_ {};
};

// Runs `body` on a virtual clock, with patched calls and no alarm.
template <class F>
void run_virtually(F body) {
  rung[0] = 0;
  rung[1] = 0;
  const Patch patch;
  asyncio::testing::run_test([&] { body(); });
  calls::alarm(0);
}

// Returns what a call that waits for so long says: a byte comes at its end.
template <class Time>
std::string read_for(Time time) {
  const Ends ends = socket_pair();
  const auto writer = asyncio::create_task([&] {
    await(asyncio::sleep(time));
    CHECK(calls::write(ends.b, "x", 1) == 1);
  });
  char byte = 0;
  errno = 0;
  const ssize_t count = calls::read(ends.a, &byte, 1);
  const int error = errno;
  await(writer);
  return count == 1 ? "byte" : (error == EINTR ? "EINTR" : "errno " + std::to_string(error));
}

std::string with_alarm(bool jump, bool restart) {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto other = start([&] {
      await(asyncio::sleep(1ms));
      say("other");
    });
    const ssize_t result = calls::read_with_alarm(ends.a, jump, restart);
    say(result == -1 && errno == EINTR ? "EINTR" : (result == -2 ? "jumped" : "?"));
    await(other);
    // The loop still works.
    await(asyncio::sleep(1ms));
    const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
    char byte = 0;
    CHECK(calls::read(ends.a, &byte, 1) == 1);
    await(writer);
  });
  return say.take();
}

}  // namespace

TEST_CASE("the handler of an alarm interrupts the call of the task that has set it") {
  CHECK(with_alarm(false, false) == "other EINTR");
}

TEST_CASE("the handler of an alarm may jump out of the call") {
  CHECK(with_alarm(true, false) == "other jumped");
  CHECK(with_alarm(true, true) == "other jumped");
}

TEST_CASE("a handler with SA_RESTART lets the call go on") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto writer = start([&] {
      await(asyncio::sleep(1200ms));
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    say(calls::read_with_alarm(ends.a, false, true));
    await(writer);
  });
  CHECK(say.take() == "1");
}

TEST_CASE("pause ends when the alarm has come; an alarm that was called off does not come") {
  static volatile int rung = 0;
  run([] {
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) { rung = rung + 1; };
    ::sigaction(SIGALRM, &action, &before);
    CHECK(calls::alarm(1000) == 0);
    CHECK(calls::alarm(1) >= 999);
    CHECK(calls::pause() == -1);
    CHECK(errno == EINTR);
    CHECK(rung == 1);
    CHECK(calls::ualarm(20'000, 0) == 0);
    CHECK(calls::pause() == -1);
    CHECK(errno == EINTR);
    CHECK(rung == 2);
    CHECK(calls::alarm(1000) == 0);
    CHECK(calls::alarm(0) >= 999);
    struct sigaction now {};
    ::sigaction(SIGALRM, &before, &now);
    CHECK((now.sa_handler == action.sa_handler));
  });
}

TEST_CASE("an alarm inside of an alarm: each ends its own call") {
  run_virtually([] {
    const Handles outer(first_handler);
    calls::alarm(20);
    {
      const unsigned left = calls::alarm(0);
      CHECK(left == 20);
      const Handles inner(second_handler);
      CHECK((inner.before().sa_handler == &first_handler));
      calls::alarm(5);
      CHECK(read_for(10s) == "EINTR");
      calls::alarm(left);
    }
    CHECK(rung[1] == 1);
    CHECK(read_for(100s) == "EINTR");
    CHECK(rung[0] == 1);
    CHECK(read_for(100s) == "byte");
  });
}

TEST_CASE("a call goes on when another task calls the alarm off, or takes it") {
  run_virtually([] {
    const Handles handles(first_handler);
    for (const unsigned other : {0U, 100U}) {
      const auto task = asyncio::create_task([&] {
        await(asyncio::sleep(2s));
        CHECK(calls::alarm(other) == 8);
      });
      calls::alarm(10);
      CHECK(read_for(20s) == "byte");
      await(task);
    }
    CHECK(rung[0] == 0);
  });
}

TEST_CASE("the alarm heeds a handler, a mask or SIG_IGN that came after it") {
  run_virtually([] {
    calls::alarm(10);
    const Handles late(first_handler);
    CHECK(read_for(20s) == "EINTR");
    calls::alarm(10);
    {
      const Handles later(second_handler);
      CHECK((later.before().sa_handler == &first_handler));
      CHECK(read_for(20s) == "EINTR");
    }
    CHECK(rung[0] == 1);
    CHECK(rung[1] == 1);
    calls::alarm(10);
    {
      const Handles ignored(SIG_IGN);
      CHECK(read_for(20s) == "byte");
    }
    sigset_t alone, before, pending;
    ::sigemptyset(&alone);
    ::sigaddset(&alone, SIGALRM);
    ::pthread_sigmask(SIG_BLOCK, &alone, &before);
    calls::alarm(10);
    CHECK(read_for(20s) == "byte");
    CHECK(rung[0] == 1);
    ::sigpending(&pending);
    CHECK(::sigismember(&pending, SIGALRM) == 1);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK(rung[0] == 2);
  });
}

TEST_CASE("a handler gets the signal's data and context") {
  static volatile int code;
  static void* volatile context_of_signal;
  run_virtually([] {
    struct sigaction action {
    }, before{};
    action.sa_sigaction = [](int, siginfo_t* info, void* context) {
      code = info->si_code;
      context_of_signal = context;
    };
    action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGALRM, &action, &before);
    calls::alarm(10);
    CHECK(read_for(20s) == "EINTR");
    CHECK(code == SI_KERNEL);
    CHECK(context_of_signal != nullptr);
    ::sigaction(SIGALRM, &before, &action);
    CHECK((action.sa_handler == SIG_DFL));
  });
}

TEST_CASE("a timer that repeats ends one call after the other") {
  run_virtually([] {
    const Handles handles(first_handler);
    CHECK(calls::setitimer({.it_interval = {.tv_sec = 100, .tv_usec = 0},
                            .it_value = {.tv_sec = 10, .tv_usec = 0}}) == 0);
    CHECK(read_for(50s) == "EINTR");
    CHECK(read_for(20s) == "byte");
    CHECK(read_for(500s) == "EINTR");
    CHECK(rung[0] == 2);
    itimerval last{};
    CHECK(calls::setitimer({}, &last) == 0);
    CHECK(last.it_interval.tv_sec == 100);
    CHECK(read_for(500s) == "byte");
  });
}

TEST_CASE("the time that is left is told while the task waits") {
  run_virtually([] {
    const Handles handles(first_handler);
    const auto task = asyncio::create_task([] {
      itimerval left{};
      CHECK(calls::getitimer(&left) == 0);
      CHECK(left.it_value.tv_sec >= 990);
      CHECK(calls::alarm(1000) >= 990);
    });
    calls::alarm(1000);
    CHECK(read_for(1s) == "byte");
    await(task);
  });
}

TEST_CASE("sleep tells the whole seconds that an alarm has left of it") {
  run_virtually([] {
    const Handles handles(first_handler);
    calls::alarm(1);
    CHECK(calls::sleep(10) == 9);
    CHECK(rung[0] == 1);
  });
}

TEST_CASE("a timer's value that cannot be written gives EFAULT, and the timer is set") {
  run_virtually([] {
    const Handles handles(first_handler);
    const auto nowhere = reinterpret_cast<itimerval*>(std::uintptr_t{16});
    const itimerval soon{.it_interval = {}, .it_value = {.tv_sec = 10, .tv_usec = 0}};
    CHECK(calls::setitimer(soon, nowhere) == -1);
    CHECK(errno == EFAULT);
    const auto task = asyncio::create_task([&] {
      errno = 0;
      CHECK(calls::getitimer(nowhere) == -1);
      CHECK(errno == EFAULT);
    });
    CHECK(read_for(100s) == "EINTR");
    await(task);
    CHECK(rung[0] == 1);
  });
}

TEST_CASE("the alarm of a task that waits in an await rings at once") {
  rung[0] = 0;
  run([] {
    const Handles handles(first_handler);
    CHECK(calls::ualarm(1000, 0) == 0);
    while (rung[0] == 0) await(asyncio::sleep(1ms));
    CHECK(rung[0] == 1);
  });
}
