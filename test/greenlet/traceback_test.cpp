// Stacks of greenlets: the frames of suspended and of running ones.
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <thread>

#include <unwind.h>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::ValueError;
using fiber::traceback::extract_stack;
using fiber::traceback::FrameSummary;
using fiber::traceback::walk_stack;
using support::AtEnd;
using support::Events;
using support::named;
using support::thrown_by;

namespace traceback_test {

// Functions that are neither inlined nor specialized, and do not end in a jump to their last
// callee.
#if defined(__clang__)
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noipa))
#endif
volatile int after = 0;

FRAME void innermost() {
  getcurrent().parent().switch_();
  after = after + 1;
}
FRAME void middle(double, const char*) {
  innermost();
  after = after + 1;
}
FRAME void outermost() {
  middle(1.5, "");
  after = after + 1;
}
FRAME int deep(int depth) {
  if (depth == 0) {
    innermost();
    return 0;
  }
  return deep(depth - 1) + after;
}
FRAME int compare(const void* a, const void* b) {
  innermost();
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}
FRAME std::vector<FrameSummary> looks_at_itself() {
  auto frames = extract_stack(getcurrent());
  after = after + 1;
  return frames;
}
FRAME void looks_at_main(std::vector<FrameSummary>& frames) {
  frames = extract_stack(getcurrent().parent());
  after = after + 1;
}

}  // namespace traceback_test

namespace {

// Returns the test's own functions among the frames, outermost first.
std::string functions(const std::vector<FrameSummary>& frames) {
  const std::string prefix = "traceback_test::";
  std::string text;
  for (const FrameSummary& frame : frames)
    if (frame.name.rfind(prefix, 0) == 0)
      text += (text.empty() ? "" : " ") + frame.name.substr(prefix.size());
  return text;
}

bool is_first_frame(const FrameSummary& frame) {
  return frame.name.find("core::first_frame(fiber::core::Context*)") != std::string::npos;
}

}  // namespace

TEST_CASE("a suspended greenlet shows its frames, from its first one to where it waits") {
  const greenlet g(traceback_test::outermost);
  g.switch_();
  const auto frames = extract_stack(g);
  CHECK(functions(frames) == "outermost() middle(double, char const*) innermost()");
  CHECK(is_first_frame(frames.front()));
  CHECK(std::count_if(frames.begin(), frames.end(), is_first_frame) == 1);
  for (const FrameSummary& frame : frames) {
    CHECK(frame.address != nullptr);
    CHECK(frame.offset > 0);
    CHECK(frame.filename.find("traceback_test") != std::string::npos);
  }
}

TEST_CASE("the addresses come innermost first, and names can be had for them later") {
  const greenlet g(traceback_test::outermost);
  g.switch_();
  const auto addresses = walk_stack(g);
  const auto frames = fiber::traceback::extract(addresses);
  REQUIRE(frames.size() == addresses.size());
  CHECK(frames.front().address == addresses.back());
  g.switch_();
  CHECK(functions(fiber::traceback::extract(addresses)) ==
        "outermost() middle(double, char const*) innermost()");
}

TEST_CASE("looking at a suspended greenlet changes nothing of it") {
  Events events;
  const greenlet g([&](int x) {
    const AtEnd end([&] { events("end " + std::to_string(std::uncaught_exceptions())); });
    double y = x / 3.0;
    try {
      throw ValueError("inside");
    } catch (const ValueError&) {
      traceback_test::outermost();
      events(thrown_by([] { throw; }));
    }
    return y * 3;
  });
  g.switch_(7);
  const auto first = walk_stack(g);
  for (int i = 0; i < 100; ++i) REQUIRE(walk_stack(g) == first);
  CHECK(std::current_exception() == nullptr);
  CHECK(getcurrent().parent() == nullptr);
  CHECK(g.switch_().as<double>() == 7);
  CHECK(events.take() == "ValueError('inside') end 0");
}

TEST_CASE("a deep recursion shows whole") {
  const greenlet g([] { traceback_test::deep(2000); }, {.stack_size = 4 * 1024 * 1024});
  g.switch_();
  const auto frames = extract_stack(g);
  CHECK(std::count_if(frames.begin(), frames.end(), [](const FrameSummary& frame) {
          return frame.name == "traceback_test::deep(int)";
        }) == 2001);
  CHECK(is_first_frame(frames.front()));
}

TEST_CASE("a greenlet that waits in a callback of a C library shows both") {
  const greenlet g([] {
    int numbers[] = {2, 1};
    std::qsort(numbers, 2, sizeof numbers[0], traceback_test::compare);
  });
  g.switch_();
  const auto frames = extract_stack(g);
  CHECK(functions(frames) == "compare(void const*, void const*) innermost()");
  CHECK(is_first_frame(frames.front()));
}

