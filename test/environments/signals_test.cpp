// Programs with signal handlers of their own, installed before or after ours.
#include <fiber/asyncio.hpp>
#include <fiber/config.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;

namespace {

[[maybe_unused]] void say(const char* text) {
  (void)!::write(STDOUT_FILENO, text, std::strlen(text));
}

void install(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

support::ChildResult in_child(void (*body)()) { return support::run_child({.body = body}); }

std::atomic<int> interrupts{0};

}  // namespace

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers report faults themselves

namespace {

[[gnu::noinline]] int overflow(int depth) {
  volatile char bytes[1000] = {};
  bytes[depth % 1000] = 1;
  return depth < 0 ? 0 : overflow(depth + 1) + bytes[0];
}

void overflow_in_greenlet() {
  const fiber::greenlet g([] { overflow(0); }, {.name = "deep"});
  g.switch_();
}

void on_fault(int) {
  say("theirs\n");
  std::_Exit(5);
}

// Installs a handler before ours, if HANDLER_FIRST is set.
[[maybe_unused]] const bool installed_first = [] {
  const bool wanted = std::getenv("HANDLER_FIRST") != nullptr;
  if (wanted) install(SIGSEGV, on_fault);
  return wanted;
}();

}  // namespace

TEST_CASE("an overflow is reported, then the handler that was there before is called") {
  const auto result = support::run_child(
      {.program = "/usr/bin/env",
       .arguments = {"HANDLER_FIRST=yes", std::filesystem::read_symlink("/proc/self/exe").string(),
                     "--no-skip", "--test-case=only in a process of its own", "--no-version"}});
  CHECK(result.errors.starts_with("fiber: stack overflow in 'deep'"));
  CHECK(result.out() == "theirs\n");
  CHECK(result.status == 5);
}

// This case ends the process: the test above runs it in a child.
TEST_CASE("only in a process of its own" * doctest::skip()) { overflow_in_greenlet(); }

TEST_CASE("a handler that is installed after ours is called instead, on the alternate stack") {
  const auto result = in_child([] {
    fiber::getcurrent();
    install(SIGSEGV, on_fault, SA_ONSTACK);
    overflow_in_greenlet();
  });
  CHECK(result.errors == "");
  CHECK(result.out() == "theirs\n");
  CHECK(result.status == 5);
}

TEST_CASE("a handler that is installed after ours may pass the fault on to it") {
  static struct sigaction ours;
  const auto result = in_child([] {
    fiber::getcurrent();
    struct sigaction action {};
    action.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
      say("theirs first\n");
      ours.sa_sigaction(signal, info, context);
    };
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(SIGSEGV, &action, &ours);
    overflow_in_greenlet();
  });
  CHECK(result.errors.starts_with("fiber: stack overflow in 'deep'"));
  CHECK(result.out().starts_with("theirs first\n"));
  CHECK(result.status == 128 + SIGSEGV);
}

#endif

TEST_CASE("a program's own handler for Ctrl-C is left alone, whenever it was installed") {
  std::fflush(stdout);
  const auto result = in_child([] {
    const auto count = [](int) { ++interrupts; };
    install(SIGINT, count);
    asyncio::run([] {
      ::raise(SIGINT);
      await(asyncio::sleep(1ms));
    });
    ::raise(SIGINT);
    std::printf("before: %d\n", interrupts.load());

    std::signal(SIGINT, SIG_DFL);
    asyncio::run([&] {
      install(SIGINT, count);
      ::raise(SIGINT);
      await(asyncio::sleep(1ms));
    });
    ::raise(SIGINT);
    std::printf("after: %d\n", interrupts.load());
    std::fflush(stdout);
  });
  CHECK(result.out() == "before: 2\nafter: 4\n");
  CHECK(result.status == 0);
}

TEST_CASE("a signal does not end a wait") {
  asyncio::run([] {
    interrupts = 0;
    install(SIGUSR1, [](int) { ++interrupts; });
    const auto start = asyncio::get_running_loop().time();
    const auto sender = asyncio::to_thread([] {
      for (int i = 0; i < 5; ++i) {
        ::kill(::getpid(), SIGUSR1);
        // A signal that arrives while another one is pending would be lost.
        while (interrupts <= i) std::this_thread::sleep_for(1ms);
      }
    });
    auto sending = asyncio::create_task(sender);
    await(asyncio::sleep(50ms));
    await(sending);
    CHECK(asyncio::get_running_loop().time() - start >= 50ms);
    CHECK(interrupts == 5);
    std::signal(SIGUSR1, SIG_DFL);
  });
}
