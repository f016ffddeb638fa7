// The common part of the benchmark programs: a work is measured for the library and for each peer
// under the names "work/who", and counted in items, so that every figure is nanoseconds per item.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>

namespace works {

// Registers "work/who"; `body(items)` must do the work on that many items, or a few more, and
// return how many it did.
template <class Body>
void add(const std::string& work, const std::string& who, long items, Body body) {
  benchmark::RegisterBenchmark((work + "/" + who).c_str(),
                               [items, body](benchmark::State& state) {
                                 long done = 0;
                                 for (auto _ : state) done += body(items);
                                 state.SetItemsProcessed(done);
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

// Registers a long work that measures its own time: `body(items)` returns the time of all items. It
// runs three times.
template <class Body>
void add_timed(const std::string& work, const std::string& who, long items, Body body) {
  benchmark::RegisterBenchmark(
      (work + "/" + who).c_str(),
      [items, body](benchmark::State& state) {
        for (auto _ : state)
          state.SetIterationTime(std::chrono::duration<double>(body(items)).count());
        state.SetItemsProcessed(state.iterations() * items);
      })
      ->Unit(benchmark::kMillisecond)
      ->UseManualTime()
      ->Iterations(1)
      ->Repetitions(3);
}

void add_switches();
void add_generators();
void add_tasks();
void add_synchronization();
void add_threads();
void add_growth();
void add_scale();

// Sets a sticky floating-point flag, which nearly every real program has set: the first jump
// between stacks that differ in the flag would take ten times as long as others.
void settle_floating_point();

}  // namespace works
