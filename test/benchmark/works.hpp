// What the benchmark programs share: a work is measured for us and for each peer under the names
// "work/size/who", and counted in items, so that every figure is nanoseconds per item.
#pragma once

#include <benchmark/benchmark.h>

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

void add_switches();
void add_generators();
void add_tasks();

// Sets a sticky floating-point flag, as nearly every real program has it: the first jump between
// stacks that differ in it would cost ten times a jump.
void settle_floating_point();

}  // namespace works
