#include "monkey/support.hpp"

#include <fiber/asyncio/testing.hpp>

#include <sched.h>
#include <threads.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <thread>

using namespace monkey_test;

namespace {

// Runs `body` on a virtual clock: an hour takes no time, unless a sleep is not patched.
template <class F>
void run_virtually(F body) {
  const Patch patch;
  asyncio::testing::run_test([&] { body(); });
}

double seconds() {
  return std::chrono::duration<double>(asyncio::get_running_loop().time()).count();
}

}  // namespace

TEST_CASE("sleep and its relatives sleep on the loop's clock") {
  run_virtually([] {
    double before = seconds();
    const auto took = [&] {
      const double start = before;
      before = seconds();
      return before - start;
    };
    CHECK(calls::sleep(3600) == 0);
    CHECK(took() == doctest::Approx(3600));
    CHECK(calls::usleep(500'000) == 0);
    CHECK(took() == doctest::Approx(0.5));
    const timespec hour{.tv_sec = 3600, .tv_nsec = 250'000'000};
    CHECK(calls::nanosleep(&hour, nullptr) == 0);
    CHECK(took() == doctest::Approx(3600.25));
    CHECK(calls::clock_nanosleep(CLOCK_REALTIME, 0, &hour, nullptr) == 0);
    CHECK(took() == doctest::Approx(3600.25));
    CHECK(calls::thrd_sleep(&hour, nullptr) == 0);
    CHECK(took() == doctest::Approx(3600.25));
    timespec until;
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 100;
    CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == 0);
    CHECK(took() == doctest::Approx(100).epsilon(0.01));
    until = {};  // the machine's start: earlier times are refused, and it may be seconds ago
    CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == 0);
    CHECK(took() == doctest::Approx(0));
    calls::sleep_for(std::chrono::hours(2));
    CHECK(took() == doctest::Approx(7200));
    calls::sleep_until(std::chrono::steady_clock::now() + std::chrono::hours(1));
    CHECK(took() >= 3599);
  });
}

TEST_CASE("sleepers overlap, and wake in the order of their deadlines") {
  Events say;
  run_virtually([&] {
    const auto sleeper = [&](unsigned time) {
      return start([&say, time] {
        calls::sleep(time);
        say(time);
      });
    };
    const auto a = sleeper(3), b = sleeper(1), c = sleeper(2);
    await(asyncio::gather(a, b, c));
    CHECK(seconds() == doctest::Approx(3).epsilon(0.1));
  });
  CHECK(say.take() == "1 2 3");
}

TEST_CASE("sleep(0) and sched_yield let other tasks run") {
  run([] {
    bool flag = false;
    const auto other = start([&] { flag = true; });
    while (!flag) calls::yield();
    await(other);
    const auto again = start([&] { flag = false; });
    while (flag) calls::usleep(0);
    await(again);
  });
}

TEST_CASE("wrong arguments give the errors of libc") {
  run([] {
    const timespec wrong{.tv_sec = 0, .tv_nsec = 2'000'000'000};
    CHECK(calls::nanosleep(&wrong, nullptr) == -1);
    CHECK(errno == EINVAL);
    CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, nullptr) == EINVAL);
  });
}

TEST_CASE("a cancelled sleep says what was left") {
  run_virtually([] {
    timespec rest{};
    unsigned left = 0;
    int error = 0;
    const auto sleeper = start([&] {
      const timespec long_time{.tv_sec = 100, .tv_nsec = 0};
      CHECK(calls::nanosleep(&long_time, &rest) == -1);
      error = errno;
      left = calls::sleep(10);  // the cancellation stands
      timespec other{};
      CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, &other) == ECANCELED);
      CHECK(other.tv_sec >= 99);
      // With an absolute time, the remaining time is not written.
      timespec until{}, untouched{.tv_sec = 7, .tv_nsec = 7};
      ::clock_gettime(CLOCK_MONOTONIC, &until);
      until.tv_sec += 100;
      CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &untouched) ==
            ECANCELED);
      CHECK(untouched.tv_sec == 7);
    });
    await(asyncio::sleep(40s));
    sleeper.cancel();
    await(asyncio::wait(std::vector{sleeper}));
    CHECK(sleeper.cancelled());
    CHECK(error == ECANCELED);
    CHECK(rest.tv_sec >= 59);
    CHECK(rest.tv_sec <= 60);
    CHECK((left == 9 || left == 10));  // whole seconds
  });
}
