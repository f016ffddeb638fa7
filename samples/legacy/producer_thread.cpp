// producer_thread: a thread that blocks in its reads feeds a queue that tasks wait at.
//
// The queue has a limit: when the tasks fall behind, the thread waits, and so does the sender of
// its data.
#include <fiber/asyncio.hpp>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
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
  loop.call_soon_threadsafe([&lines] { lines.shutdown(); });
}

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  FILE* readings = ::fdopen(ends[0], "r");

  asyncio::run([&] {
    const asyncio::Queue<std::string> lines(2);
    std::thread producer(read_lines, readings, asyncio::get_running_loop(), std::cref(lines));
    std::thread sensor([out = ends[1]] {
      for (int i = 1; i <= 6; ++i) {
        const std::string text = "reading " + std::to_string(i) + "\n";
        (void)!::write(out, text.data(), text.size());
      }
      ::close(out);
    });

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
    producer.join();
    sensor.join();
  });
  std::fclose(readings);
}