TEST_CASE("a greenlet that waits in a destructor during unwinding shows the code that threw") {
  struct Waits {
    ~Waits() { traceback_test::innermost(); }
  };
  const greenlet g([] {
    try {
      const Waits waits;
      throw ValueError("x");
    } catch (const ValueError&) {
    }
  });
  g.switch_();
  const auto frames = extract_stack(g);
  CHECK(functions(frames) == "innermost()");
  CHECK(is_first_frame(frames.front()));
  g.switch_();
  CHECK(g.dead());
}

TEST_CASE("the current greenlet shows the frames above the call, and no more") {
  std::vector<FrameSummary> frames;
  greenlet([&] { frames = traceback_test::looks_at_itself(); }).switch_();
  CHECK(functions(frames) == "looks_at_itself()");
  CHECK(is_first_frame(frames.front()));
  CHECK(frames.back().name.rfind("traceback_test::looks_at_itself()", 0) == 0);

  frames = traceback_test::looks_at_itself();
  CHECK(functions(frames) == "looks_at_itself()");
  CHECK(std::none_of(frames.begin(), frames.end(), is_first_frame));
}

TEST_CASE("main, suspended, shows the stack of its thread") {
  std::vector<FrameSummary> frames;
  const greenlet g([&] { traceback_test::looks_at_main(frames); });
  g.switch_();
  CHECK(functions(frames).empty());
  CHECK(std::any_of(frames.begin(), frames.end(),
                    [](const FrameSummary& frame) { return frame.name == "main"; }));
  CHECK(std::none_of(frames.begin(), frames.end(), is_first_frame));
}

TEST_CASE("pending and dead greenlets have no frames, and a null handle is refused") {
  const greenlet pending([] {}), dead([] {});
  dead.switch_();
  CHECK(walk_stack(pending).empty());
  CHECK(extract_stack(dead).empty());
  CHECK_THROWS_AS(walk_stack(nullptr), ValueError);
  CHECK_THROWS_AS(extract_stack(nullptr), ValueError);
}

TEST_CASE("greenlets of another thread are refused while it could run them") {
  const greenlet g(traceback_test::outermost);
  g.switch_();
  greenlet theirs = nullptr;
  std::thread([&, main = &getcurrent()] {
    CHECK(thrown_by([&] { walk_stack(g); })
              .rfind("ValueError('the stack of a greenlet of another thread cannot be walked: "
                     "<greenlet at ",
                     0) == 0);
    CHECK_THROWS_AS(walk_stack(*main), ValueError);
    theirs = greenlet(traceback_test::outermost);
    theirs.switch_();
  }).join();
  CHECK(walk_stack(theirs).empty());
}

TEST_CASE("print_stack writes what the greenlet is and a line for each frame") {
  const greenlet g(traceback_test::outermost, named("worker"));
  g.switch_();
  std::ostringstream out;
  fiber::traceback::print_stack(g, out);
  std::istringstream lines(out.str());
  std::string line;
  std::getline(lines, line);
  CHECK(line == "Stack of " + fiber::repr(g) + " (most recent call last):");
  std::size_t count = 0;
  std::string seen;
  for (; std::getline(lines, line); ++count) {
    CHECK(line.rfind("  File \"", 0) == 0);
    CHECK(line.find("+0x") != std::string::npos);
    if (line.find(", in traceback_test::middle(double, char const*)+0x") != std::string::npos)
      seen += "middle";
  }
  CHECK(count == walk_stack(g).size());
  CHECK(seen == "middle");
  CHECK(fiber::traceback::format_stack(g).size() == count);

  g.switch_();
  std::ostringstream dead;
  fiber::traceback::print_stack(g, dead);
  CHECK(dead.str() == "No stack of " + fiber::repr(g) + "\n");
}

TEST_CASE("unwinding a running greenlet ends at its first frame, without an error") {
  const auto unwind = [] {
    return _Unwind_Backtrace([](_Unwind_Context*, void*) { return _URC_NO_REASON; }, nullptr);
  };
  CHECK(greenlet([&] { return unwind(); }).switch_().as<_Unwind_Reason_Code>() ==
        _URC_END_OF_STACK);
  // Also on a stack on which another greenlet has ended.
  const greenlet parent([&](int) { return unwind(); });
  CHECK(greenlet([] { return 1; }, {.parent = parent}).switch_().as<_Unwind_Reason_Code>() ==
        _URC_END_OF_STACK);
}
