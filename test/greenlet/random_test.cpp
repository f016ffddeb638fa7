// Random programs of greenlets behave as a model of the rules says, event by event, in one thread
// and in four. FIBER_MODEL_STEPS sets the number of statements, FIBER_MODEL_SEED the first seed; a
// failure prints the smallest program that still fails.
#include <doctest/doctest.h>

#include "greenlet/random/machine.hpp"
#include "greenlet/random/model.hpp"
#include "greenlet/random/program.hpp"

#include <iterator>
#include <mutex>
#include <optional>
#include <sstream>

#include "support/settings.hpp"

using namespace greenlet_programs;
using support::number_from;

namespace {

using Events = std::vector<std::string>;

// The events of the model and of the library. Both are empty for a program with a greenlet that
// outlives its GreenletExit, or with two that keep each other (one unwinds the other, which
// refuses): these stay until the thread's end.
struct Run {
  explicit Run(const Program& program) {
    Model model(program);
    model.run();
    steps = model.steps;
    left_out = model.stubborn || model.left() > 0;
    if (left_out) return;
    expected = std::move(model.events);
    expected.emplace_back("0 are left, in 0 bodies");
    const long before = objects();
    long held = 0;
    seen = Machine::run(program, held);
    seen.push_back(std::to_string(objects() - before) + " are left, in " + std::to_string(held) +
                   " bodies");
  }
  static long objects() {
    fiber::getcurrent();
    return fiber::detail::greenlet_thread().object_count();
  }
  bool fails() const { return expected != seen; }
  std::string difference() const {
    std::size_t at = 0;
    while (at < expected.size() && at < seen.size() && expected[at] == seen[at]) ++at;
    const auto line = [&](const Events& events) {
      return at < events.size() ? events[at] : std::string("nothing more");
    };
    return "expected: " + line(expected) + "\nseen:     " + line(seen) + "\n";
  }

  long steps = 0;
  bool left_out = false;
  Events expected;
  Events seen;
};

// Runs every `stride`-th seed; returns the first failure, made small.
std::string run_programs(unsigned seed, unsigned stride, long wanted) {
  for (long steps = 0; steps < wanted; seed += stride) {
    const Program program = RandomProgram::make(seed);
    const Run run(program);
    if (!run.left_out) steps += run.steps;
    if (!run.fails()) continue;
    const Program smallest =
        shrink(program, [](const Program& candidate) { return Run(candidate).fails(); });
    std::ostringstream text;
    text << "seed " << seed << "\n" << smallest << Run(smallest).difference();
    return text.str();
  }
  return "";
}

std::string run_in_threads(int count) {
  const long steps = number_from("FIBER_MODEL_STEPS", 20'000) / count;
  const auto seed = static_cast<unsigned>(number_from("FIBER_MODEL_SEED", 1));
  auto previous = fiber::set_unraisablehook(Machine::unraisable);
  std::mutex mutex;
  std::string failures;
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t)
    threads.emplace_back([&, first = seed + static_cast<unsigned>(t)] {
      const std::string failure = run_programs(first, static_cast<unsigned>(count), steps);
      const std::lock_guard lock(mutex);
      failures += failure;
    });
  for (std::thread& thread : threads) thread.join();
  fiber::set_unraisablehook(std::move(previous));
  return failures;
}

}  // namespace

TEST_CASE("random programs in one thread do what the model says") {
  CHECK(run_in_threads(1) == "");
}

TEST_CASE("random programs in four threads at once do what the model says") {
  CHECK(run_in_threads(4) == "");
}
