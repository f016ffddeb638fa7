// A million tasks, and the lower limit that the kernel's page faults set.
#include "works.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/greenlet.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
using namespace std::chrono_literals;
namespace asyncio = fiber::asyncio;
using Seconds = std::chrono::duration<double>;
using Clock = std::chrono::steady_clock;

constexpr long kMillion = 1'000'000;

// Touches pages `stride` bytes apart; returns the time of that.
Seconds touch(std::size_t bytes, std::size_t stride) {
  const auto start = Clock::now();
  auto* memory = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ::madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (std::size_t at = stride - 64; at < bytes; at += stride) memory[at] = 1;
  const Seconds took = Clock::now() - start;
  ::munmap(memory, bytes);
  return took;
}

// Touches much memory: idle memory of a virtual machine may have gone back to the host, and comes
// back at several times the price of a page fault. So each measured work begins with present
// memory.
void settle_memory() { touch(std::size_t{1'300'000} * 4096, 4096); }

// Touches one page of each of as many stacks: no program with stacks can be faster.
Seconds touch_pages(long count) {
  constexpr std::size_t kStack = 256 * 1024;
  settle_memory();
  return touch(static_cast<std::size_t>(count) * kStack, kStack);
}

// Greenlets that are made, started, all suspended at one time, ended and dropped.
Seconds greenlets(long count) {
  const auto start = Clock::now();
  {
    std::vector<fiber::greenlet> all;
    all.reserve(static_cast<std::size_t>(count));
    for (long i = 0; i < count; ++i) {
      all.emplace_back([] { fiber::getcurrent().parent().switch_(); });
      all.back().switch_();
    }
    for (const fiber::greenlet& one : all) one.switch_();
  }
  return Clock::now() - start;
}

// The time beyond the sleep: until all sleep, and from their deadline until all are joined.
Seconds sleepers(long count, std::chrono::nanoseconds bedtime) {
  Seconds took{};
  asyncio::run([&] {
    const auto start = Clock::now();
    const auto deadline = start + bedtime;
    std::vector<asyncio::Task<>> all;
    all.reserve(static_cast<std::size_t>(count));
    for (long i = 0; i < count; ++i)
      all.push_back(
          asyncio::create_task([deadline] { await(asyncio::sleep(deadline - Clock::now())); }));
    await(asyncio::sleep(0));
    const auto asleep = Clock::now();
    await(asyncio::gather(all));
    all.clear();
    took = (asleep - start) + (Clock::now() - std::max(deadline, asleep));
  });
  return took;
}

long skynet(long number, long size) {
  if (size == 1) return number;
  std::vector<asyncio::Coroutine<long>> children;
  const long part = size / 10;
  for (long i = 0; i < 10; ++i)
    children.emplace_back([number, part, i] { return skynet(number + i * part, part); });
  long sum = 0;
  for (const long result : await(asyncio::gather(std::move(children)))) sum += result;
  return sum;
}

}  // namespace

void add_scale() {
  add_timed("1000000 sleepers, first round", "one page touched each", kMillion, touch_pages);
  add_timed("1000000 sleepers, first round", "fiber", kMillion, [](long count) {
    // A new thread has stacks without touched pages.
    Seconds took{};
    settle_memory();
    std::thread([&] { took = sleepers(count, 8s); }).join();
    return took;
  });
  add_timed("1000000 suspended greenlets", "one page touched each", kMillion, touch_pages);
  add_timed("1000000 suspended greenlets", "fiber", kMillion, [](long count) {
    Seconds took{};
    settle_memory();
    std::thread([&] { took = greenlets(count); }).join();
    return took;
  });
  add_timed("1000000 sleepers, warm stacks", "fiber", kMillion, [](long count) {
    Seconds took{};
    std::thread([&] {
      sleepers(count, 8s);
      took = sleepers(count, 4s);
    }).join();
    return took;
  });
  add("skynet, 1000000 tasks in a tree", "fiber", kMillion, [](long items) {
    asyncio::run([items] { benchmark::DoNotOptimize(skynet(0, items)); });
    return items;
  });
}

}  // namespace works
