// alarm(): old code limits the time of a call by it.
#include <cerrno>

#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

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
