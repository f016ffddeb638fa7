// Bytes per item: each is measured in a process of its own, with unused memory.
#include "memory.hpp"

#include <fiber/asyncio.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
using namespace std::chrono_literals;
namespace asyncio = fiber::asyncio;

struct Memory {
  double resident = 0;
  double page_tables = 0;
  static Memory now() {
    Memory found;
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("VmRSS:", 0) == 0) found.resident = std::stod(line.substr(6)) * 1024;
      if (line.rfind("VmPTE:", 0) == 0) found.page_tables = std::stod(line.substr(6)) * 1024;
    }
    return found;
  }
};

// A work makes `count` items, and calls `look` while they exist.
struct Work {
  const char* name;
  long count;
  void (*make)(long count, const std::function<void()>& look);
};

void make_tasks(long count, const std::function<void()>& body, long ticks,
                const std::function<void()>& look) {
  asyncio::run([&] {
    std::vector<asyncio::Task<>> all;
    all.reserve(static_cast<std::size_t>(count));
    for (long i = 0; i < count; ++i) all.push_back(asyncio::create_task([&body] { body(); }));
    for (long i = 0; i < ticks; ++i) await(asyncio::sleep(0));
    look();
    for (const auto& task : all) task.cancel();
  });
}

const Work works[] = {
    {"suspended greenlet", 1'000'000,
     [](long count, const std::function<void()>& look) {
       std::vector<fiber::greenlet> all;
       all.reserve(static_cast<std::size_t>(count));
       for (long i = 0; i < count; ++i) {
         all.emplace_back([] { fiber::getcurrent().parent().switch_(); });
         all.back().switch_();
       }
       look();
       for (const fiber::greenlet& one : all) one.switch_();
     }},
    {"pending greenlet", 1'000'000,
     [](long count, const std::function<void()>& look) {
       std::vector<fiber::greenlet> all;
       all.reserve(static_cast<std::size_t>(count));
       for (long i = 0; i < count; ++i) all.emplace_back([] {});
       look();
     }},
    {"sleeping task", 1'000'000,
     [](long count, const std::function<void()>& look) {
       make_tasks(
           count, [] { await(asyncio::sleep(1h)); }, 1, look);
     }},
    {"pending task", 1'000'000,
     [](long count, const std::function<void()>& look) {
       make_tasks(
           count, [] {}, 0, look);
     }},
    {"finished task", 1'000'000,
     [](long count, const std::function<void()>& look) {
       make_tasks(
           count, [] {}, 1, look);
     }},
};

}  // namespace

std::vector<std::string> memory_works() {
  std::vector<std::string> names;
  for (const Work& work : works) names.emplace_back(work.name);
  return names;
}

bool measure_memory(const std::string& name) {
  for (const Work& work : works) {
    if (name != work.name) continue;
    asyncio::run([] {});
    const Memory before = Memory::now();
    Memory after;
    work.make(work.count, [&after] { after = Memory::now(); });
    const auto each = static_cast<double>(work.count);
    std::printf("memory: %s\tfiber\t%.0f\nmemory: %s, page tables\tfiber\t%.0f\n", work.name,
                (after.resident - before.resident) / each, work.name,
                (after.page_tables - before.page_tables) / each);
    return true;
  }
  return false;
}

}  // namespace works
