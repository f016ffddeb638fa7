// producer_thread: a thread that blocks in its reads feeds a queue that tasks wait at.
//
// The queue has a limit: when the tasks fall behind, the thread waits, and so does the sender of
// its data.
#include <fiber/asyncio.hpp>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

// Reads lines with stdio, which cannot wait for several sources at once.
void read_lines(FILE* file, const asyncio::EventLoop& loop,
                const asyncio::Queue<std::string>& lines) {
  char line[100];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    std::string text(line);
    text.pop_back();
    // put() waits for room in the queue, and result() for put().
    asyncio::run_coroutine_threadsafe([&lines, text = std::move(text)] { await(lines.put(text)); },
                                      loop)
        .result();
  }
}

// The function of the thread. However it ends, the tasks that wait for lines are told.
void feed(FILE* file, const asyncio::EventLoop& loop, const asyncio::Queue<std::string>& lines) {
  try {
    read_lines(file, loop, lines);
  } catch (...) {
    print("the thread gives up:", type_name(std::current_exception()));
  }
  try {
    loop.call_soon_threadsafe([&lines] { lines.shutdown(); });
  } catch (const RuntimeError&) {
    // The loop has ended, and nobody waits.
  }
}

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const std::unique_ptr<FILE, int (*)(FILE*)> readings(::fdopen(ends[0], "r"), std::fclose);
  if (readings == nullptr) return 1;

  // What the threads use outlives them: a jthread is joined when it is destroyed.
  const asyncio::Queue<std::string> lines(2);
  std::jthread producer;
  std::jthread sensor([out = ends[1]] {
    for (int i = 1; i <= 6; ++i) {
      const std::string text = "reading " + std::to_string(i) + "\n";
      (void)!::write(out, text.data(), text.size());
    }
    ::close(out);
  });

  asyncio::run([&] {
    producer = std::jthread(feed, readings.get(), asyncio::get_running_loop(), std::cref(lines));
    std::size_t longest = 0;
    try {
      for (;;) {
        const std::string line = await(lines.get());
        await(asyncio::sleep(10ms));  // slower than the sensor
        longest = std::max(longest, lines.qsize());
        print(line);
      }
    } catch (const asyncio::QueueShutDown&) {
      print("no more; the thread waited for room:", longest <= 2 ? "yes" : "no");
    }
  });
}
