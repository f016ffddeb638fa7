// A stack that overflows ends the process with a message; other faults go to other handlers.
#include <fiber/config.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/overflow.hpp"
#include "support/platform.hpp"

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers report faults themselves

using fiber::getcurrent;
using fiber::greenlet;
using support::overflow;
using support::overflow_report;
using support::recurse;
using support::run_forked;

namespace {

// Recurses by frames of which only the lowest bytes are touched, as code with large buffers does.
template <std::size_t size>
[[gnu::noinline]] int recurse_widely(int depth) {
  volatile char frame[size];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : recurse_widely<size>(depth - 1) + frame[0];
}

// Faults in a frame that reaches far below the stack.
[[gnu::noinline]] void fault_in_a_wide_frame() {
  volatile char frame[8 << 20];
  asm volatile("" : : "r"(frame) : "memory");
  *static_cast<volatile int*>(nullptr) = 1;
}

}  // namespace

TEST_CASE("an overflow is reported for every frame that is no wider than the guard") {
  const auto dies = [](void (*body)(), std::size_t guard) {
    const auto ended = run_forked([&] {
      // Other stacks lie below and above.
      std::vector<greenlet> all;
      for (int i = 0; i < 20; ++i) {
        all.emplace_back([] { getcurrent().parent().switch_(); });
        all.back().switch_();
      }
      greenlet(body, {.name = "deep", .guard_size = guard}).switch_();
    });
    return ended.errors == overflow_report("'deep'") && ended.status == 128 + SIGSEGV;
  };
  CHECK(dies([] { recurse_widely<4096>(1 << 20); }, 0));
  CHECK(dies([] { recurse_widely<8192>(1 << 20); }, 0));
  CHECK(dies([] { recurse_widely<20'000>(1 << 20); }, 0));
  CHECK(dies([] { recurse_widely<65'536>(1 << 20); }, 0));
  CHECK(dies([] { recurse_widely<1 << 20>(1 << 20); }, (1 << 20) + 4096));
}

TEST_CASE("a fault beyond the guard, in a frame that left the stack, is probably an overflow") {
  if (support::lacks_interrupted_place()) return;
  const auto ended = run_forked(
      [] { greenlet(fault_in_a_wide_frame, {.name = "wide", .guard_size = 100'000}).switch_(); });
  CHECK(ended.errors ==
        "fiber: probably a stack overflow in 'wide': its stack of 256 KiB is used up by a frame "
        "wider "
        "than the guard of 100 KiB; give it a larger one with the option stack_size, and a wider "
        "guard "
        "with guard_size, or compile with -fstack-clash-protection\n");
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("an overflow names the fiber and its stack size") {
  auto ended = run_forked([] { greenlet(overflow, {.name = "deep"}).switch_(); });
  CHECK(ended.errors == overflow_report("'deep'"));
  CHECK(ended.status == 128 + SIGSEGV);

  ended = run_forked([] { greenlet(overflow, {.stack_size = 20 * 1024}).switch_(); });
  CHECK(ended.errors == overflow_report("an unnamed fiber", 32));
  CHECK(ended.status == 128 + SIGSEGV);

  // A name of any length leaves room for the advice.
  const std::string name(100'000, 'n');
  ended = run_forked([&] { greenlet(overflow, {.name = name}).switch_(); });
  CHECK(ended.errors == overflow_report("'" + std::string(200, 'n') + "...'"));
}

TEST_CASE(
    "an overflow in a generator names the generator, not the greenlet that asks for the item") {
  const auto ask = [](const char* name) {
    const fiber::Generator<int> deep([](auto&) { overflow(); }, {.name = name});
    greenlet([&] { deep.next(); }, {.stack_size = 1 << 20, .name = "asks"}).switch_();
  };
  CHECK(run_forked([&] { ask("deep"); }).errors == overflow_report("generator 'deep'"));
  CHECK(run_forked([&] { ask(""); }).errors == overflow_report("an unnamed generator"));

  const auto ended = run_forked([] {
    const fiber::Generator<int> waits([](auto& self) { self.yield(1); });
    const auto overflow_after_it = [&] {
      waits.next();
      overflow();
    };
    greenlet(overflow_after_it, {.name = "asks"}).switch_();
  });
  CHECK(ended.errors == overflow_report("'asks'"));
}

TEST_CASE("an overflow is reported in any thread, and where guards are made by mprotect") {
  const auto ended = run_forked([] {
    fiber::core::stack_limits().guard_install = false;
    std::thread([] { greenlet(overflow, {.name = "deep"}).switch_(); }).join();
  });
  CHECK(ended.errors == overflow_report("'deep'"));
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("an overflow is reported on whichever of many stacks it comes") {
  const auto ended = run_forked([] {
    std::vector<greenlet> all;
    for (int i = 0; i < 1000; ++i)
      all.emplace_back([] {
        getcurrent().parent().switch_();
        overflow();
      });
    for (const greenlet& each : all) each.switch_();
    // Each greenlet ends a process of its own.
    for (int i : {0, 1, 63, 500, 777, 998, 999}) {
      const auto one = run_forked([&] { all[static_cast<std::size_t>(i)].switch_(); });
      if (one.errors != overflow_report("an unnamed fiber"))
        std::printf("%d: %s", i, one.errors.c_str());
    }
    std::puts("done");
    std::fflush(stdout);
    ::_exit(0);
  });
  CHECK(ended.out() == "done\n");
}

TEST_CASE("the report names the greenlet that overflowed, not one that it switched to") {
  const auto ended = run_forked([] {
    const greenlet other([] { getcurrent().parent().switch_(); }, {.name = "other"});
    greenlet(
        [&] {
          other.parent(getcurrent());
          other.switch_();
          overflow();
        },
        {.name = "deep"})
        .switch_();
  });
  CHECK(ended.errors == overflow_report("'deep'"));
}

TEST_CASE("a larger stack is room for what overflows a smaller one") {
  const auto use = [] { return recurse(1000) >= 0 ? 1 : 0; };
  CHECK(greenlet(use, {.stack_size = 2 * 1024 * 1024}).switch_().holds<int>());
}

TEST_CASE("other faults meet what was installed before, or end the process without a word") {
  auto ended =
      run_forked([] { greenlet([] { *static_cast<volatile int*>(nullptr) = 1; }).switch_(); });
  CHECK(ended.errors == "");
  CHECK(ended.status == 128 + SIGSEGV);

  ended = run_forked([] { overflow(); });  // of the thread's own stack
  CHECK(ended.errors == "");
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("a fault signal that another process sends still ends this one") {
  const auto ended = run_forked([] {
    getcurrent();
    ::kill(::getpid(), SIGSEGV);
    std::puts("survived");
  });
  CHECK(ended.out() == "");
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("a thread's own alternate signal stack is used and left in place") {
  std::thread([] {
    std::vector<char> memory(64 * 1024);
    stack_t mine{}, after{};
    mine.ss_sp = memory.data();
    mine.ss_size = memory.size();
    REQUIRE(::sigaltstack(&mine, nullptr) == 0);
    greenlet([] {}).switch_();
    REQUIRE(::sigaltstack(nullptr, &after) == 0);
    CHECK(after.ss_sp == mine.ss_sp);
    mine.ss_flags = SS_DISABLE;
    ::sigaltstack(&mine, nullptr);
  }).join();
}

#endif
