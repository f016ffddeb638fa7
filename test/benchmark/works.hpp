// What the benchmark programs share: a work is measured for us and for each peer under the names
// "work/who", and counted in items, so that every figure is nanoseconds per item.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>

namespace works {

// Registers "work/who"; `body(items)` is to do the work on that many items, or a few more, and
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

// The same for what is long and says itself how long it took: `body(items)` returns the time of all
// items. Three goes.
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

// Sets a sticky floating-point flag, as nearly every real program has it: the first jump between
// stacks that differ in it would cost ten times a jump.
void settle_floating_point();

}  // namespace works
