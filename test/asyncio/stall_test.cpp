#include <fiber/asyncio.hpp>
#include <fiber/asyncio/stall.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "support/descriptor.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using namespace std::chrono_literals;

namespace {

// Blocks the thread until a monitor tells so. A slow machine may keep the loop at other times, too.
class Gate {
 public:
  void block() {
    blocks_ = true;
    pollfd one{.fd = pipe_.reads, .events = POLLIN, .revents = 0};
    while (::poll(&one, 1, -1) < 0 && errno == EINTR) {
    }
    char byte;
    CHECK(::read(pipe_.reads, &byte, 1) == 1);
  }
  // A monitor's hook: keeps what is told while the thread is blocked, and opens the gate.
  std::function<void(const asyncio::Stall&)> hook() {
    return [this](const asyncio::Stall& stall) {
      if (!blocks_.exchange(false)) return;
      stalls.push_back(stall);
      CHECK(::write(pipe_.writes, "x", 1) == 1);
    };
  }

  std::vector<asyncio::Stall> stalls;

 private:
  support::Pipe pipe_;
  std::atomic<bool> blocks_{false};
};

}  // namespace

TEST_CASE("a monitor reports which task blocks the loop, and where") {
  Gate gate;
  asyncio::run([&] {
    const asyncio::StallMonitor monitor({.limit = 20ms, .hook = gate.hook()});
    const auto culprit = asyncio::create_task(asyncio::async("culprit", [&] { gate.block(); })(),
                                              {.name = "the slow one"});
    await(culprit);
    await(asyncio::create_task([&] { gate.block(); }));  // once more, without a name
  });
  const auto& stalls = gate.stalls;
  REQUIRE(stalls.size() >= 2);
  CHECK(stalls[0].duration >= 20ms);
  CHECK(stalls[0].task == "the slow one");
  CHECK(stalls[0].coroutine == "culprit");
  CHECK(stalls[1].task.find("Task-") == 0);
  REQUIRE(!stalls[0].backtrace.empty());
  CHECK(std::any_of(
      stalls[0].backtrace.begin(), stalls[0].backtrace.end(),
      [](const std::string& frame) { return frame.find("poll") != std::string::npos; }));
  const std::string text = asyncio::str(stalls[0]);
  CHECK(text.find("task 'the slow one' running culprit() keeps it\n  at ") != std::string::npos);
}

TEST_CASE("a callback that blocks the loop is reported without a task") {
  Gate gate;
  asyncio::run([&] {
    const asyncio::StallMonitor monitor({.limit = 20ms, .hook = gate.hook()});
    asyncio::get_running_loop().call_soon([&] { gate.block(); });
    await(asyncio::sleep(1ms));
  });
  const auto& stalls = gate.stalls;
  REQUIRE(!stalls.empty());
  CHECK(stalls[0].task == "");
  CHECK(asyncio::str(stalls[0]).find(" s: a callback keeps it\n") != std::string::npos);
}

TEST_CASE("without a signal a stall is noticed all the same") {
  Gate gate;
  asyncio::run([&] {
    const asyncio::StallMonitor monitor({.limit = 20ms, .hook = gate.hook(), .signal = 0});
    gate.block();
  });
  const auto& stalls = gate.stalls;
  REQUIRE(!stalls.empty());
  CHECK(stalls[0].backtrace.empty());
  CHECK(asyncio::str(stalls[0]).find("does not say why") != std::string::npos);
}

TEST_CASE("neither a loop that sleeps nor one that turns is reported as stalled") {
  int stalls = 0;
  asyncio::run([&] {
    // A generous limit: the machine itself may stall.
    const asyncio::StallMonitor monitor(
        {.limit = 2s, .hook = [&](const asyncio::Stall&) { ++stalls; }});
    await(asyncio::sleep(2500ms));
    for (int i = 0; i < 100'000; ++i) await(asyncio::sleep(0));
  });
  CHECK(stalls == 0);
}

TEST_CASE("the handler that was there before gets the signals that are not the monitor's") {
  static volatile std::sig_atomic_t signals = 0;
  signals = 0;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { signals = signals + 1; };
  ::sigaction(SIGURG, &action, &before);
  asyncio::run([&] {
    const asyncio::StallMonitor one, two;
    ::raise(SIGURG);
    CHECK(signals == 1);
  });
  ::raise(SIGURG);
  CHECK(signals == 2);
  ::sigaction(SIGURG, &before, nullptr);
}

TEST_CASE("a monitor needs a running loop, a limit, and a signal that can be caught") {
  CHECK(support::thrown_by([] { const asyncio::StallMonitor monitor; }) ==
        "RuntimeError('no running event loop')");
  asyncio::run([] {
    CHECK(support::thrown_by([] { const asyncio::StallMonitor monitor({.limit = 0s}); }) ==
          "ValueError('StallMonitor: limit must be positive')");
    const auto with_signal = [](int signal) {
      return support::thrown_by([&] { const asyncio::StallMonitor monitor({.signal = signal}); });
    };
    CHECK(with_signal(-1) == "ValueError('StallMonitor: there is no signal -1')");
    CHECK(with_signal(NSIG) ==
          "ValueError('StallMonitor: there is no signal " + std::to_string(NSIG) + "')");
    // A refused signal stays refused.
    for (int i = 0; i < 2; ++i) {
      for (const int signal : {SIGKILL, SIGSTOP})
        CHECK(with_signal(signal) ==
              "RuntimeError('sig " + std::to_string(signal) + " cannot be caught')");
    }
    CHECK(with_signal(SIGUSR2) == "");
  });
}
