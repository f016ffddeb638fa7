#include "monkey/support.hpp"

#include <cerrno>
#include <csignal>

using namespace monkey_test;

namespace {

// Blocks a signal while it lives, as code that waits for the signal does.
class Blocked {
 public:
  explicit Blocked(int signal) {
    ::sigemptyset(&set);
    ::sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  ~Blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  sigset_t set;

 private:
  sigset_t before_;
};

}  // namespace

TEST_CASE("sigwait and sigwaitinfo let another task run, which sends the signal") {
  Events say;
  const Blocked blocked(SIGUSR1);
  run([&] {
    const auto sender = start([&] {
      say("sends");
      ::kill(::getpid(), SIGUSR1);
      await(asyncio::sleep(1ms));
      say("sends");
      ::sigqueue(::getpid(), SIGUSR1, {.sival_int = 42});
    });
    int signal = 0;
    errno = 0;
    CHECK(calls::sigwait(&blocked.set, &signal) == 0);
    say(signal == SIGUSR1 ? "USR1" : "?");
    siginfo_t info{};
    CHECK(calls::sigwaitinfo(&blocked.set, &info) == SIGUSR1);
    CHECK(errno == 0);
    say(info.si_value.sival_int);
    await(sender);
  });
  CHECK(say.take() == "sends USR1 sends 42");
}

TEST_CASE("sigtimedwait takes what is pending, and gives up in time") {
  const Blocked blocked(SIGUSR1);
  run([&] {
    int turns = 0;
    const auto other = start([&] {
      for (;; ++turns) await(asyncio::sleep(0));
    });
    const timespec soon{.tv_sec = 0, .tv_nsec = 3'000'000};
    CHECK(calls::sigtimedwait(&blocked.set, nullptr, &soon) == -1);
    CHECK(errno == EAGAIN);
    CHECK(turns > 0);
    ::raise(SIGUSR1);
    CHECK(calls::sigtimedwait(&blocked.set, nullptr, &soon) == SIGUSR1);
    other.cancel();
  });
}

TEST_CASE("a cancelled sigwait returns ECANCELED, and the signal stays") {
  const Blocked blocked(SIGUSR1);
  run([&] {
    int result = 0, signal = 0;
    const auto task = start([&] { result = calls::sigwait(&blocked.set, &signal); });
    await(asyncio::sleep(1ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(result == ECANCELED);
    CHECK(task.cancelled());
    ::raise(SIGUSR1);
    const timespec none{};
    CHECK(calls::sigtimedwait(&blocked.set, nullptr, &none) == SIGUSR1);
  });
}
