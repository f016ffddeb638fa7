// A task whose stack overflows is named in the report that ends the process.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <csignal>

#include "support/child_process.hpp"

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers report faults themselves

namespace {

using namespace fiber::asyncio;
using fiber::greenlet;
using support::run_forked;

int recurse(int depth) {
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

void overflow() { recurse(1 << 30); }

std::string report(const std::string& who) {
  return "fiber: stack overflow in " + who +
         ": its stack of 256 KiB is used up; give it a larger one with the option stack_size, or "
         "all "
         "with fiber::stacks::default_size()\n";
}

}  // namespace

TEST_CASE("an overflow names the task that ran, given a name or not") {
  auto ended = run_forked([] { run([] { await(create_task(overflow, {.name = "deep"})); }); });
  CHECK(ended.errors == report("'deep'"));
  CHECK(ended.status == 128 + SIGSEGV);
  ended = run_forked([] { run([] { await(create_task(overflow)); }); });
  CHECK(ended.errors == report("'Task-2'"));
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("an overflow of a greenlet inside a task does not name the task") {
  auto ended = run_forked([] { run([] { greenlet(overflow, {.name = "inner"}).switch_(); }); });
  CHECK(ended.errors == report("'inner'"));
  ended = run_forked([] { run([] { greenlet(overflow).switch_(); }); });
  CHECK(ended.errors == report("an unnamed fiber"));
}

#endif
