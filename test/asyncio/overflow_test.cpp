// A task whose stack overflows is named in the report that ends the process.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <csignal>

#include "support/child_process.hpp"
#include "support/overflow.hpp"

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers report faults themselves

using namespace fiber::asyncio;
using fiber::greenlet;
using support::overflow;
using support::overflow_report;
using support::run_forked;

TEST_CASE("an overflow names the task that ran, given a name or not") {
  auto ended = run_forked([] { run([] { await(create_task(overflow, {.name = "deep"})); }); });
  CHECK(ended.errors == overflow_report("'deep'"));
  CHECK(ended.status == 128 + SIGSEGV);
  ended = run_forked([] { run([] { await(create_task(overflow)); }); });
  CHECK(ended.errors == overflow_report("'Task-2'"));
  CHECK(ended.status == 128 + SIGSEGV);
}

TEST_CASE("an overflow of a greenlet inside a task does not name the task") {
  auto ended = run_forked([] { run([] { greenlet(overflow, {.name = "inner"}).switch_(); }); });
  CHECK(ended.errors == overflow_report("'inner'"));
  ended = run_forked([] { run([] { greenlet(overflow).switch_(); }); });
  CHECK(ended.errors == overflow_report("an unnamed fiber"));
}

#endif
