// Random mixed work for some minutes: prints every few seconds the speed and the memory of the
// process. Both must stay constant after the first lines.
//
//   soak [MINUTES]        2 unless given
#include <fiber/asyncio.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using Clock = std::chrono::steady_clock;

namespace {

std::mt19937 generator(20240229);  // a fixed seed: equal work every time

long pick(long below) { return std::uniform_int_distribution<long>(0, below - 1)(generator); }

long resident_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("VmRSS:", 0) == 0) return std::stol(line.substr(6));
  return 0;
}

int deep(int levels) {
  volatile char frame[512];
  frame[0] = static_cast<char>(levels);
  if (levels == 0) await(asyncio::sleep(0));
  return levels == 0 ? frame[0] : deep(levels - 1) + frame[0];
}

Generator<int> numbers(int count) {
  return [count](auto& self) {
    for (int i = 0; i < count; ++i) {
      await(asyncio::sleep(0));
      self.yield(i);
    }
  };
}

void sleepers() {
  std::vector<asyncio::Task<>> all;
  for (long i = pick(200); i >= 0; --i)
    all.push_back(asyncio::create_task(asyncio::sleep(std::chrono::microseconds(pick(2000)))));
  for (const auto& task : all)
    if (pick(4) == 0) task.cancel();
  await(asyncio::wait(all));
}

void failures() {
  std::vector<asyncio::Coroutine<int>> all;
  for (long i = pick(20); i >= 0; --i)
    all.emplace_back([i] {
      await(asyncio::sleep(0));
      if (i % 3 == 0) throw std::runtime_error("on purpose");
      return static_cast<int>(i);
    });
  static_cast<void>(await(asyncio::gather(asyncio::return_exceptions, std::move(all))));
}

void queues() {
  asyncio::Queue<std::string> queue(pick(10));
  const long items = pick(300);
  auto producer = asyncio::create_task([&] {
    for (long i = 0; i < items; ++i)
      await(queue.put(std::string(static_cast<std::size_t>(i), 'x')));
  });
  for (long i = 0; i < items; ++i) await(queue.get());
  await(producer);
}

void groups() {
  try {
    asyncio::with(asyncio::TaskGroup(), [](auto& group) {
      for (long i = pick(10); i >= 0; --i)
        group.create_task([i] {
          await(asyncio::sleep(std::chrono::microseconds(pick(500))));
          if (i == 7) throw std::runtime_error("on purpose");
        });
    });
  } catch (const std::exception&) {
    // The errors that the group collected.
  }
}

void timeouts() {
  try {
    await(asyncio::wait_for(asyncio::sleep(1ms), std::chrono::microseconds(pick(2000))));
  } catch (const asyncio::TimeoutError&) {
    // The timeouts of half of the tasks.
  }
}

void generators() {
  int left = 5;
  for (const int item : numbers(static_cast<int>(pick(20))))
    if (item >= 0 && --left == 0) break;
}

struct Directory {
  Directory() {
    if (::mkdtemp(name.data()) == nullptr) std::abort();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(name); }
  std::string name = std::filesystem::temp_directory_path() / "fiber-soak-XXXXXX";
};

// Unix sockets: TCP's closed connections keep their ports for a minute, until the kernel has none
// left.
void sockets() {
  static const Directory directory;
  static long number = 0;
  const std::string path = directory.name + "/" + std::to_string(++number);
  const auto server = await(asyncio::start_unix_server(
      [](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
        writer.write(await(reader.readline()));
        await(writer.drain());
        writer.close();
      },
      path));
  auto [reader, writer] = await(asyncio::open_unix_connection(path));
  writer.write("hello\n");
  if (await(reader.readline()) != "hello\n") std::abort();
  writer.close();
  await(writer.wait_closed());
  server.close();
  await(server.wait_closed());
  std::filesystem::remove(path);
}

void greenlets() {
  greenlet other([](int first) {
    for (int at = first;;) at = getcurrent().parent().switch_(at + 1).as<int>();
  });
  for (int i = 0; i < 20; ++i)
    if (other.switch_(i).as<int>() != i + 1) std::abort();
}

void threads() {
  if (await(asyncio::to_thread([] { return 42; })) != 42) std::abort();
}

using Job = void (*)();
constexpr Job jobs[] = {
    sleepers,   failures, queues,    groups,  timeouts,
    generators, sockets,  greenlets, threads, [] { deep(static_cast<int>(pick(100))); }};

}  // namespace

int main(int argc, char** argv) {
  const double minutes = argc > 1 ? std::atof(argv[1]) : 2;
  if (minutes <= 0) {
    std::fprintf(stderr, "usage: soak [MINUTES]\n");
    return 2;
  }
  const auto end = Clock::now() + std::chrono::duration<double, std::ratio<60>>(minutes);
  std::printf("%8s %14s %12s %10s\n", "seconds", "jobs/second", "memory KiB", "greenlets");
  asyncio::run([&] {
    const auto start = Clock::now();
    while (Clock::now() < end) {
      const auto began = Clock::now();
      long done = 0;
      while (Clock::now() - began < 5s) {
        std::vector<asyncio::Coroutine<>> batch;
        for (int i = 0; i < 50; ++i) batch.emplace_back(jobs[pick(std::size(jobs))]);
        await(asyncio::gather(std::move(batch)));
        done += 50;
      }
      const double took = std::chrono::duration<double>(Clock::now() - began).count();
      std::printf("%8.0f %14.0f %12ld %10zu\n",
                  std::chrono::duration<double>(Clock::now() - start).count(),
                  static_cast<double>(done) / took, resident_kib(), all_greenlets().size());
      std::fflush(stdout);
    }
  });
}
